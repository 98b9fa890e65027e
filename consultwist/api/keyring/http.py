"""The path ``/v1/operator/keyring``."""

from collections.abc import Iterable
from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import BadRequest, ConsultwistError
from consultwist.http.body import decode_body
from consultwist.http.messages import MaybeLater, Request
from consultwist.http.params import read_options
from consultwist.http.responses import then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.keyring import (
    KeyringRequest,
    KeyringResponse,
    KeyringResponses,
)
from consultwist.structs.service_rules import error_list
from consultwist.wire.strconv import parse_bool
from consultwist.wire.struct import Struct

#: Serf lets an answer travel by way of at most so many others.
_RELAY_FACTOR_MAX: Final = 5


class KeyArgument(Struct):
    """The body of a change: the key that it is about."""

    key: str = ""


class KeyringEndpoints:
    """The paths of the gossip keys, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/operator/keyring")
    def list_keys(self, request: Request) -> MaybeLater:
        """List the keys of all pools, with how many members have each."""
        return self._ask(request, "list")

    @route("POST", "/v1/operator/keyring")
    def install(self, request: Request) -> MaybeLater:
        """Install a key on all members."""
        return self._change(request, "install")

    @route("PUT", "/v1/operator/keyring")
    def use(self, request: Request) -> MaybeLater:
        """Let all members encrypt with a key."""
        return self._change(request, "use")

    @route("DELETE", "/v1/operator/keyring")
    def remove(self, request: Request) -> MaybeLater:
        """Remove a key from all members."""
        return self._change(request, "remove")

    def _change(self, request: Request, operation: str) -> MaybeLater:
        refusal = "Bad request: Request decode failed"
        argument = decode_body(request, KeyArgument, refusal, strict=False)
        return self._ask(request, operation, argument.key)

    def _ask(self, request: Request, operation: str, key: str = "") -> MaybeLater:
        order = KeyringRequest(
            operation=operation,
            key=key,
            datacenter=self.agent.config.datacenter,
            relay_factor=_relay_factor(request),
            local_only=_local_only(request, operation),
            **read_options(request, self.agent),
        )
        answer = self.agent.rpc("Internal.KeyringOperation", order)
        return then(answer, _show_list if operation == "list" else _show_nothing)


def _relay_factor(request: Request) -> int:
    text = request.query.get("relay-factor", "")
    if not text:
        return 0
    if not text.isdigit() or int(text) > _RELAY_FACTOR_MAX:
        raise BadRequest(
            "Bad request: Invalid relay-factor: Relay factor must be in range: "
            f"[0, {_RELAY_FACTOR_MAX}]"
        )
    return int(text)


def _local_only(request: Request, operation: str) -> bool:
    text = request.query.get("local-only", "")
    try:
        if not text or not parse_bool(text):
            return False
    except ValueError as error:
        refusal = f"Bad request: Error parsing local-only: {error}"
        raise BadRequest(refusal) from None
    if operation != "list":
        raise BadRequest(
            "Bad request: Invalid use of local-only: local-only can only be set for "
            "list requests"
        )
    return True


def _show_list(reply: KeyringResponses) -> MaybeLater:
    _raise_problems(reply)
    return reply.responses or []


def _show_nothing(reply: KeyringResponses) -> None:
    _raise_problems(reply)


def _raise_problems(reply: KeyringResponses) -> None:
    problems = [line for part in reply.responses or () for line in _lines(part)]
    if problems:
        raise ConsultwistError(error_list(problems))


def _lines(part: KeyringResponse) -> Iterable[str]:
    if not part.error:
        return
    segment = f" [{part.segment}]" if part.segment else ""
    pool = "WAN" if part.wan else f"{part.datacenter} (LAN){segment}"
    yield f"{pool} error: {part.error}"
    for name, text in (part.messages or {}).items():
        yield f"{name}: {text}"


@implementer(IPlugin, IHTTPEndpoint)
class KeyringRoutes:
    """The paths of the gossip keys."""

    name = "keyring"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(KeyringEndpoints(agent))
