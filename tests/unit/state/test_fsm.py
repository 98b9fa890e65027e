"""Committed entries become changes; what cannot be applied changes nothing."""

import json
from pathlib import Path

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVS, KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.txn.table import TxnTable
from consultwist.errors import ConsultwistError, WireError
from consultwist.state.chunking import CHUNK_SIZE, ChunkPlace, split
from consultwist.state.fsm import FSM, CommittedEntry, UnknownCommand
from consultwist.state.store import Store
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import IGNORE_UNKNOWN_FLAG, MessageType
from consultwist.structs.session import SessionRequest
from consultwist.structs.txn import TxnRequest
from consultwist.testing.state import Replica
from consultwist.wire.struct import Struct

VECTORS = Path(__file__).parents[2] / "vectors" / "fsm"

#: The structure of the commands whose tables these tests are about.
REQUESTS: dict[int, type[Struct]] = {
    MessageType.KVS: KVSRequest,
    MessageType.SESSION: SessionRequest,
    MessageType.TXN: TxnRequest,
}


def _tables():
    kv, session, catalog = KVTable(), SessionTable(), CatalogTable()
    return kv, session, catalog, CoordinateTable(), TxnTable()


def _vectors(*kinds):
    vectors = json.loads((VECTORS / "commands.json").read_text())
    found = [vector for vector in vectors if vector["type"] in kinds]
    return [pytest.param(vector, id=vector["id"]) for vector in found]


@pytest.mark.parametrize("vector", _vectors(*REQUESTS))
def test_captured_commands_decode_and_encode_to_the_same_bytes(vector):
    """What a real leader logged is what we would log."""
    data = bytes.fromhex(vector["hex"])
    request = REQUESTS[MessageType(data[0])].unpack(data[1:])
    assert bytes([data[0]]) + request.pack() == data


@pytest.mark.parametrize("vector", _vectors(*REQUESTS, MessageType.TOMBSTONE))
def test_captured_commands_apply(vector):
    """Each is applied or refused with a text, and the index is used up."""
    replica = Replica(*_tables())
    result = replica.apply_bytes(bytes.fromhex(vector["hex"]), vector["index"])
    assert not isinstance(result, Exception) or str(result)
    assert all(value == vector["index"] for value in replica.index_rows().values())


def test_captured_writes_give_the_written_entry():
    """The value of a captured write, binary and all, is in the table."""
    replica = Replica(*_tables())
    (vector,) = [p.values[0] for p in _vectors(MessageType.KVS) if p.id == "02-KVS.set"]
    replica.apply_bytes(bytes.fromhex(vector["hex"]), 5)
    (entry,) = replica.rows(KVS)
    assert entry.key == "app/bin"
    assert entry.value == bytes(range(256))


def _write(key, value=b"1"):
    request = KVSRequest(op="set", dir_ent=DirEntry(key=key, value=value))
    return bytes([MessageType.KVS]) + request.pack()


def test_a_batch_gives_a_result_for_each_entry_and_wakes_once():
    """A refused command in the middle does not stop the others."""
    replica = Replica(KVTable())
    entries = [
        CommittedEntry(1, 1, _write("a"), b""),
        CommittedEntry(2, 1, bytes([MessageType.KVS]) + KVSRequest(op="?").pack(), b""),
        CommittedEntry(3, 1, b"", b""),
        CommittedEntry(4, 1, bytes([MessageType.KVS]) + b"\xc1", b""),
        CommittedEntry(5, 1, _write("b"), b""),
    ]
    wakes = []
    replica.store.watches.add([("row", KVS)], lambda: wakes.append(1))
    results = replica.fsm.apply_batch(entries)
    assert [type(result) for result in results] == [
        bool,
        ConsultwistError,
        WireError,
        WireError,
        bool,
    ]
    assert [row.key for row in replica.rows(KVS)] == ["a", "b"]
    assert wakes == [1]


def test_unknown_commands_are_skipped_only_where_they_say_so():
    """Without the flag this server cannot go on: others may have applied it."""
    replica = Replica(KVTable())
    assert replica.apply_bytes(bytes([99 | IGNORE_UNKNOWN_FLAG]) + b"\x80", 1) is None
    with pytest.raises(UnknownCommand, match="unknown command type 99"):
        replica.apply_bytes(bytes([99]) + b"\x80", 2)


def test_a_known_command_with_the_flag_is_applied():
    """The flag only matters to those who do not know the type."""
    replica = Replica(KVTable())
    data = _write("a")
    replica.apply_bytes(bytes([data[0] | IGNORE_UNKNOWN_FLAG]) + data[1:], 1)
    assert len(replica.rows(KVS)) == 1


