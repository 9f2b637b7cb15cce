"""Asks for an answer as the page of pyarrow does, and reads it cut off at several places.

Prints what each reader makes of it, where the connection is cut and where a part of it was saved.
"""

import contextlib
import io
import json
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from run_pages import Page


def send_part(bytes_, listener):
    """Answers one request with the bytes, and cuts the connection without the end mark of HTTP."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"%x\r\n" % len(bytes_) + bytes_ + b"\r\n")


def cut_answer(bytes_):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=send_part, args=(bytes_, listener)).start()
    return urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}")


def outcome(read, answer):
    try:
        return f"{read(answer)} rows"
    except Exception as error:
        return "IncompleteRead" if "IncompleteRead" in repr(error) else type(error).__name__


def message_ends(stream):
    """Where each message of an Arrow stream ends."""
    source, ends = pa.BufferReader(stream), []
    while True:
        try:
            pa.ipc.read_message(source)
        except EOFError:
            return ends
        ends.append(source.tell())


READERS = {
    "pyarrow": lambda answer: pa.ipc.open_stream(answer).read_all().num_rows,
    "polars": lambda answer: len(pl.read_ipc_stream(answer.read())),
    "duckdb": lambda answer: len(duckdb.from_arrow(pa.ipc.open_stream(answer))),
}

if __name__ == "__main__":
    page = Page(Path(sys.argv[1]))
    page.run()
    batches_of = page.session["batches_of"]

    def rows_of(answer):
        with contextlib.redirect_stdout(io.StringIO()):
            return sum(len(batch) for batch in batches_of(answer))

    whole = page.session["ask"](page.session["clicks"]).read()
    *_, rows_end, summary_end = message_ends(whole)
    cuts = {
        "in a message": rows_end - 1,
        "before the summary": rows_end,
        "before the end mark": summary_end,
    }
    found = {"whole": outcome(rows_of, io.BytesIO(whole))}
    for name, end in cuts.items():
        part = whole[:end]
        found[name] = {reader: outcome(read, cut_answer(part)) for reader, read in READERS.items()}
    saved = whole[:rows_end]
    found["saved"] = outcome(READERS["pyarrow"], io.BytesIO(saved))
    found["saved, asked for its summary"] = outcome(rows_of, io.BytesIO(saved))
    print(json.dumps(found))
