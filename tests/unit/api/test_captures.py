"""Recorded HTTP calls on keys, sessions, transactions and events, made again here.

Left out are the calls that another datacenter answers.
"""

from pathlib import Path

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.event.http import EventRoutes
from consultwist.api.kv.http import KVRoutes
from consultwist.api.kv.rpc import KVS
from consultwist.api.kv.table import KVTable
from consultwist.api.session.http import SessionRoutes
from consultwist.api.session.rpc import Sessions
from consultwist.api.session.table import SessionTable
from consultwist.api.txn.http import TxnRoutes
from consultwist.api.txn.rpc import Transactions
from consultwist.api.txn.table import TxnTable
from consultwist.host import Host
from consultwist.structs.catalog import NodeService
from consultwist.testing.captures import Replay, load_captures
from consultwist.testing.events import OwnPool
from consultwist.testing.http import HTTPSettings
from consultwist.testing.local_api import LocalAPI

VECTORS = Path(__file__).parents[2] / "vectors" / "http"

#: Between the start of a blocked call and a write that another client makes then.
WRITE_AFTER_S = 0.7


#: The id of sessions that come to nothing.
NO_ID = "00000000-0000-0000-0000-000000000000"


class RecordedId:
    """Randomness that gives a session its recorded id, so that lists are in order."""

    def __init__(self, entry):
        created = entry["body"] if entry["status"] == 200 else {}
        self.text = created.get("ID", NO_ID)

    def getrandbits(self, bits):
        assert bits == 128
        return int(self.text.replace("-", ""), 16)


#: The service that recorded events are for.
SERVICES = {"web-1": NodeService(id="web-1", service="web", tags=["v1"])}


def _api():
    tables = [KVTable(), SessionTable(), CatalogTable(), TxnTable()]
    endpoints = [KVS(), Sessions(), Transactions()]
    routes = [KVRoutes(), SessionRoutes(), TxnRoutes(), EventRoutes()]
    api = LocalAPI(tables, endpoints, routes, HTTPSettings(node_name="srv1"))
    api.register_node("srv1")
    host = Host(api.server.reactor, api.server.clock, api.server.rng)
    api.agent.events = OwnPool(host, api.agent.config, SERVICES).events
    return api


def _replay(*names):
    api = _api()

    def wait(capture_id):
        if capture_id == "kv-042":
            api.pass_time(WRITE_AFTER_S)
            assert api.another_client().put("/v1/kv/foo", b"changed").json is True
        else:
            api.pass_time(11.0)

    entries = [e for name in names for e in load_captures(VECTORS / f"{name}.json")]
    entries = [e for e in entries if "dc=dc2" not in e["request"]["path"]]
    replay = Replay(api.client, wait)
    for entry in entries:
        if entry["request"]["path"] == "/v1/session/create":
            api.server.rng = RecordedId(entry)
        assert not replay.run(entry), entry["id"]
        if entry["headers"].get("Connection") == "close":
            replay.client = api.another_client()
    return len(entries)


@pytest.mark.parametrize(
    ("names", "count"),
    [(["kv"], 56), (["session", "txn"], 74), (["event"], 11)],
)
def test_every_recorded_call_is_answered_as_recorded(names, count):
    """Status, headers and body are those of a real server, call after call."""
    assert _replay(*names) == count
