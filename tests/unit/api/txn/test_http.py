"""The path of transactions, where the recorded calls do not reach."""

import json

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.txn.http import TxnRoutes
from consultwist.api.txn.rpc import Transactions
from consultwist.api.txn.table import TxnTable
from consultwist.testing.http import HTTPSettings
from consultwist.testing.local_api import LocalAPI

UINT, STRING = " of type uint64", " of type string"


def _api(**settings):
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable(), TxnTable()
    return LocalAPI(tables, [Transactions()], [TxnRoutes()], HTTPSettings(**settings))


@pytest.fixture
def api():
    return _api()


def _run(api, *operations, target="/v1/txn"):
    return api.client.put(target, json.dumps(operations).encode())


def test_64_operations_are_allowed_and_no_more(api):
    """The limit of Consul before 1.14."""
    operation = {"KV": {"Verb": "set", "Key": "a", "Value": "MQ=="}}
    assert _run(api, *[operation] * 64).status == 200
    answer = _run(api, *[operation] * 65)
    assert (answer.status, answer.text) == (
        413,
        "Transaction contains too many operations (65 > 64)",
    )


def test_each_value_has_the_limit_of_values():
    """The whole may be larger."""
    api = _api(kv_max_value_size=4, txn_max_req_len=1000)
    operation = {"KV": {"Verb": "set", "Key": "a", "Value": "MTIzNDU="}}
    answer = _run(api, operation)
    assert (answer.status, answer.text) == (
        413,
        'Value for key "a" is too large (5 > 4 bytes)',
    )


def test_the_larger_of_two_limits_counts_for_the_whole():
    """A large ``kv_max_value_size`` raises ``txn_max_req_len``."""
    operation = {"KV": {"Verb": "set", "Key": "a", "Value": "MTIz" * 50}}
    assert (
        _run(_api(kv_max_value_size=500, txn_max_req_len=10), operation).status == 200
    )
    answer = _run(_api(kv_max_value_size=20, txn_max_req_len=10), operation)
    assert answer.status == 413
    assert "max size: 20 bytes. See https" in answer.text
    assert answer.text.endswith("#txn_max_req_len.")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '[{"KV":{"Verb":"set","Key":"e","Index":-1}}]',
            "json: cannot unmarshal number -1 into Go struct field KVTxnOp.KV.Index"
            + UINT,
        ),
        (
            '[{"KV":{"Verb":"set","Key":5}}]',
            "json: cannot unmarshal number into Go struct field KVTxnOp.KV.Key"
            + STRING,
        ),
        ('[{"Session":{}}]', 'json: unknown field "Session"'),
        ("[", "unexpected EOF"),
    ],
)
def test_a_body_that_does_not_decode_is_refused(api, body, text):
    """With Go's words."""
    answer = api.client.put("/v1/txn", body.encode())
    assert (answer.status, answer.text) == (400, f"Failed to parse body: {text}")


def test_an_unknown_verb_is_left_to_the_servers(api):
    """It is no write, so the read path answers."""
    answer = _run(api, {"KV": {"Verb": "bogus", "Key": "a"}})
    assert answer.status == 409
    assert answer.json["Errors"] == [{"OpIndex": 0, "What": 'unknown KV verb "bogus"'}]
    assert "KnownLeader" in answer.json


def test_names_of_fields_match_without_case(api):
    """As Go's decoder does."""
    answer = _run(api, {"kv": {"verb": "set", "key": "a", "VALUE": "MQ=="}})
    assert answer.status == 200
    assert api.replica.rows("kvs")[0].value == b"1"


def test_null_bodies_and_null_operations_do_nothing(api):
    """An empty operation is skipped."""
    for body in (b"null", b"[null]", b"[{}]"):
        answer = api.client.put("/v1/txn", body)
        assert answer.json["Results"] == []


def test_durations_of_a_check_have_two_spellings(api):
    """The present one wins."""
    definition = {
        "Interval": "10s",
        "IntervalDuration": 1,
        "TimeoutDuration": 5_000_000_000,
        "DeregisterCriticalServiceAfter": 60_000_000_000,
    }
    check = {"Node": "n1", "Name": "c", "Definition": definition}
    answer = _run(
        api,
        {"Node": {"Verb": "set", "Node": {"Node": "n1", "Address": "10.0.0.1"}}},
        {"Check": {"Verb": "set", "Check": check}},
    )
    assert answer.json["Results"][1]["Check"]["Definition"] == {
        "Interval": "10s",
        "Timeout": "5s",
        "DeregisterCriticalServiceAfter": "1m0s",
    }


def test_what_concerns_the_mesh_is_left_out_of_services(api):
    """As Consul 1.8.7 does; the datacenter of a node is filled in."""
    service = {
        "Service": "web",
        "Kind": "connect-proxy",
        "Proxy": {"DestinationServiceName": "x"},
        "Connect": {"Native": True},
        "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 1}},
    }
    answer = _run(
        api,
        {"Node": {"Verb": "set", "Node": {"Node": "n1", "Address": "10.0.0.1"}}},
        {"Service": {"Verb": "set", "Node": "n1", "Service": service}},
    )
    node, shown = answer.json["Results"]
    assert node["Node"]["Datacenter"] == "dc1"
    assert "Kind" not in shown["Service"]
    assert shown["Service"]["Proxy"] == {"MeshGateway": {}, "Expose": {}}
    assert shown["Service"]["Connect"] == {}
    assert shown["Service"]["Weights"] == {"Passing": 1, "Warning": 1}


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/v1/txn?wait=x", 400, "Invalid wait time"),
        ("/v1/txn?stale&consistent", 400, "Cannot specify ?stale with ?consistent"),
        ("/v1/txn?dc=elsewhere", 500, "No path to datacenter"),
    ],
)
def test_reads_obey_the_query_parameters(api, target, status, text):
    """As other reads do."""
    answer = _run(api, {"KV": {"Verb": "get", "Key": "a"}}, target=target)
    assert answer.status == status
    assert answer.text.startswith(text)
