"""Every seam of the house: what plugins provide and what they are handed.

Plugin objects hold no state and no reactor. State is made in `make_service`,
`make_runner`, `start` and `routes`, which get what they need as an argument.

An answer that may need waiting is written ``T | Deferred[T]``: the value itself where
it is known at once, which is the common and fast case, else a Deferred. Callers test
with ``isinstance(answer, Deferred)``.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from consultwist.acl.authorizer import Authorizer
    from consultwist.agent.cache import Cached
    from consultwist.dns.answers import Lookup
    from consultwist.dns.names import Question
    from consultwist.gossip.serf.members import PoolMember
    from consultwist.http.router import Route
    from consultwist.rpc.dispatch import Method
    from consultwist.rpc.snapshot_transfer import SavedSnapshot
    from consultwist.state.store import Store
    from consultwist.state.transaction import Transaction
    from consultwist.structs.catalog import CheckType, HealthCheck
    from consultwist.structs.query import QueryOptions
    from consultwist.structs.snapshot import SnapshotRequest, SnapshotResponse
    from consultwist.wire.struct import Struct

# --- found by plugin discovery -------------------------------------------------------


class IStateTable(IPlugin):
    """A part of the replicated state: tables and the commands that change them."""

    name = Attribute("Unique name, such as ``kv``.")
    schemas = Attribute("The tables it declares: a sequence of `Schema`.")

    def commands() -> "Mapping[int, Callable[[Transaction, bytes], Any]]":
        """Return, by message type, what applies a command.

        Called once per start. The function gets a transaction at the entry's index and
        the bytes behind the type byte, and returns the result for the proposer. It
        raises a `ConsultwistError` to refuse; the transaction is then undone. It may
        not look at a clock, use randomness, do I/O or iterate over sets.
        """

    def persist(store: "Store") -> "Iterator[tuple[int, Iterator[Struct]]]":
        """Yield, by snapshot record type, the records of a snapshot, in order.

        Called when a snapshot begins, in one turn: what the inner iterators need must
        be copied (`list(table.rows())`) before they are returned, because they are
        advanced in later turns while the store changes.
        """

    def restorers() -> "Mapping[int, Callable[[Transaction, Any], None]]":
        """Return, by snapshot record type, what puts a decoded record back."""


class IRPCEndpoint(IPlugin):
    """Methods that agents call on servers, under one service name."""

    name = Attribute("Unique name; also the service name, such as ``KVS``.")
    service = Attribute("The service name where it is not the unique name, or empty.")

    def methods() -> "Iterator[Method]":
        """Yield the methods."""


class IHTTPEndpoint(IPlugin):
    """A group of paths of the HTTP API."""

    name = Attribute("Unique name, such as ``kv``.")

    def routes(agent: "IAgent") -> "Iterable[Route]":
        """Return the routes, bound to this agent. Called once per start."""


class ILeaderRoutine(IPlugin):
    """Work that only the leader does."""

    name = Attribute("Unique name; routines start in the order of `rank`, then name.")
    rank = Attribute("An integer; lower starts earlier.")

    def start(server: "IServer") -> Callable[[], None]:
        """Begin, after this server became leader; return what stops the work.

        The returned function is called once, when leadership is lost or at shutdown.
        """


class ICheckType(IPlugin):
    """A way to find out whether something is healthy."""

    kind = Attribute("The check's type, such as ``http``; shown in the catalog.")

    def takes(definition: "CheckType") -> bool:
        """Tell whether a check definition is of this type."""

    def make_runner(definition: "CheckType", host: "ICheckHost") -> "ICheckRunner":
        """Make what runs one check; nothing begins before it is started.

        Called twice: when a definition is looked at, and when it is to run.

        Raises:
            ConsultwistError: where the definition cannot run.
        """


class IAgentInterface(IPlugin):
    """A network interface of the agent: DNS, HTTP and their like."""

    name = Attribute("Unique name, such as ``dns``.")

    def make_service(agent: "IAgent") -> IService | None:
        """Make the service that listens, or None where it is switched off."""


class IDNSForm(IPlugin):
    """A form of names in the agent's domain, such as ``<node>.node.consul``."""

    name = Attribute("Unique name, such as ``service``.")
    labels = Attribute("The labels that select it, such as ``('service',)``.")

    def lookup(agent: "IAgent", question: "Question") -> "Lookup | Deferred[Lookup]":
        """Return the records that answer a question of this form."""


