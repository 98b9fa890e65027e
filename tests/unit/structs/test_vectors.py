"""Captured RPC messages decode into our records, and encode to the same bytes."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import consultwist.structs
from consultwist.structs.check_extensions import CheckExtensions
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct, field_specs

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"

#: Structures of features that have no records yet are not checked; of those that have,
#: at least so many messages were captured.
MESSAGES_MIN = 60


def _records():
    """Return our record classes by name."""
    found: dict[str, type[Struct]] = {}
    for module in pkgutil.iter_modules(consultwist.structs.__path__):
        loaded = importlib.import_module(f"consultwist.structs.{module.name}")
        found |= {
            name: value
            for name, value in vars(loaded).items()
            if isinstance(value, type) and issubclass(value, Struct)
        }
    return found


RECORDS = _records()
STRUCTURES = json.loads((VECTORS / "structures.json").read_text())


def _messages():
    """Yield the captured bodies whose structure we have: name, class, bytes."""
    for vector in json.loads((VECTORS / "methods.json").read_text()):
        if vector["sent_by"] != "real agent":
            continue  # sparse or malformed on purpose
        declared = STRUCTURES["methods"].get(vector["method"], {})
        for what, part in (("argument", "request"), ("reply", "response")):
            record = RECORDS.get(declared.get(what, ""))
            value = vector[part]
            if record is None or not isinstance(value, dict):
                continue
            if part == "response" and vector["response_header"]["Error"]:
                continue
            _, body = msgpack.unpack_first(bytes.fromhex(vector[f"{part}_hex"]))
            yield pytest.param(record, value, body, id=f"{vector['id']}-{part}")


MESSAGES = list(_messages())


def test_there_are_messages_to_check():
    """So that a renamed record does not pass unseen."""
    assert len(MESSAGES) >= MESSAGES_MIN


def _sorted_maps(value):
    if isinstance(value, dict):
        return {key: _sorted_maps(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_maps(item) for item in value]
    return value


@pytest.mark.parametrize(("record", "value", "body"), MESSAGES)
def test_messages_decode_and_encode_to_the_same_bytes(record, value, body):
    """Free-form maps, which Go writes in any order, are compared sorted."""
    packed = record.unpack(body).pack()
    assert len(packed) == len(body)
    assert _sorted_maps(msgpack.unpack(packed)) == _sorted_maps(msgpack.unpack(body))
    assert {spec.go for spec in field_specs(record)} == set(value)


KINDS = {
    "str": "",
    "bool": False,
    "int": 0,
    "dur": 0,
    "f64": 0.0,
    "f32": 0.0,
    "bin": None,
}


def _fields(name):
    """Return the declared fields of a structure, embedded parts flattened."""
    declared = STRUCTURES["structures"][name]
    fields = dict(declared.get("fields", {}))
    for part in declared.get("embed", ()):
        fields |= _fields(part)
    return fields


DECLARED = sorted(RECORDS.keys() & STRUCTURES["structures"].keys())


@pytest.mark.parametrize("name", DECLARED)
def test_records_have_the_fields_of_the_structure(name):
    """All of them, with the zero value of their kind, and no others.

    What checks can do beyond the release stands apart, in `CheckExtensions`.
    """
    record = RECORDS[name]
    declared = _fields(name)
    extensions = (
        CheckExtensions.__struct_fields__ if issubclass(record, CheckExtensions) else ()
    )
    ours = {
        spec.go: spec
        for spec in field_specs(record)
        if spec.attribute not in extensions
    }
    assert set(ours) == set(declared)
    zero = record()
    for go, kind in declared.items():
        value = getattr(zero, ours[go].attribute)
        if kind in KINDS:
            assert value == KINDS[kind], go
        elif kind.endswith("?") or kind[0] in "[{":
            assert value is None, go
