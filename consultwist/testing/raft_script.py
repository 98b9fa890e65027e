"""The commands of Raft's data-driven scripts.

Servers are cores without a driver: nothing becomes durable, is delivered or passes
time unless a command says so, and each command shows the actions that it causes.

::

    cluster s1 s2 s3         voters with one configuration; +s4 is a non-voter
    log s1 1 1 2             give a server entries of these terms before it starts
    tick s1                  go to its next timer and let it fire
    advance 0.5              let time pass without firing timers
    persist s1               make its writes durable
    deliver s1 s2            requests and answers from s1 to s2
    lose s1 s2               lose what is under way from s1 to s2
    fail s1 s2               tell s1 that its requests to s2 failed
    unsupported s1 s2        the same, by closing the stream
    stabilize [s1 s2 ...]    persist and deliver, among these, until nothing is left
    crash s1                 restart with what is durable
    propose s1 text          and add-voter, add-nonvoter, demote, remove, transfer,
                             verify, barrier, snapshot, unreachable
    send s1 kind key=value   a request from nowhere
    state                    each server's role, term, commit index and log
"""

import random
from collections.abc import Callable
from typing import Any

import attrs

from consultwist.errors import ConsultwistError
from consultwist.raft import actions, messages
from consultwist.raft.configuration import Configuration, Server, Suffrage
from consultwist.raft.core import Raft
from consultwist.raft.messages import Entry, LogType, Request
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.memory import MemoryDisk
from consultwist.raft.storage.snapshot_files import SnapshotMeta

_STABLE_ROUNDS_MAX = 200

WRITES = (
    actions.PersistState,
    actions.PersistEntries,
    actions.TruncateLog,
    actions.ResetLog,
    actions.CompactLog,
)


@attrs.define
class _Wire:
    """What is under way between two servers, in order."""

    source: str
    target: str
    action: Any


@attrs.define
class _Source:
    """Where the answer to a request goes: to a server's ticket, or nowhere."""

    peer: str = ""
    ticket: int = 0


@attrs.define
class _Member:
    core: Raft
    disk: MemoryDisk
    unsaved: list[actions.Write] = attrs.field(factory=list)
    held: list[Any] = attrs.field(factory=list)


