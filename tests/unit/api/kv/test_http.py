"""The paths of the key/value store, where the recorded calls do not reach."""

import json as stdlib_json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.api.kv.http import KVEndpoints, KVRoutes, entries_json
from consultwist.api.kv.rpc import KVS
from consultwist.api.kv.table import KVTable
from consultwist.structs.kv import DirEntry
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site
from consultwist.testing.local_api import LocalAPI
from consultwist.wire import json


@pytest.fixture
def api():
    return LocalAPI([KVTable()], [KVS()], [KVRoutes()])


TEXTS = st.text(max_size=20) | st.binary(max_size=20).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)
ENTRIES = st.builds(
    DirEntry,
    key=TEXTS,
    value=st.none() | st.binary(min_size=1, max_size=60),
    flags=st.integers(0, 2**64 - 1),
    session=st.just("") | TEXTS,
    lock_index=st.integers(0, 2**32),
    create_index=st.integers(0, 2**63),
    modify_index=st.integers(0, 2**63),
)


@given(st.lists(ENTRIES, max_size=4))
def test_the_short_way_to_json_writes_what_the_long_way_writes(entries):
    """Odd keys, sessions and values included, byte for byte."""
    assert entries_json(entries) == json.encode(entries)


def test_an_empty_value_is_null(api):
    """Also where the state holds empty bytes instead of nothing."""
    assert stdlib_json.loads(entries_json([DirEntry(value=b"")]))[0]["Value"] is None
    api.client.put("/v1/kv/a")
    assert api.client.get("/v1/kv/a").json[0]["Value"] is None


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/kv/a%20b", "a b"),
        ("/v1/kv/a+b", "a+b"),
        ("/v1/kv/a%2Fb", "a/b"),
        ("/v1/kv/%3Ctag%3E&", "<tag>&"),
        ("/v1/kv/%C3%BC%E2%82%AC", "\u00fc\u20ac"),
        ('/v1/kv/"quoted"', '"quoted"'),
        ("/v1/kv/back%5Cslash", "back\\slash"),
    ],
)
def test_keys_come_back_as_they_were_written(api, path, key):
    """Percent escapes are decoded once; JSON shows the key itself."""
    assert api.client.put(path, b"1").json is True
    assert api.client.get(path).json[0]["Key"] == key
    assert api.client.get("/v1/kv/?keys").json == [key]


def test_a_key_that_is_not_utf8_can_be_written_and_read(api):
    """Go's texts hold any bytes; JSON shows replacement characters."""
    assert api.client.put("/v1/kv/%FFx", b"1").json is True
    assert api.client.get("/v1/kv/%FFx").json[0]["Key"] == "\ufffdx"


def test_go_escapes_stand_in_the_json(api):
    """As Go's encoder has it, for pages that include answers in HTML."""
    api.client.put("/v1/kv/%3Cb%3E", b"1")
    assert b'"Key":"\\u003cb\\u003e"' in api.client.get("/v1/kv/%3Cb%3E").body


def test_pretty_indents_by_four(api):
    """``?pretty`` shows the same, indented, with a final newline."""
    api.client.put("/v1/kv/a", b"1")
    answer = api.client.get("/v1/kv/a?pretty")
    compact = api.client.get("/v1/kv/a").json
    assert answer.text == stdlib_json.dumps(compact, indent=4) + "\n"


def test_a_compressed_answer_is_the_same(api):
    """Gzip changes the bytes on the wire, nothing else."""
    api.client.put("/v1/kv/a", b"x" * 500)
    plain = api.client.get("/v1/kv/a")
    zipped = api.client.get("/v1/kv/a", accept_encoding="gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.body == plain.body


def test_several_values_of_a_parameter_show_in_the_conflict(api):
    """Parameters are sorted by name and escaped as Go escapes them."""
    target = "/v1/kv/a?cas=1&acquire=%20x/y&acquire=2&b=~-._*%FF"
    answer = api.client.put(target, b"")
    assert answer.status == 400
    assert (
        answer.text == "Conflicting flags: acquire=+x%2Fy&acquire=2&b=~-._%2A%FF&cas=1"
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("", 'parsing "": invalid syntax'),
        ("18446744073709551616", 'parsing "18446744073709551616": value out of range'),
        ("%205", 'parsing " 5": invalid syntax'),
        ("0x5", 'parsing "0x5": invalid syntax'),
        ("1_0", 'parsing "1_0": invalid syntax'),
    ],
)
def test_flags_are_an_unsigned_number(api, flags, text):
    """Anything else is Go's error, with status 500."""
    answer = api.client.put(f"/v1/kv/a?flags={flags}", b"")
    assert (answer.status, answer.text) == (500, f"strconv.ParseUint: {text}")


