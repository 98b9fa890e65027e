"""Reading JSON as Go's decoder does."""

import json
from pathlib import Path
from typing import Any

import pytest

from consultwist.errors import WireError
from consultwist.structs.catalog import RegisterRequest, ServiceDefinition
from consultwist.structs.check_definition import CheckDefinition
from consultwist.structs.kv import DirEntry
from consultwist.wire.json_decode import (
    decode,
    decode_base64,
    decode_list,
    decode_plain,
)
from consultwist.wire.struct import Struct
from consultwist.wire.time import ZERO_TIME, Time

_VECTORS = Path(__file__).parents[2] / "vectors/http/body_errors.json"
_RECORDS: dict[str, tuple[type[Any], str | None]] = {
    "service": (ServiceDefinition, ""),
    "catalog": (RegisterRequest, None),
    "check": (CheckDefinition, ""),
}
#: Where Go names types that have no counterpart here, or the text of a number.
_TAILS = ("unmarshal number ", " of type ", "Go value of type ")


def _cases():
    return json.loads(_VECTORS.read_text())["cases"]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case["body"][:40])
def test_a_body_is_taken_or_refused_in_the_words_of_consul(case):
    """What stock Consul takes is taken, and refusals begin with the same words."""
    record, name = _RECORDS[case["record"]]
    data = case["body"].encode("latin-1")
    if case["error"] is None:
        decode(record, data, name=name)
        return
    with pytest.raises(WireError) as refusal:
        decode(record, data, name=name)
    expected, given = case["error"], str(refusal.value)
    if given != expected:
        tail = next(tail for tail in _TAILS if tail in expected)
        assert given.split(tail, maxsplit=1)[0] == expected.split(tail)[0]


def test_names_of_fields_match_in_any_case():
    """Field names match without regard to case, and some in snake case as well."""
    service = decode(
        ServiceDefinition,
        b'{"nAmE": "web", "enable_tag_override": true, "PORT": 80,'
        b' "Proxy": {"local_service_port": 8080}}',
    )
    assert (service.name, service.enable_tag_override, service.port) == (
        "web",
        True,
        80,
    )
    assert service.proxy is not None
    assert service.proxy.local_service_port == 8080


def test_null_leaves_the_zero_value():
    """Null for a field, an item or the whole record means nothing was given."""
    service = decode(ServiceDefinition, b'{"Name": null, "Tags": ["a", null]}')
    assert service.name == ""
    assert service.tags == ["a", ""]
    assert decode(ServiceDefinition, b"null") == ServiceDefinition()


def test_durations_are_texts_or_nanoseconds():
    """A duration is a Go text or nanoseconds; what is neither counts as none."""
    check = decode(
        CheckDefinition, b'{"Interval": "1m30s", "Timeout": 5000, "TTL": true}'
    )
    assert check.interval == 90_000_000_000
    assert check.timeout == 5000
    assert check.ttl == 0


def test_unknown_fields_are_skipped_where_asked():
    """A lenient decoder skips unknown fields at any depth."""
    body = b'{"Bogus": 1, "Name": "x", "Weights": {"Bogus": 2}}'
    assert decode(ServiceDefinition, body, strict=False).name == "x"


def test_definitions_of_checks_are_always_read_leniently():
    """Inside a check's definition stock Consul skips what it does not know."""
    request = decode(
        RegisterRequest, b'{"Check": {"Definition": {"Bogus": 1, "HTTP": "x"}}}'
    )
    assert request.check is not None
    assert request.check.definition.http == "x"


def test_bytes_are_base64():
    """Bytes are base64 with padding; null is none."""
    assert decode(DirEntry, b'{"Value": "YWJj"}').value == b"abc"
    assert decode(DirEntry, b'{"Value": null}').value is None


@pytest.mark.parametrize(
    ("text", "offset"),
    [("***", 0), ("abc", 0), ("YWJ*", 3), ("YQ=x", 2), ("short", 4), ("YQ", 0)],
)
def test_broken_base64_is_placed_as_go_places_it(text, offset):
    """The error says at which byte Go's decoder would have stopped."""
    with pytest.raises(WireError, match=f"illegal base64 data at input byte {offset}$"):
        decode_base64(text)


def test_line_breaks_in_base64_are_skipped():
    """Base64 may be broken into lines."""
    assert decode_base64("YW\nJj\r\n") == b"abc"


def test_lists_are_read_item_by_item():
    """A list at the top is read like a record; null gives an empty one."""
    assert [e.key for e in decode_list(DirEntry, b'[{"Key": "a"}, null]')] == ["a", ""]
    assert decode_list(DirEntry, b"null") == []
    with pytest.raises(WireError, match=r"array|object.*api\.TxnOps"):
        decode_list(DirEntry, b"{}", go_type="api.TxnOps")


def test_numbers_without_a_type_are_floats():
    """Free-form values hold floats only, as in Go."""
    service = decode(ServiceDefinition, b'{"Proxy": {"Config": {"a": 1, "b": [2]}}}')
    assert service.proxy is not None
    config = service.proxy.config
    assert config is not None
    assert config == {"a": 1.0, "b": [2.0]}
    assert isinstance(config["a"], float)


def test_what_only_go_takes_is_taken():
    """Bytes that are not UTF-8 and lone surrogates become replacement characters."""
    assert decode_plain(b'{"a": "\xff"}') == {"a": "�"}
    assert decode_plain(rb'{"a": "\ud800"}') == {"a": "�"}
    assert decode_plain(b"[1e999, 1] x") == [float("inf"), 1]


def test_deep_nesting_is_refused():
    """Nesting beyond any sense is refused before it can exhaust the stack."""
    with pytest.raises(WireError, match="exceeded max depth"):
        decode_plain(b"[" * 100_000 + b"]" * 100_000)


class _Stamped(Struct):
    """A record with a time."""

    create_time: Time = ZERO_TIME


def test_times_are_rfc_3339():
    """A time is a text with a zone, and null is the zero time."""
    stamped = decode(_Stamped, b'{"CreateTime": "2020-01-02T03:04:05.5Z"}')
    assert stamped.create_time.json() == "2020-01-02T03:04:05.5Z"
    assert decode(_Stamped, b'{"CreateTime": null}').create_time == ZERO_TIME
    with pytest.raises(WireError, match="parsing time"):
        decode(_Stamped, b'{"CreateTime": "yesterday"}')
    with pytest.raises(WireError, match="not a JSON string"):
        decode(_Stamped, b'{"CreateTime": 5}')
