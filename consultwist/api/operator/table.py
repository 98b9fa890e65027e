"""The autopilot configuration: one object of the state, without table or index row."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.transaction import Transaction
from consultwist.structs.message_type import MessageType
from consultwist.structs.operator import (
    AUTOPILOT,
    AutopilotConfig,
    AutopilotSetConfigRequest,
)
from consultwist.wire.struct import Struct


def autopilot_config(store: Store) -> AutopilotConfig | None:
    """Return the configuration, or None before a leader has written the first."""
    config: AutopilotConfig | None = store.values.get(AUTOPILOT)
    return config


def set_autopilot_config(txn: Transaction, config: AutopilotConfig) -> None:
    """Store a configuration; it keeps the index at which the first one was made."""
    existing = autopilot_config(txn.store)
    created = txn.index if existing is None else existing.create_index
    stored = msgspec.structs.replace(
        config, create_index=created, modify_index=txn.index
    )
    txn.set_value(AUTOPILOT, stored)


def apply_request(txn: Transaction, data: bytes) -> bool | None:
    """Apply a change; with compare-and-set, tell whether it was made."""
    request = AutopilotSetConfigRequest.unpack(data)
    if not request.cas:
        set_autopilot_config(txn, request.config)
        return None
    existing = autopilot_config(txn.store)
    if existing is None or existing.modify_index != request.config.modify_index:
        return False
    set_autopilot_config(txn, request.config)
    return True


def _restore(txn: Transaction, raw: Any) -> None:
    txn.set_value(AUTOPILOT, AutopilotConfig.from_raw(raw))


@implementer(IPlugin, IStateTable)
class OperatorTable:
    """The state of autopilot."""

    name = "operator"
    schemas = ()

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the command that changes the configuration."""
        return {MessageType.AUTOPILOT: apply_request}

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield the configuration, if there is one."""
        config = autopilot_config(store)
        yield MessageType.AUTOPILOT, iter([] if config is None else [config])

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts the configuration back."""
        return {MessageType.AUTOPILOT: _restore}
