"""Writes records with the serialisers of confluent-kafka and msgpack, and prints them as JSON.

The registry is the client library's own mock: what it answers is printed as a real one answers, so
that a stub can repeat it.
"""

import base64
import json

import msgpack
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

registry = SchemaRegistryClient.new_client({"url": "mock://recorded"})
records = []
schemas = {}
versions = {}


def answer(schema):
    """As GET /schemas/ids/{id} answers: without a type for Avro."""
    body = {"schema": schema.schema_str}
    if schema.schema_type not in (None, "AVRO"):
        body["schemaType"] = schema.schema_type
    if schema.references:
        body["references"] = [
            {"name": r.name, "subject": r.subject, "version": r.version} for r in schema.references
        ]
    return body


def write(name, schema, value, kind="AVRO", field=MessageField.VALUE, references=()):
    schema = Schema(json.dumps(schema), kind, list(references))
    if kind == "AVRO":
        serialise = AvroSerializer(registry, schema, conf={"validate.strict": False})
    else:
        serialise = JSONSerializer(schema, registry)
    data = serialise(value, SerializationContext(name, field))
    number = int.from_bytes(data[1:5], "big")
    schemas[number] = answer(schema)
    records.append({"name": name, "bytes": base64.b64encode(data).decode()})


ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "title", "type": ["null", "string"], "default": None},
        {"name": "body", "type": ["null", "string"], "default": None},
    ],
}
SOURCE = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        {"name": "ts_ms", "type": "long"},
        {"name": "ts_ns", "type": ["null", "long"], "default": None},
        {"name": "snapshot", "type": ["null", "string"], "default": "false"},
    ],
}
CHANGE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.public.job",
    "fields": [
        {"name": "before", "type": ["null", ROW], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}
AT = {"ts_ms": 1772366400123, "ts_ns": 1772366400123456000, "snapshot": "false"}
OLD = {"id": 7, "title": "Analyst", "body": "old"}
NEW = {"id": 7, "title": "Analyst II", "body": "__debezium_unavailable_value"}
NOW = 1772366401000

write("change", CHANGE, {"before": None, "after": OLD, "source": AT, "op": "c", "ts_ms": NOW})
write("update", CHANGE, {"before": OLD, "after": NEW, "source": AT, "op": "u", "ts_ms": NOW})
write("delete", CHANGE, {"before": OLD, "after": None, "source": AT, "op": "d", "ts_ms": NOW})
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
write("key", KEY, {"id": 7}, field=MessageField.KEY)
write("text-key", {"type": "string"}, "seven", field=MessageField.KEY)

EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "namespace": "shop",
    "fields": [
        {"name": "yes", "type": "boolean"},
        {"name": "small", "type": "int"},
        {"name": "least", "type": "long"},
        {"name": "most", "type": "long"},
        {"name": "exact", "type": "long"},
        {"name": "single", "type": "float"},
        {"name": "double", "type": "double"},
        {"name": "raw", "type": "bytes"},
        {"name": "text", "type": "string"},
        {"name": "suit", "type": {"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS"]}},
        {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "vector", "type": {"type": "array", "items": "float"}},
        {"name": "none", "type": {"type": "array", "items": "string"}},
        {"name": "counts", "type": {"type": "map", "values": "int"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "either",
            "type": [
                {"type": "record", "name": "A", "fields": [{"name": "a", "type": "int"}]},
                {"type": "record", "name": "B", "fields": [{"name": "b", "type": "int"}]},
                "int",
                "long",
            ],
        },
        {
            "name": "tree",
            "type": {
                "type": "record",
                "name": "Tree",
                "fields": [
                    {"name": "leaf", "type": "int"},
                    {"name": "next", "type": ["null", "Tree"], "default": None},
                ],
            },
        },
    ],
}
write(
    "everything",
    EVERYTHING,
    {
        "yes": True,
        "small": -3,
        "least": -(2**63),
        "most": 2**63 - 1,
        "exact": 2**53 - 1,
        "single": 0.1,
        "double": 0.1,
        "raw": b"\x00\xff",
        "text": "größer 🌊",
        "suit": "HEARTS",
        "four": b"\x01\x02\x03\x04",
        "vector": [0.5, -1.5, 3.25],
        "none": [],
        "counts": {"a": 1, "__proto__": 2},
        "at": 1772366400123,
        "either": {"b": 5},
        "tree": {"leaf": 1, "next": {"leaf": 2, "next": None}},
    },
)

ADDRESS = {
    "type": "record",
    "name": "Address",
    "namespace": "shop",
    "fields": [{"name": "city", "type": "string"}],
}
registry.register_schema("shop.Address", Schema(json.dumps(ADDRESS), "AVRO"))
versions["shop.Address/1"] = answer(Schema(json.dumps(ADDRESS), "AVRO"))
MEMBER = {
    "type": "record",
    "name": "Member",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "string"}, {"name": "home", "type": "shop.Address"}],
}
write(
    "member",
    MEMBER,
    {"id": "m1", "home": {"city": "Bergen"}},
    references=[SchemaReference("shop.Address", "shop.Address", 1)],
)

JOB = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Job",
    "type": "object",
    "properties": {"id": {"type": "string"}, "title": {"type": "string"}, "ts": {"type": "integer"}},
    "required": ["id"],
}
write("json-schema", JOB, {"id": "j1", "title": "Analyst", "ts": NOW}, kind="JSON")

packed = {
    "id": 2**53 + 1,
    "title": "größer 🌊",
    "vector": [0.5, -1.5],
    "raw": b"\x00\x00\x80?\x00\x00\x00@",
    "numbers": [0, 127, 128, 255, 256, 65535, 65536, 2**32, 2**64 - 1, -1, -32, -33, -129, -32769, -(2**31) - 1, -(2**63)],
    "rest": [None, True, False, 0.1, "x" * 40, "y" * 300, "z" * 70000, [1] * 20, {str(i): i for i in range(20)}],
}
records.append({"name": "msgpack", "bytes": base64.b64encode(msgpack.packb(packed, use_bin_type=True)).decode()})

print(json.dumps({"schemas": schemas, "versions": versions, "records": records}, indent=1))
