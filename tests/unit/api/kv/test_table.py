"""The commands of the key/value store change exactly what they must."""

import pytest

from consultwist.api.kv.table import KVS, TOMBSTONES, InvalidSession, KVTable
from consultwist.api.session.table import SESSIONS, SessionTable
from consultwist.errors import ConsultwistError
from consultwist.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import Session
from consultwist.testing.state import Replica

SESSION = "11111111-aaaa-4111-8111-111111111111"
OTHER = "22222222-aaaa-4222-8222-222222222222"


def _put_session(txn, session_id):
    txn.put(SESSIONS, Session(id=session_id, modify_index=txn.index))
    txn.set_index(SESSIONS)


class World:
    """Keys, and two sessions that may lock them."""

    def __init__(self):
        self.replica = Replica(KVTable(), SessionTable())
        for session_id in (SESSION, OTHER):
            self.replica.change(_put_session, session_id)

    def do(self, operation, key, value=b"", **fields):
        entry = DirEntry(key=key, value=value or None, **fields)
        request = KVSRequest(op=operation, dir_ent=entry)
        return self.replica.apply(MessageType.KVS, request)

    def get(self, key):
        return self.replica.store.table(KVS).get(key)

    def row(self, name):
        return self.replica.store.index(name)

    def tombstones(self):
        return [(row.key, row.modify_index) for row in self.replica.rows(TOMBSTONES)]


@pytest.fixture
def world():
    return World()


def test_a_new_key_has_both_indexes_of_its_entry(world):
    """Create and modify index are that of the log entry; the row follows."""
    assert world.do("set", "a", b"1", flags=7) is True
    entry = world.get("a")
    assert (entry.value, entry.flags) == (b"1", 7)
    assert entry.create_index == entry.modify_index == world.replica.index
    assert world.row(KVS) == world.replica.index


def test_an_equal_write_moves_no_index(world):
    """Writing what is there already leaves key and row as they are."""
    world.do("set", "a", b"1")
    before = world.get("a")
    world.do("set", "a", b"1")
    assert world.get("a") is before
    assert world.row(KVS) == before.modify_index


def test_an_empty_and_a_missing_value_are_equal(world):
    """Nil and empty values do not differ."""
    world.do("set", "a")
    before = world.get("a")
    request = KVSRequest(op="set", dir_ent=DirEntry(key="a", value=b""))
    world.replica.apply(MessageType.KVS, request)
    assert world.get("a") is before


def test_a_changed_key_keeps_its_create_index(world):
    """Only the modify index moves."""
    world.do("set", "a", b"1")
    created = world.replica.index
    world.do("set", "a", b"2")
    entry = world.get("a")
    assert entry.create_index == created
    assert entry.modify_index == created + 1


def test_a_plain_write_keeps_the_session_and_resets_the_lock_index(world):
    """The lock index is taken from the request, the session from what is there."""
    world.do("lock", "a", b"1", session=SESSION)
    world.do("set", "a", b"2")
    entry = world.get("a")
    assert entry.session == SESSION
    assert entry.lock_index == 0


@pytest.mark.parametrize(
    ("given", "exists", "done"),
    [(0, False, True), (0, True, False), (5, False, False), (99, True, False)],
)
def test_compare_and_set_asks_for_the_right_index(world, given, exists, done):
    """Zero means: only if it is absent; anything else must be the modify index."""
    if exists:
        world.do("set", "a", b"old")
    assert world.do("cas", "a", b"new", modify_index=given) is done
    found = world.get("a")
    if exists:
        assert found.value == b"old"
    else:
        assert (found is not None) is done


def test_compare_and_set_with_the_present_index_writes(world):
    """The modify index as it is lets the write through."""
    world.do("set", "a", b"old")
    assert world.do("cas", "a", b"new", modify_index=world.get("a").modify_index)
    assert world.get("a").value == b"new"


def test_delete_leaves_a_tombstone(world):
    """The tombstone has the key and the index; both rows move."""
    world.do("set", "a", b"1")
    assert world.do("delete", "a") is True
    assert world.get("a") is None
    index = world.replica.index
    assert world.tombstones() == [("a", index)]
    assert world.row(KVS) == world.row(TOMBSTONES) == index


def test_deleting_nothing_changes_nothing(world):
    """No tombstone, no index."""
    world.do("set", "a", b"1")
    before = world.row(KVS)
    world.do("delete", "b")
    world.do("delete-tree", "b/")
    assert world.tombstones() == []
    assert world.row(KVS) == before


def test_delete_tree_leaves_one_tombstone_for_the_prefix(world):
    """All keys that begin with the text go, at one index."""
    for key in ("a", "a/1", "a/2", "b"):
        world.do("set", key, b"1")
    world.do("delete-tree", "a/")
    assert [row.key for row in world.replica.rows(KVS)] == ["a", "b"]
    assert world.tombstones() == [("a/", world.replica.index)]


