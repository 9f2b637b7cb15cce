"""Runs the queries of docs/lakes.md in DuckDB: standard input has them and the spine, as JSON."""

import json
import sys

import duckdb

asked = json.load(sys.stdin)
*before, query = asked["queries"]
connection = duckdb.connect()
# Clocks there change within the history: a query must not count in the days of a session.
connection.execute("SET TimeZone = 'America/New_York'")
connection.execute("CREATE TABLE spine (row_id BIGINT, job_id VARCHAR, event_timestamp TIMESTAMPTZ)")
rows = [(row["row_id"], row["job_id"], row["event_timestamp"]) for row in asked["spine"]]
connection.executemany("INSERT INTO spine VALUES (?, ?, ?)", rows)
for each in before:
    connection.execute(each)
columns = "row_id, job__status, coalesce(job__reason = 'DELETED', false), epoch_us(job__event_timestamp), job__vector"
answer = connection.execute(f"SELECT {columns} FROM ({query}) ORDER BY row_id").fetchall()
names = ["row_id", "status", "deleted", "event", "vector"]
json.dump([dict(zip(names, row)) for row in answer], sys.stdout)