class ITelemetrySink(Interface):
    """Where metrics go."""

    def counter(name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""

    def gauge(name: str, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""

    def sample(name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record one observation, in milliseconds where it is a time."""


# --- handed to plugins ---------------------------------------------------------------


class ICheckRunner(Interface):
    """One running check."""

    def start() -> None:
        """Begin to run the check at its interval, first at a random moment of it."""

    def stop() -> None:
        """Stop; nothing is reported afterwards."""


class ICheckHost(Interface):
    """What a check runner is given by its agent."""

    reactor = Attribute("Provides IReactorTime, IReactorTCP, IReactorProcess, ...")
    clock = Attribute("A `Clock`.")
    rng = Attribute("A `random.Random`.")
    config = Attribute("The agent's `RuntimeConfig`.")

    def report(check_id: str, status: str, output: str) -> None:
        """Set the state of a check: ``passing``, ``warning`` or ``critical``."""

    def rpc(method: str, request: "Struct") -> "Any | Deferred[Any]":
        """Ask the servers, as `IClusterDelegate.rpc`; the answer is a record."""

    def check_token(check_id: str) -> str:
        """Return the token of a check, or the agent's default; for `rpc`."""

    def local_checks(service_id: str) -> "Sequence[HealthCheck] | None":
        """Return this agent's checks of a service and of the node itself.

        None where a service is named that is not registered.
        """

    def watch_checks(
        service_id: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call when the answer of `local_checks` has changed, until told to stop.

        The returned function ends the watch. A change made by `changed` itself may
        call it again, but only after it has returned.
        """


class IClusterDelegate(Interface):
    """What makes an agent a server agent or a client agent."""

    is_server = Attribute("Whether this agent takes part in Raft.")

    def rpc(method: str, request: "Struct") -> "Any | Deferred[Any]":
        """Call a server method such as ``KVS.Apply``; errors are raised or failed."""

    def read_version() -> int:
        """Return a number that changes whenever the answer to a read may change.

        It is negative where this agent does not answer reads from its own state.
        """

    def save_snapshot(request: "SnapshotRequest") -> "Deferred[SavedSnapshot]":
        """Have a snapshot of the state taken; fires when it can be sent."""

    def restore_snapshot(
        request: "SnapshotRequest", archive: "BinaryIO"
    ) -> "Deferred[SnapshotResponse]":
        """Have the state replaced by an archive's; fires when that is done."""

    def stats() -> Mapping[str, Mapping[str, str]]:
        """Return what ``/v1/agent/self`` and ``consul info`` show, by section."""

    def leave() -> "Awaitable[None]":
        """Begin to leave the cluster: the pools do not know yet."""

    def drain() -> "Awaitable[None]":
        """Finish leaving: the pools know, and others turn away."""


class IAgent(Interface):
    """The running agent, as interfaces, endpoints and forms see it."""

    config = Attribute("The `RuntimeConfig` in force.")
    reactor = Attribute("The one reactor.")
    clock = Attribute("A `Clock`.")
    rng = Attribute("A `random.Random`.")
    delegate = Attribute("The `IClusterDelegate`.")
    local_state = Attribute("This agent's services and checks: `LocalState`.")
    metrics = Attribute("The `Metrics` registry.")
    events = Attribute("The recent user events: `UserEvents`.")
    tokens = Attribute("The tokens the agent itself uses; `default` is one of them.")
    registry = Attribute("Registers services and checks: `Registry`.")
    pools = Attribute("The gossip pools this agent is a member of: `Pools`.")
    plugins = Attribute("What plugin discovery found: `Plugins`.")

    def rpc(method: str, request: "Struct") -> "Any | Deferred[Any]":
        """Call a server method; an empty datacenter becomes this agent's."""

    def cached(method: str, request: "QueryOptions") -> "Cached | Deferred[Cached]":
        """Read by way of the agent's cache; `Cached.reply` is what `rpc` would give."""

    def resolve_token(token: str) -> "Authorizer | Deferred[Authorizer]":
        """Return what a token allows; errors are raised or failed."""

    def reload() -> "Awaitable[None]":
        """Read the configuration again and apply what can change at run time."""

    def leave() -> "Awaitable[None]":
        """Leave the cluster and shut down."""

    def stats() -> Mapping[str, Mapping[str, str]]:
        """Return the figures that ``/v1/agent/self`` shows, by section."""


class IServer(Interface):
    """The server half of an agent, as RPC endpoints and leader routines see it."""

    config = Attribute("The `RuntimeConfig` in force.")
    reactor = Attribute("The one reactor.")
    clock = Attribute("A `Clock`.")
    rng = Attribute("A `random.Random`.")
    store = Attribute("The replicated state: `Store`.")
    lock_delays = Attribute("Keys that may not be locked yet: `LockDelays`.")
    coordinate_updates = Attribute("Coordinates told: `CoordinateUpdates`.")
    membership = Attribute("The members of the LAN pool: `Membership`.")
    raft = Attribute("This server's Raft: `RaftNode`.")
    autopilot = Attribute("What looks after the servers: `Autopilot`.")
    session_timers = Attribute("When sessions with a TTL end: `SessionTimers`.")
    metrics = Attribute("The `Metrics` registry.")

    def raft_apply(message_type: int, request: "Struct") -> "Deferred[Any]":
        """Propose a command; fires with the state machine's answer."""

    def rpc(method: str, request: "Struct") -> "Any | Deferred[Any]":
        """Call a server method, here or where it is to be answered."""

    def is_leader() -> bool:
        """Tell whether this server leads."""

    def lan_members() -> "Sequence[PoolMember]":
        """Return the members of the LAN pool, this server among them."""

    def on_member_change(callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""


class IRaftFSM(Interface):
    """The state machine that a Raft log drives."""

    def apply_batch(entries: "Iterable[Any]") -> "list[Any]":
        """Apply committed commands in order; return a result for each.

        Args:
            entries: objects with `index`, `term`, `data` and `extensions`, the last
                two bytes or None.

        A result that is a `ConsultwistError` fails the proposer's Deferred. Raising
        stops this server's Raft: it cannot go on where others may have.
        """

    def snapshot() -> "Iterator[bytes]":
        """Return the chunks of the present state, which is fixed when this returns."""

    def restore(chunks: "Iterable[bytes]") -> None:
        """Replace the state by a snapshot's.

        Raises:
            WireError: where the snapshot is not sound; the old state stays then.
        """