class RaftScript:
    """Executes the commands of a script."""

    def __init__(self) -> None:
        self._now = 0.0
        self._members: dict[str, _Member] = {}
        self._wires: list[_Wire] = []
        self._shown: list[str] = []
        self._settings = RaftSettings(trailing_logs=1)
        self._requests = 0

    def execute(self, line: str) -> list[str]:
        """Run one command; return what it shows."""
        self._shown = []
        name, *words = line.split()
        command: Callable[..., None] = getattr(self, "_on_" + name.replace("-", "_"))
        try:
            command(*words)
        except ConsultwistError as error:
            self._shown.append(f"error: {error}")
        return self._shown or ["ok"]

    # --- setting the stage ----------------------------------------------------------

    def _on_cluster(self, *names: str) -> None:
        servers = []
        for name in names:
            plain = name.lstrip("+")
            suffrage = Suffrage.NONVOTER if plain != name else Suffrage.VOTER
            servers.append(Server(id=plain, address=plain, suffrage=suffrage))
        packed = Configuration.of(servers).pack()
        first = Entry.make(1, 1, LogType.CONFIGURATION, packed)
        for server in servers:
            disk = MemoryDisk(term=1, entries={1: first}, commit_index=1)
            self._boot(server.id, disk)

    def _on_server(self, name: str) -> None:
        self._boot(name, MemoryDisk())

    def _boot(self, name: str, disk: MemoryDisk) -> None:
        core = Raft(
            name,
            name,
            self._settings,
            random.Random(name),  # noqa: S311 - a test
            disk.recovered(),
            lambda first, last, _: [disk.entries[i] for i in range(first, last + 1)],
            self._now,
        )
        self._members[name] = _Member(core, disk)
        # A restart shows no entries applied again.
        self._perform(name, is_shown=False)

    def _on_log(self, name: str, *terms: str) -> None:
        disk = self._members[name].disk
        for index, term in enumerate(terms, 2):
            data = f"{name}-{index}".encode()
            disk.entries[index] = Entry.make(index, int(term), LogType.COMMAND, data)
        disk.term = max(disk.term, *map(int, terms))
        self._boot(name, disk)

    def _on_crash(self, name: str) -> None:
        self._wires = [w for w in self._wires if name not in (w.source, w.target)]
        self._boot(name, self._members[name].disk)

    # --- time, disk, network --------------------------------------------------------

    def _on_tick(self, name: str) -> None:
        core = self._members[name].core
        due = core._role.next_timer()
        assert due is not None, f"{name} has no timer"
        self._now = max(self._now, due)
        core.handle_timer(self._now)
        self._perform(name)

    def _on_advance(self, seconds: str) -> None:
        self._now += float(seconds)

    def _on_persist(self, name: str) -> None:
        self._persist(name)

    def _persist(self, name: str) -> bool:
        member = self._members[name]
        if not member.unsaved:
            return False
        writes, member.unsaved = member.unsaved, []
        for write in writes:
            member.disk.write(write)
        sequence = writes[-1].sequence
        member.core.persisted(sequence, self._now)
        held, member.held = member.held, []
        for action in held:
            self._put(name, action)
        self._perform(name)
        return True

    def _on_deliver(self, source: str, target: str) -> None:
        for wire in self._take(source, target):
            self._deliver(wire)

    def _on_lose(self, source: str, target: str) -> None:
        self._take(source, target)

    def _on_fail(self, source: str, target: str) -> None:
        self._fail(source, target, unsupported=False)

    def _on_unsupported(self, source: str, target: str) -> None:
        self._fail(source, target, unsupported=True)

    def _fail(self, source: str, target: str, *, unsupported: bool) -> None:
        core = self._members[source].core
        self._take(source, target)
        for ticket, call in list(core.state.calls.items()):
            if call.peer.id == target:
                core.request_failed(ticket, self._now, unsupported=unsupported)
        self._perform(source)

    def _take(self, source: str, target: str) -> list[_Wire]:
        taken = [w for w in self._wires if (w.source, w.target) == (source, target)]
        self._wires = [w for w in self._wires if w not in taken]
        return taken

    def _deliver(self, wire: _Wire) -> None:
        core = self._members[wire.target].core
        action = wire.action
        if isinstance(action, (actions.Reply, actions.ReplyAfterPersist)):
            ticket = action.source.ticket
            if action.response is None:
                core.request_failed(ticket, self._now)
            else:
                core.receive_response(ticket, action.response, self._now)
        else:
            source = _Source(wire.source, action.ticket)
            core.receive(self._completed(wire.source, action), source, self._now)
        self._perform(wire.target)

    def _completed(self, name: str, action: Any) -> Request:
        request: Request = action.request
        if not isinstance(action, actions.SendSnapshot):
            return request
        snapshot = self._members[name].disk.snapshot
        assert snapshot is not None
        meta, content = snapshot
        return messages.InstallSnapshot.from_raw(
            {
                **{key.encode(): value for key, value in request.to_raw().items()},
                b"Configuration": meta.configuration.pack(),
                b"ConfigurationIndex": meta.configuration_index,
                b"Size": len(content),
            }
        )

    def _on_stabilize(self, *names: str) -> None:
        among = names or tuple(self._members)
        for _ in range(_STABLE_ROUNDS_MAX):
            moved = [self._persist(name) for name in among]
            wires = [w for w in self._wires if w.source in among and w.target in among]
            if not any(moved) and not wires:
                return
            self._wires = [w for w in self._wires if w not in wires]
            for wire in wires:
                self._deliver(wire)
        raise AssertionError("the servers do not come to rest")

    # --- commands -------------------------------------------------------------------

    def _on_propose(self, name: str, *words: str) -> None:
        data = " ".join(words).encode()
        self._members[name].core.propose([(data, None)], self._now)
        self._perform(name)

    def _on_barrier(self, name: str) -> None:
        self._members[name].core.barrier(self._now)
        self._perform(name)

    def _on_verify(self, name: str) -> None:
        self._requests += 1
        self._members[name].core.verify_leader(self._requests, self._now)
        self._perform(name)

    def _on_transfer(self, name: str, target: str = "") -> None:
        self._members[name].core.transfer_leadership(target, self._now)
        self._perform(name)

    def _on_add_voter(self, name: str, target: str) -> None:
        self._members[name].core.add_voter(target, target, self._now)
        self._perform(name)

    def _on_add_nonvoter(self, name: str, target: str) -> None:
        self._members[name].core.add_nonvoter(target, target, self._now)
        self._perform(name)

    def _on_demote(self, name: str, target: str) -> None:
        self._members[name].core.demote(target, self._now)
        self._perform(name)

    def _on_remove(self, name: str, target: str) -> None:
        self._members[name].core.remove(target, self._now)
        self._perform(name)

    def _on_bootstrap(self, name: str, *members: str) -> None:
        servers = [Server(id=member, address=member) for member in members]
        configuration = Configuration.of(servers)
        self._members[name].core.bootstrap(configuration, self._now)
        self._perform(name)

    def _on_unreachable(self, name: str, leader: str) -> None:
        self._members[name].core.leader_unreachable(leader, self._now)
        self._perform(name)

    def _on_lease(self, name: str) -> None:
        valid = self._members[name].core.lease_valid(self._now)
        self._shown.append("valid" if valid else "not valid")

    def _on_snapshot(self, name: str) -> None:
        member = self._members[name]
        basis = member.core.begin_snapshot()
        meta = SnapshotMeta.of(
            basis.index,
            basis.term,
            basis.configuration,
            basis.configuration_index,
            0.0,
        )
        member.disk.snapshot = (meta, b"state")
        member.core.snapshot_taken(basis)
        self._perform(name)

    def _on_send(self, name: str, kind: str, *pairs: str) -> None:
        fields: dict[bytes, Any] = {b"ProtocolVersion": 3}
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key == "Entries":
                fields[b"Entries"] = [_entry(text) for text in value.split(",")]
            else:
                fields[key.encode()] = _value(value)
        if kind == "InstallSnapshot":
            configuration = self._members[name].core.state.configuration
            fields[b"Configuration"] = configuration.pack()
        request = getattr(messages, kind).from_raw(fields)
        self._members[name].core.receive(request, _Source(), self._now)
        self._perform(name)

    def _on_state(self) -> None:
        for name, member in self._members.items():
            state = member.core.state
            log = state.log
            terms = [
                str(log.term(i)) for i in range(log.first_index, log.last_index + 1)
            ]
            self._shown.append(
                f"{name}: {member.core.role.value.lower()} term={state.term} "
                f"vote={state.vote or '-'} leader={state.leader or '-'} "
                f"commit={log.commit_index} applied={log.applied_index} "
                f"log={log.first_index}:[{' '.join(terms)}]"
            )

    # --- performing -----------------------------------------------------------------

    def _perform(self, name: str, *, is_shown: bool = True) -> None:
        core = self._members[name].core
        while taken := core.take_actions():
            for action in taken:
                if is_shown:
                    self._shown.append(f"{name}: {action.describe()}")
                self._put_or_hold(name, action)

    def _put_or_hold(self, name: str, action: actions.Action) -> None:
        member = self._members[name]
        if isinstance(action, (actions.SendAfterPersist, actions.ReplyAfterPersist)):
            member.held.append(action)
        elif isinstance(action, (actions.Send, actions.SendSnapshot, actions.Reply)):
            self._put(name, action)
        elif isinstance(action, actions.Apply):
            member.core.applied(action.entries[-1].index)
        elif isinstance(action, actions.RestoreSnapshot):
            self._restore(member, action)
        elif isinstance(action, WRITES):
            member.unsaved.append(action)

    def _restore(self, member: _Member, action: actions.RestoreSnapshot) -> None:
        request = action.request
        meta = SnapshotMeta.of(
            request.last_log_index,
            request.last_log_term,
            action.configuration,
            request.configuration_index,
            0.0,
        )
        member.disk.snapshot = (meta, b"state")
        member.core.snapshot_installed(request, action.configuration, success=True)

    def _put(self, name: str, action: Any) -> None:
        if isinstance(action, (actions.Reply, actions.ReplyAfterPersist)):
            if action.source.peer:
                self._wires.append(_Wire(name, action.source.peer, action))
        else:
            self._wires.append(_Wire(name, action.peer.id, action))


def _value(text: str) -> object:
    if text.isdigit():
        return int(text)
    return True if text == "true" else text.encode()


def _entry(text: str) -> dict[bytes, Any]:
    index, term = map(int, text.split("/"))
    data = f"sent-{index}".encode()
    return {b"Index": index, b"Term": term, b"Type": 0, b"Data": data}
