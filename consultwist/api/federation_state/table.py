"""The table of federation states and the commands that change it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.state.transaction import Transaction
from consultwist.structs.federation_state import FederationState, FederationStateRequest
from consultwist.structs.message_type import MessageType
from consultwist.wire.struct import Struct

FEDERATION_STATES: Final = "federation-states"


def set_state(txn: Transaction, state: FederationState) -> None:
    """Store the state of a datacenter.

    Raises:
        ConsultwistError: where it does not say of which.
    """
    if not state.datacenter:
        raise ConsultwistError("missing datacenter on federation state")
    existing = txn.table(FEDERATION_STATES).get(_key(state))
    created = txn.index if existing is None else existing.create_index
    stored = msgspec.structs.replace(
        state,
        create_index=created,
        modify_index=txn.index,
        primary_modify_index=state.primary_modify_index or txn.index,
    )
    txn.put(FEDERATION_STATES, stored)
    txn.set_index(FEDERATION_STATES)


def delete_state(txn: Transaction, state: FederationState) -> None:
    """Delete the state of a datacenter; nothing changes where there is none."""
    if txn.table(FEDERATION_STATES).get(_key(state)) is not None:
        txn.delete(FEDERATION_STATES, _key(state))
        txn.set_index(FEDERATION_STATES)


def apply_request(txn: Transaction, data: bytes) -> bool | None:
    """Apply a command; an upsert answers true."""
    request = FederationStateRequest.unpack(data)
    state = request.state or FederationState()
    if request.op == "upsert":
        set_state(txn, state)
        return True
    if request.op == "delete":
        delete_state(txn, state)
        return None
    raise ConsultwistError(f"invalid federation state operation type: {request.op}")


def _restore(txn: Transaction, raw: Any) -> None:
    state = FederationStateRequest.from_raw(raw).state
    if state is not None:
        txn.put(FEDERATION_STATES, state)
        txn.max_index(FEDERATION_STATES, state.modify_index)


def _key(state: FederationState) -> str:
    return state.datacenter.lower()


@implementer(IPlugin, IStateTable)
class FederationStateTable:
    """The state of federation."""

    name = "federation-state"
    schemas = (Schema(name=FEDERATION_STATES, key=_key),)

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the command that stores or deletes a state."""
        return {MessageType.FEDERATION_STATE: apply_request}

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield each state as the command that stores it."""
        rows = list(store.table(FEDERATION_STATES).rows())
        yield (
            MessageType.FEDERATION_STATE,
            (FederationStateRequest(op="upsert", state=row) for row in rows),
        )

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts states back."""
        return {MessageType.FEDERATION_STATE: _restore}
