"""What no server would write into a snapshot is refused, not restored."""

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import WireError
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import Replica
from consultwist.wire.msgpack import pack


def _snapshot(kind, record):
    return pack({"LastIndex": 9}) + bytes((kind,)) + pack(record)


def test_records_that_contradict_each_other_are_refused():
    """A check of a service that the snapshot does not have."""
    check = {"Node": "a", "CheckID": "c", "ServiceID": "web"}
    record = {"Node": "a", "Address": "127.0.0.1", "Check": check}
    replica = Replica(CatalogTable(), SessionTable())
    with pytest.raises(WireError, match=r"snapshot: .*Missing service registration"):
        replica.restore(_snapshot(MessageType.REGISTER, record))


@pytest.mark.parametrize(
    "chunk_map",
    [7, {5: 7}, {b"5": []}, {5: [{"Data": 7}]}, {5: [7]}, {5: [{"Term": b"x"}]}],
)
def test_malformed_chunks_are_refused(chunk_map):
    """Whatever stands in the place of a number, a list or a chunk."""
    record = {"ChunkMap": chunk_map}
    with pytest.raises(WireError):
        Replica().restore(_snapshot(MessageType.CHUNKING_STATE, record))


@pytest.mark.parametrize("kind", [{}, [], b"\x02", 2.0, True])
def test_a_type_is_a_number(kind):
    """Nothing else stands before a record."""
    with pytest.raises(WireError, match="without a type"):
        Replica().restore(pack({"LastIndex": 9}) + pack(kind) + pack({}))


@pytest.mark.parametrize(
    "record",
    [7, {}, {"Key": "kvs"}, {"Key": 7, "Value": 7}, {"Key": "k", "Value": 1e300}],
)
def test_malformed_index_rows_are_refused(record):
    """An index is a whole number with a name."""
    with pytest.raises(WireError, match="malformed index record"):
        Replica().restore(_snapshot(MessageType.INDEX, record))
