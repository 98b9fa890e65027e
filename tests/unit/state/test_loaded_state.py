"""A snapshot's state is read beside the one that there is, and then takes its place."""

import pytest

from consultwist.api.kv.table import KVTable
from consultwist.errors import WireError
from consultwist.state import watch
from consultwist.state.fsm import LoadedState
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import Replica


def replica_of(*keys):
    """Return a state with some keys."""
    replica = Replica(KVTable())
    for key in keys:
        request = KVSRequest(op="set", dir_ent=DirEntry(key=key))
        replica.apply(MessageType.KVS, request)
    return replica


def keys_of(replica):
    """Return the keys of a state, in order."""
    return [row.key for row in replica.rows("kvs")]


def test_the_old_state_goes_on_until_the_new_one_is_put_in_place():
    """What is written meanwhile is a part of the old one, and goes with it."""
    replica, other = replica_of("old"), replica_of("b", "a")
    loaded = LoadedState(replica.fsm)
    for _ in loaded.read([other.snapshot()]):
        assert "old" in keys_of(replica)
    replica.apply(
        MessageType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="meanwhile"))
    )
    loaded.put_in_place()
    assert keys_of(replica) == ["a", "b"]
    assert replica.index_rows() == other.index_rows()


def test_a_large_state_is_read_in_many_bits():
    """The more there is, the more often others have their turn."""
    keys = [f"key/{number}" for number in range(1000)]
    snapshot = replica_of(*keys).snapshot()
    loaded = LoadedState(replica_of().fsm)
    assert len(list(loaded.read([snapshot]))) > 9


def test_watchers_wake_when_the_state_is_replaced():
    """They read again, whatever they had waited for."""
    replica = replica_of("old")
    woken = []
    replica.store.watches.add((watch.row("sessions"),), lambda: woken.append(True))
    loaded = LoadedState(replica.fsm)
    list(loaded.read([replica_of("new").snapshot()]))
    assert woken == []
    loaded.put_in_place()
    assert woken == [True]


def test_the_old_state_is_let_go_of_bit_by_bit():
    """The new one is not touched by that."""
    replica = replica_of(*(f"key/{number}" for number in range(2500)))
    loaded = LoadedState(replica.fsm)
    list(loaded.read([replica_of("new").snapshot()]))
    loaded.put_in_place()
    assert len(list(loaded.dismantle())) >= 3
    assert keys_of(replica) == ["new"]


def test_a_state_that_is_not_sound_is_not_put_in_place():
    """Reading fails, and the old state is as it was."""
    replica = replica_of("old")
    loaded = LoadedState(replica.fsm)
    with pytest.raises(WireError):
        list(loaded.read([replica_of("new").snapshot()[:-3]]))
    assert keys_of(replica) == ["old"]