def test_the_largest_flags_survive(api):
    """All 64 bits."""
    api.client.put(f"/v1/kv/a?flags={2**64 - 1}", b"")
    assert api.client.get("/v1/kv/a").json[0]["Flags"] == 2**64 - 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_namespaces_are_refused(api, method):
    """Only Consul Enterprise has them."""
    answer = api.client.request(method, "/v1/kv/a?ns=x")
    assert answer.status == 400
    assert "Namespaces are a Consul Enterprise feature" in answer.text


def test_a_small_limit_counts():
    """``kv_max_value_size`` of the agent's configuration."""
    small = LocalAPI(
        [KVTable()], [KVS()], [KVRoutes()], HTTPSettings(kv_max_value_size=8)
    )
    assert small.client.put("/v1/kv/a", b"x" * 8).json is True
    answer = small.another_client().put("/v1/kv/a", b"x" * 9)
    assert answer.status == 413
    assert answer.text.startswith("Request body(9 bytes) too large, max size: 8 bytes.")


@pytest.mark.parametrize(
    ("method", "target"),
    [("PUT", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("DELETE", "/v1/kv/a?recurse")],
)
def test_plain_writes_are_true_whatever_the_servers_say(method, target):
    """A stock server answers false to them, which only means that it did not ask."""
    agent = HTTPAgent(methods={"KVS.Apply": lambda _: False})
    client = HTTPClient(make_site(KVEndpoints, agent))
    assert client.request(method, target).json is True
    assert client.request(method, "/v1/kv/a?cas=1").json is False


def test_a_blocked_reader_of_a_prefix_wakes_for_a_delete(api):
    """The tombstone moves the index of the listing, though the key is gone."""
    api.client.put("/v1/kv/a/1", b"1")
    api.client.put("/v1/kv/a/2", b"1")
    index = api.client.get("/v1/kv/a/?recurse").headers["X-Consul-Index"]
    waiting = api.another_client()
    waiting.ask("GET", f"/v1/kv/a/?keys&index={index}")
    api.client.put("/v1/kv/b", b"1")
    assert not waiting.transport.written
    api.client.request("DELETE", "/v1/kv/a/2")
    answer = waiting.answer()
    assert answer.json == ["a/1"]
    assert int(answer.headers["X-Consul-Index"]) == api.replica.index


def test_a_reader_of_a_missing_key_wakes_when_it_comes(api):
    """A blocking read of nothing is possible; its index is the table's."""
    api.client.put("/v1/kv/other", b"1")
    index = api.client.get("/v1/kv/a").headers["X-Consul-Index"]
    waiting = api.another_client()
    waiting.ask("GET", f"/v1/kv/a?index={index}")
    api.client.put("/v1/kv/a", b"here")
    assert waiting.answer().json[0]["Key"] == "a"


def test_a_client_that_leaves_leaves_nothing_behind(api):
    """No watcher and no timer stay for a reader that went away."""
    api.client.put("/v1/kv/a", b"1")
    index = api.client.get("/v1/kv/a").headers["X-Consul-Index"]
    waiting = api.another_client()
    before = len(api.server.reactor.getDelayedCalls())
    waiting.ask("GET", f"/v1/kv/a?index={index}")
    assert len(api.replica.store.watches) == 1
    waiting.leave()
    assert len(api.replica.store.watches) == 0
    assert len(api.server.reactor.getDelayedCalls()) == before