def test_two_tables_cannot_claim_one_type():
    """The start stops with the number."""

    class Other(TxnTable):
        """A table that claims the type of another."""

        name = "other"

        def commands(self):
            return KVTable().commands()

    tables = (KVTable(), Other())
    with pytest.raises(ValueError, match="two state tables claim message type 2"):
        FSM(Store(s for table in tables for s in table.schemas), tables)


# --- chunks --------------------------------------------------------------------------


def _chunks(value=b"x" * (CHUNK_SIZE + 1000), operation=7):
    return split(_write("big", value), operation)


def test_chunks_are_applied_at_the_index_of_the_one_that_completes_them():
    """In any order; the others give no result."""
    replica = Replica(KVTable())
    parts = _chunks()
    assert len(parts) == 2
    for index, (data, extensions) in enumerate(reversed(parts), start=10):
        assert replica.rows(KVS) == []
        done = replica.apply_bytes(data, index, extensions=extensions)
        assert done is (True if index == 11 else None)
    (entry,) = replica.rows(KVS)
    assert entry.modify_index == 11
    assert len(entry.value) == CHUNK_SIZE + 1000


def test_chunks_of_another_term_are_forgotten():
    """A leader that lost its term in between does not complete the command."""
    replica = Replica(KVTable())
    (first, place), (second, last) = _chunks()
    replica.apply_bytes(first, 1, term=1, extensions=place)
    replica.apply_bytes(second, 2, term=2, extensions=last)
    assert replica.rows(KVS) == []
    replica.apply_bytes(first, 3, term=2, extensions=place)
    assert len(replica.rows(KVS)) == 1


def test_unfinished_chunks_survive_a_snapshot():
    """A server restored from it completes the command with the rest."""
    replica = Replica(KVTable())
    (first, place), (second, last) = _chunks()
    replica.apply_bytes(first, 1, term=3, extensions=place)
    fresh = Replica(KVTable())
    fresh.restore(replica.snapshot())
    fresh.apply_bytes(second, 2, term=3, extensions=last)
    assert len(fresh.rows(KVS)) == 1


def test_captured_extensions_decode_and_encode_to_the_same_bytes():
    """Operation, sequence number and count of a real leader's chunks."""
    vectors = json.loads((VECTORS / "chunks.json").read_text())
    for entry in vectors["entries"]:
        data = bytes.fromhex(entry["extensions_hex"])
        place = ChunkPlace.decode(data)
        wanted = entry["extensions"]
        assert place == ChunkPlace(
            wanted["op_num"], wanted["sequence_num"], wanted["num_chunks"]
        )
        assert place.encode() == data


@pytest.mark.parametrize("data", [b"\x08", b"\x08" + b"\xff" * 11, b"\x0d\x01"])
def test_malformed_extensions_are_refused(data):
    """They come from the log, but not from a leader that works."""
    with pytest.raises(WireError):
        ChunkPlace.decode(data)


# --- snapshots -----------------------------------------------------------------------


def test_a_snapshot_is_of_the_moment_when_it_began():
    """What changes while its chunks are taken is not in it."""
    replica = Replica(KVTable())
    replica.apply_bytes(_write("a", b"old"), 1)
    chunks = replica.fsm.snapshot()
    replica.apply_bytes(_write("a", b"new"), 2)
    replica.apply_bytes(_write("b"), 3)
    fresh = Replica(KVTable())
    fresh.restore(b"".join(chunks))
    assert [(row.key, row.value) for row in fresh.rows(KVS)] == [("a", b"old")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: data + b"\x02",
        lambda data: data + b"\x63\x80",
        lambda data: data[1:],
        lambda data: data.replace(b"\xa3Key", b"\xa3Yek"),
    ],
    ids=["empty", "cut", "type alone", "unknown type", "no header", "bad row"],
)
def test_a_bad_snapshot_leaves_the_old_state(spoil):
    """The error says what is wrong, and readers see what they saw before."""
    replica = Replica(KVTable())
    replica.apply_bytes(_write("a"), 1)
    spoiled = spoil(replica.snapshot())
    with pytest.raises(WireError):
        replica.restore(spoiled)
    assert [row.key for row in replica.rows(KVS)] == ["a"]


def test_readers_wake_when_the_state_is_replaced():
    """Also those whose rows did not change."""
    replica = Replica(KVTable())
    woken = []
    replica.store.watches.add([("row", KVS)], lambda: woken.append(1))
    replica.restore(Replica(KVTable()).snapshot())
    assert woken == [1]
