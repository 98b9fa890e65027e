"""Transactions: several operations that happen together or not at all."""

from typing import Annotated, Final

from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.structs.intention import IntentionRequest
from consultwist.structs.kv import DirEntry
from consultwist.structs.query import QueryMeta, QueryOptions, WriteRequest
from consultwist.structs.session import Session
from consultwist.wire.struct import Field, Struct

#: Verbs on keys that change something.
_KV_WRITES: Final = frozenset(
    ("set", "cas", "lock", "unlock", "delete", "delete-cas", "delete-tree")
)


class TxnKVOp(Struct):
    """An operation on a key."""

    verb: str = ""
    dir_ent: DirEntry = DirEntry()


class TxnNodeOp(Struct):
    """An operation on a node."""

    verb: str = ""
    node: Node = Node()


class TxnServiceOp(Struct):
    """An operation on a service instance."""

    verb: str = ""
    node: str = ""
    service: NodeService = NodeService()


class TxnCheckOp(Struct):
    """An operation on a check."""

    verb: str = ""
    check: HealthCheck = HealthCheck()


class TxnSessionOp(Struct):
    """An operation on a session."""

    verb: str = ""
    session: Session = Session()


class TxnOp(Struct):
    """One operation; exactly one of its parts is set."""

    kv: Annotated[TxnKVOp | None, Field(name="KV")] = None
    intention: IntentionRequest | None = None
    node: TxnNodeOp | None = None
    service: TxnServiceOp | None = None
    check: TxnCheckOp | None = None
    session: TxnSessionOp | None = None

    @property
    def writes(self) -> bool:
        """Whether it could change something; what no reader knows does not."""
        if self.kv is not None:
            return self.kv.verb in _KV_WRITES
        for part in (self.node, self.service, self.check):
            if part is not None:
                return part.verb != "get"
        return self.intention is not None or self.session is not None


class TxnError(Struct):
    """Why an operation of a transaction failed."""

    op_index: int = 0
    what: str = ""


class TxnResult(Struct):
    """What one operation of a transaction gave back."""

    kv: Annotated[DirEntry | None, Field(omit_empty=True, name="KV")] = None
    node: Annotated[Node | None, Field(omit_empty=True)] = None
    service: Annotated[NodeService | None, Field(omit_empty=True)] = None
    check: Annotated[HealthCheck | None, Field(omit_empty=True)] = None


class TxnRequest(WriteRequest):
    """A transaction that may write."""

    datacenter: str = ""
    ops: list[TxnOp] | None = None


class TxnReadRequest(QueryOptions):
    """A transaction that only reads."""

    datacenter: str = ""
    ops: list[TxnOp] | None = None


class TxnResponse(Struct):
    """The outcome of a transaction."""

    results: list[TxnResult] | None = None
    errors: list[TxnError] | None = None


class TxnReadResponse(QueryMeta):
    """The outcome of a transaction that only read."""

    results: list[TxnResult] | None = None
    errors: list[TxnError] | None = None
