"""The stream of records that is a snapshot of the state.

A header, then records of a type byte and a msgpack value, without lengths or end
mark. The state tables say which records; the index rows come last but one, so that on
a restore they overwrite what the records before them derived.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from consultwist.errors import ConsultwistError, WireError
from consultwist.interfaces import IStateTable
from consultwist.state.chunking import Chunks
from consultwist.state.store import Store
from consultwist.state.transaction import Transaction
from consultwist.structs.message_type import MessageType
from consultwist.wire.msgpack import StreamUnpacker, pack
from consultwist.wire.struct import Struct

#: Encoded records are handed on in pieces of about this size: about a millisecond of
#: work, so that a snapshot can be spread over turns of the reactor.
CHUNK_SIZE: Final = 64 * 1024

#: Records restored at once: about two milliseconds' work.
_RECORDS_AT_ONCE: Final = 100

#: The order of records in a Go server's snapshot; it matters only for byte equality.
_ORDER: Final = (
    MessageType.REGISTER,
    MessageType.COORDINATE_BATCH_UPDATE,
    MessageType.SESSION,
    MessageType.ACL_TOKEN_SET,
    MessageType.ACL_POLICY_SET,
    MessageType.ACL_ROLE_SET,
    MessageType.ACL_BINDING_RULE_SET,
    MessageType.ACL_AUTH_METHOD_SET,
    MessageType.KVS,
    MessageType.TOMBSTONE,
    MessageType.PREPARED_QUERY,
    MessageType.AUTOPILOT,
    MessageType.INTENTION,
    MessageType.CONNECT_CA,
    MessageType.CONNECT_CA_PROVIDER_STATE,
    MessageType.CONNECT_CA_CONFIG,
    MessageType.CONFIG_ENTRY,
    MessageType.FEDERATION_STATE,
)

Restorer = Callable[[Transaction, Any], None]


def write(
    store: Store, tables: Sequence[IStateTable], chunk_record: bytes
) -> Iterator[bytes]:
    """Return the chunks of a snapshot; the state is fixed when this returns."""
    parts = [part for table in tables for part in table.persist(store)]
    ranks = {int(kind): rank for rank, kind in enumerate(_ORDER)}
    parts.sort(key=lambda part: ranks.get(part[0], len(ranks)))
    index_rows = sorted(store.index_rows.items())
    last = max((row[1] for name, row in index_rows if name in store.tables), default=0)
    return _chunks(last, parts, [row for _, row in index_rows], chunk_record)


def _chunks(
    last_index: int,
    parts: Iterable[tuple[int, Iterator[Struct]]],
    index_rows: Iterable[tuple[str, int]],
    chunk_record: bytes,
) -> Iterator[bytes]:
    pending = [pack({"LastIndex": last_index})]
    size = 0
    for kind, records in parts:
        mark = bytes([kind])
        for record in records:
            data = record.pack()
            pending += (mark, data)
            size += len(data)
            if size > CHUNK_SIZE:
                yield b"".join(pending)
                pending, size = [], 0
    mark = bytes([MessageType.INDEX])
    for name, value in index_rows:
        pending += (mark, pack({"Key": name, "Value": value}))
    pending += (bytes([MessageType.CHUNKING_STATE]), chunk_record)
    yield b"".join(pending)


def read(
    store: Store, restorers: Mapping[int, Restorer], chunks: Iterable[bytes]
) -> Chunks:
    """Fill an empty store from a snapshot; return the chunks it kept.

    Raises:
        WireError: where a record is malformed, cut off or of an unknown type.
    """
    kept = Chunks()
    for part in read_parts(store, restorers, chunks):
        kept = kept if part is None else part
    return kept


def read_parts(
    store: Store, restorers: Mapping[int, Restorer], chunks: Iterable[bytes]
) -> Iterator[Chunks | None]:
    """Do the same bit by bit: yield None after each, at the end the chunks.

    Raises:
        WireError: as `read`.
    """
    values = _values(chunks)
    header = next(values, None)
    if not isinstance(header, dict) or not isinstance(header.get(b"LastIndex"), int):
        raise WireError("snapshot: the header is missing")
    transaction = store.begin(header[b"LastIndex"])
    kept = Chunks()
    for number, kind in enumerate(values, 1):
        record = next(values, None)
        if record is None:
            raise WireError("snapshot: cut off inside a record")
        if kind.__class__ is not int:
            raise WireError("snapshot: a record without a type")
        if kind == MessageType.INDEX:
            _restore_index(transaction, record)
        elif kind == MessageType.CHUNKING_STATE:
            kept = Chunks.from_record(record)
        elif kind in restorers:
            _restore(restorers[kind], transaction, record)
        else:
            raise WireError(f"Unrecognized msg type {kind}")
        # Nothing is ever undone here, and a million undo notes would be kept.
        transaction.commit()
        if number % _RECORDS_AT_ONCE == 0:
            yield None
    yield kept


def _restore(restorer: Restorer, transaction: Transaction, record: Any) -> None:
    try:
        restorer(transaction, record)
    except ConsultwistError as error:
        # Records that contradict each other are the sender's fault, too.
        raise WireError(f"snapshot: {error}") from error


def _restore_index(transaction: Transaction, record: Any) -> None:
    row = record if isinstance(record, dict) else {}
    name, value = row.get(b"Key"), row.get(b"Value")
    if not isinstance(name, bytes) or value.__class__ is not int:
        raise WireError("snapshot: malformed index record")
    transaction.set_index(name.decode("utf-8", "surrogateescape"), value)


def _values(chunks: Iterable[bytes]) -> Iterator[Any]:
    """Yield the header, then type, value, type, value and so on.

    A type byte is below 128 and thereby, read as msgpack, the integer it stands for:
    the whole stream is one sequence of msgpack values.
    """
    unpacker = StreamUnpacker()
    for chunk in chunks:
        unpacker.feed(chunk)
        yield from unpacker
    if unpacker.pending:
        raise WireError("snapshot: cut off inside a record")
