"""Logs of real servers, applied here, give the state that those servers had."""

import gzip
import json
from pathlib import Path

import pytest
from twisted.plugin import getPlugins

from consultwist.interfaces import IStateTable
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import Replica, snapshot_records
from consultwist.wire.msgpack import unpack

VECTORS = Path(__file__).parents[2] / "vectors" / "fsm"

#: Commands whose tables do not exist yet. A table that comes takes its own off.
WITHOUT_TABLE = frozenset(
    (
        MessageType.ACL,
        MessageType.PREPARED_QUERY,
        MessageType.ACL_BOOTSTRAP,
        MessageType.INTENTION,
        MessageType.CONNECT_CA,
        MessageType.ACL_TOKEN_SET,
        MessageType.ACL_TOKEN_DELETE,
        MessageType.ACL_POLICY_SET,
        MessageType.ACL_POLICY_DELETE,
        MessageType.CONNECT_CA_LEAF,
        MessageType.CONFIG_ENTRY,
        MessageType.ACL_ROLE_SET,
        MessageType.ACL_ROLE_DELETE,
        MessageType.ACL_BINDING_RULE_SET,
        MessageType.ACL_BINDING_RULE_DELETE,
        MessageType.ACL_AUTH_METHOD_SET,
        MessageType.ACL_AUTH_METHOD_DELETE,
    )
)

#: The beginnings of index rows that those commands write. A gateway that serves all
#: services, of which a config entry tells, has its row moved by registrations too.
ROWS_WITHOUT_TABLE = (
    "acl-",
    "config-entries",
    "connect-",
    "gateway-services",
    "prepared-queries",
)
_COMMAND = 0
_TYPE_MASK = 0x7F


def _tables():
    tables = {table.name: table for table in getPlugins(IStateTable)}
    return [tables[name] for name in sorted(tables)]


def _known_commands():
    return {int(kind) for table in _tables() for kind in table.commands()}


def _replay(number):
    """Return a replica that applied a captured log."""
    replica = Replica(*_tables())
    known = _known_commands()
    path = VECTORS / f"replay-{number}-log.jsonl.gz"
    for line in gzip.decompress(path.read_bytes()).splitlines():
        entry = json.loads(line)
        if entry["Type"] != _COMMAND:
            continue
        data = bytes.fromhex(entry["Data"])
        extensions = bytes.fromhex(entry["Extensions"] or "")
        kind = data[0] & _TYPE_MASK
        if not extensions and kind not in known:
            assert kind in WITHOUT_TABLE, f"no table applies type {kind}"
            continue
        replica.apply_bytes(
            data, entry["Index"], term=entry["Term"], extensions=extensions
        )
    return replica


def _expected(number):
    return (VECTORS / f"replay-{number}-state.bin").read_bytes()


def test_commands_without_a_table_are_named_as_such():
    """The list of what is left out shrinks with every table that comes."""
    assert not WITHOUT_TABLE & _known_commands()


@pytest.mark.parametrize("number", [1, 2])
def test_replay_gives_the_records_of_the_real_server(number):
    """Records of every table are those of the real snapshot, in the same order."""
    replica = _replay(number)
    kinds = {int(kind) for table in _tables() for kind in table.restorers()}
    ours = [r for r in snapshot_records(replica.snapshot()) if r[0] in kinds]
    theirs = [r for r in snapshot_records(_expected(number)) if r[0] in kinds]
    assert len(theirs) > 8
    assert ours == theirs


@pytest.mark.parametrize("number", [1, 2])
def test_replay_gives_the_index_rows_of_the_real_server(number):
    """Index rows of every table have the same names and values."""
    theirs = {}
    for kind, record in snapshot_records(_expected(number)):
        if kind == MessageType.INDEX:
            row = unpack(record)
            theirs[row[b"Key"].decode()] = row[b"Value"]
    assert len(_ours(theirs)) > 5
    assert _ours(_replay(number).index_rows()) == _ours(theirs)


def _ours(rows):
    return {
        name: value
        for name, value in rows.items()
        if not name.startswith(ROWS_WITHOUT_TABLE)
    }


@pytest.mark.parametrize("number", [1, 2])
def test_a_snapshot_restores_to_the_same_snapshot(number):
    """Restoring our snapshot into a new server and saving it gives the same bytes."""
    snapshot = _replay(number).snapshot()
    restored = Replica(*_tables())
    restored.restore(snapshot)
    assert restored.snapshot() == snapshot