def test_delete_tree_of_everything_leaves_no_tombstone(world):
    """The empty prefix is all keys; there is no key above them to bury."""
    world.do("set", "a", b"1")
    world.do("delete-tree", "")
    assert world.replica.rows(KVS) == []
    assert world.tombstones() == []
    assert world.row(KVS) == world.replica.index


@pytest.mark.parametrize(
    ("offset", "exists", "done"), [(0, True, True), (1, True, False), (0, False, True)]
)
def test_compare_and_delete(world, offset, exists, done):
    """An absent key is a success, a wrong index is none."""
    index = 1
    if exists:
        world.do("set", "a", b"1")
        index = world.get("a").modify_index
    result = world.do("delete-cas", "a", modify_index=index + offset)
    assert result is done
    assert (world.get("a") is None) is done


def test_a_lock_counts_its_holders(world):
    """The lock index rises when the holder changes, not when it comes again."""
    assert world.do("lock", "a", b"1", session=SESSION) is True
    assert world.get("a").lock_index == 1
    assert world.do("lock", "a", b"2", session=SESSION) is True
    assert world.get("a").lock_index == 1
    assert world.get("a").value == b"2"
    assert world.do("unlock", "a", b"3", session=SESSION) is True
    assert world.get("a").session == ""
    assert world.get("a").lock_index == 1
    assert world.do("lock", "a", b"4", session=OTHER) is True
    assert world.get("a").lock_index == 2


def test_a_held_key_is_not_given_to_another(world):
    """Whoever does not hold it can neither lock nor unlock it."""
    world.do("lock", "a", b"1", session=SESSION)
    before = world.get("a")
    assert world.do("lock", "a", b"2", session=OTHER) is False
    assert world.do("unlock", "a", b"2", session=OTHER) is False
    assert world.do("unlock", "b", b"2", session=OTHER) is False
    assert world.get("a") is before


def test_locking_again_with_the_same_value_changes_nothing_but_succeeds(world):
    """The answer is true, no index moves."""
    world.do("lock", "a", b"1", session=SESSION)
    before = world.get("a")
    assert world.do("lock", "a", b"1", session=SESSION) is True
    assert world.get("a") is before


def test_a_lock_needs_a_session_that_exists(world):
    """The texts are Consul's."""
    gone = "33333333-aaaa-4333-8333-333333333333"
    with pytest.raises(InvalidSession, match=r"^missing session$"):
        world.do("lock", "a")
    with pytest.raises(InvalidSession, match=r"^missing session$"):
        world.do("unlock", "a")
    with pytest.raises(InvalidSession, match=rf'^invalid session "{gone}"$'):
        world.do("lock", "a", session=gone)
    with pytest.raises(ConsultwistError, match="UUID must be 36 characters"):
        world.do("lock", "a", session="short")


def test_session_ids_compare_by_value(world):
    """A lock may name its session in capitals."""
    assert world.do("lock", "a", session=SESSION.upper()) is True
    assert world.get("a").session == SESSION.upper()


def test_an_unknown_operation_is_refused(world):
    """The command uses up its index, and nothing changes."""
    with pytest.raises(ConsultwistError, match=r"^Invalid KVS operation 'nonsense'$"):
        world.do("nonsense", "a")
    assert world.get("a") is None


def test_reaping_forgets_tombstones_up_to_an_index(world):
    """Younger tombstones stay, and no row moves."""
    for key in ("a", "b", "c"):
        world.do("set", key, b"1")
        world.do("delete", key)
    _, (_, second), (third, index) = world.tombstones()
    before = world.row(TOMBSTONES)
    request = TombstoneRequest(op="reap", reap_index=second)
    world.replica.apply(MessageType.TOMBSTONE, request)
    assert world.tombstones() == [(third, index)]
    assert world.row(TOMBSTONES) == before


def test_an_unknown_operation_on_tombstones_is_refused(world):
    """There is nothing but reaping."""
    with pytest.raises(ConsultwistError, match="Invalid Tombstone operation 'sow'"):
        world.replica.apply(MessageType.TOMBSTONE, TombstoneRequest(op="sow"))


def test_a_snapshot_brings_back_keys_tombstones_and_rows(world):
    """What is restored is what was saved, locks included."""
    world.do("lock", "a", b"1", session=SESSION)
    world.do("set", "b", b"2")
    world.do("delete", "b")
    snapshot = world.replica.snapshot()
    fresh = Replica(KVTable(), SessionTable())
    fresh.restore(snapshot)
    assert fresh.rows(KVS) == world.replica.rows(KVS)
    assert fresh.rows(TOMBSTONES) == world.replica.rows(TOMBSTONES)
    assert fresh.index_rows() == world.replica.index_rows()
