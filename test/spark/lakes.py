"""Runs the join of docs/lakes.md in Spark: standard input has its code and the spine, as JSON."""

import json
import os
import sys

from pyspark.sql import SparkSession

asked = json.load(sys.stdin)
os.chdir(asked["folder"])
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    # Clocks there change within the history: a query must not count in the days of a session.
    .config("spark.sql.session.timeZone", "America/New_York")
    .config("spark.sql.shuffle.partitions", "4")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .getOrCreate()
)


def spine_of(rows, name):
    columns = [(row["row_id"], row["job_id"], row["event_timestamp"]) for row in rows]
    frame = spark.createDataFrame(columns, "row_id long, job_id string, at string")
    frame.selectExpr("row_id", "job_id", "timestamp(at) AS event_timestamp").createOrReplaceTempView(name)


spine_of(asked["spine"], "spine")
names = {"spark": spark}
exec(asked["code"], names)
columns = [
    "row_id",
    "job__status AS status",
    "coalesce(job__reason = 'DELETED', false) AS deleted",
    "unix_micros(job__event_timestamp) AS event",
    "job__vector AS vector",
]
rows = names["answer"].selectExpr(*columns).orderBy("row_id").collect()
buckets = [
    [row.bucket, row.expected]
    for row in spark.table("revisions")
    .selectExpr("bucket", f"crc32(entity_id) % {asked['buckets']} AS expected")
    .distinct()
    .collect()
]
day = "to_date(to_utc_timestamp(event_timestamp, current_timezone()))"
days = spark.table("revisions").where(f"event_day <> {day}").count()
json.dump({"rows": [row.asDict() for row in rows], "buckets": buckets, "misplaced": days}, sys.stdout)
spark.stop()
