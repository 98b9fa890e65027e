"""What the query parameters and header fields mean that many endpoints share.

`query_options` fills the fields of any request record derived from `QueryOptions`,
`write_options` those of a `WriteRequest`::

    query = KeyRequest(key=request.rest, **query_options(request, self.agent))
"""

import re
from typing import Any, Final

from consultwist import durations
from consultwist.errors import BadRequest
from consultwist.http.messages import Request, decode_component
from consultwist.interfaces import IAgent
from consultwist.structs.query import QueryOptions, QuerySource
from consultwist.wire.strconv import parse_uint

#: Go's uint64, which an index is.
_INDEX_MAX: Final = 2**64 - 1

#: Paths whose plain reads ``discovery_max_stale`` makes stale.
_DISCOVERY: Final = ("/v1/catalog", "/v1/health")

#: Parameters and fields that change how a read is answered.
_READ_PARAMETERS: Final = frozenset(
    ("stale", "consistent", "leader", "max_stale", "cached", "index", "wait", "filter")
)


def query_options(request: Request, agent: IAgent) -> dict[str, Any]:
    """Return the fields of a read request, datacenter and token included.

    Raises:
        BadRequest: with Consul's text for each parameter.
    """
    config = agent.config
    head = request.head
    if not (
        request.query or "cache-control" in head.fields or config.discovery_max_stale
    ):
        # Most reads say nothing; this is all that they need.
        token = head.token or agent.tokens.default
        return {"token": token, "datacenter": config.datacenter}
    options = read_options(request, agent)
    options["datacenter"] = request.query.get("dc") or config.datacenter
    return options


def read_options(request: Request, agent: IAgent) -> dict[str, Any]:
    """Return the fields of a read request that names no datacenter."""
    query = request.query
    options: dict[str, Any] = {"token": request_token(request, agent)}
    if query and not _READ_PARAMETERS.isdisjoint(query):
        _read_consistency(query, options, agent)
        _read_cache_control(request, options)
        _read_wait(query, options)
        if query.get("filter"):
            options["filter"] = query["filter"]
    elif "cache-control" in request.head.fields:
        _read_cache_control(request, options)
    stale_s = agent.config.discovery_max_stale
    if stale_s and request.path.startswith(_DISCOVERY):
        _allow_discovery_stale(request, options, stale_s)
    return options


def write_options(request: Request, agent: IAgent) -> dict[str, Any]:
    """Return the fields of a write request: datacenter and token."""
    return {
        "datacenter": request.query.get("dc") or agent.config.datacenter,
        "token": request_token(request, agent),
    }


def request_token(request: Request, agent: IAgent) -> str:
    """Return the token that came with the request, else the agent's own, else none."""
    return own_token(request) or agent.tokens.default


def own_token(request: Request) -> str:
    """Return the token that came with the request, or an empty text."""
    return request.query.get("token") or request.head.token


def near(request: Request, agent: IAgent) -> QuerySource:
    """Return whom to sort an answer by distance to: ``?near``."""
    node = request.query.get("near", "")
    return QuerySource(
        datacenter=agent.config.datacenter,
        segment=agent.config.segment_name,
        node=agent.config.node_name if node == "_agent" else node,
        ip=source_address(request),
    )


def source_address(request: Request) -> str:
    """Return the client's address; a proxy's word for it counts, as in Consul."""
    forwarded = request.field("x-forwarded-for")
    if forwarded:
        return forwarded.partition(",")[0].strip()
    return request.client


def node_meta(request: Request) -> dict[str, str] | None:
    """Return the metadata that nodes must have: each ``?node-meta=key:value``."""
    if "node-meta" not in request.query:
        return None
    pairs = (pair.partition(":") for pair in request.values("node-meta"))
    return {key: value for key, _, value in pairs}


def refuse_namespace(request: Request) -> None:
    """Refuse what names a namespace, which only Consul Enterprise has.

    Raises:
        BadRequest: where a query parameter or a header field names one.
    """
    if request.field("x-consul-namespace"):
        raise BadRequest(
            'Bad request: Invalid header: "X-Consul-Namespace"'
            " - Namespaces are a Consul Enterprise feature"
        )
    if request.query.get("ns"):
        raise BadRequest(
            'Bad request: Invalid query parameter: "ns"'
            " - Namespaces are a Consul Enterprise feature"
        )


def consistency_level(options: QueryOptions) -> str:
    """Return how a read was asked for: ``leader``, ``consistent`` or ``stale``."""
    if options.require_consistent:
        return "consistent"
    return "stale" if options.allow_stale else "leader"


def redacted_target(request: Request) -> str:
    """Return the target of a request without secrets, for logs."""
    path, mark, query = request.target.partition("?")
    path = _LEGACY_ACL_PATH.sub(r"\1<hidden>", path)
    return path + mark + _PARAMETER.sub(_redact_parameter, query)


def _redact_parameter(found: re.Match[str]) -> str:
    try:
        name = decode_component(found[1])
    except ValueError:
        # A query that does not decode is answered by an error, but logged all the same.
        return "<hidden>"
    return f"{found[1]}=<hidden>" if name == "token" else found[0]


_PARAMETER: Final = re.compile(r"([^&;=]+)=([^&;]*)")
#: Legacy ACL routes carry the token in the path.
_LEGACY_ACL_PATH: Final = re.compile(
    r"^(/v1/acl/(?:info|update|destroy|clone|create|list)/)[^?]+"
)


def _read_consistency(query: Any, options: dict[str, Any], agent: IAgent) -> None:
    if "stale" in query:
        options["allow_stale"] = True
    if "consistent" in query:
        options["require_consistent"] = True
    if "cached" in query and agent.config.http_use_cache:
        options["use_cache"] = True
    text = query.get("max_stale")
    if text:
        longest = _duration(text, f'Invalid max_stale value "{text}"')
        if longest > 0:
            options["max_stale_duration"] = longest
            options["allow_stale"] = True
    if "require_consistent" in options:
        for name, word in (("allow_stale", "stale"), ("use_cache", "cached")):
            if name in options:
                raise BadRequest(
                    f"Cannot specify ?{word} with ?consistent, conflicting semantics."
                )


def _allow_discovery_stale(
    request: Request, options: dict[str, Any], seconds: float
) -> None:
    stated = ("stale", "consistent", "leader", "max_stale")
    if not any(name in request.query for name in stated):
        options["allow_stale"] = True
        options["max_stale_duration"] = int(seconds * durations.SECOND)


def _read_cache_control(request: Request, options: dict[str, Any]) -> None:
    field = request.head.fields.get("cache-control")
    if not field:
        return
    for part in field.split(","):
        name, equals, value = part.strip().lower().partition("=")
        if name == "must-revalidate":
            options["must_revalidate"] = True
        elif equals and name in ("max-age", "stale-if-error"):
            seconds = _whole(value)
            key = "max_age" if name == "max-age" else "stale_if_error"
            options[key] = seconds * durations.SECOND
            if name == "max-age" and seconds == 0:
                options["must_revalidate"] = True


def _whole(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise BadRequest("Invalid Cache-Control header.")
    return int(text)


#: What Go's strconv.Atoi takes, and not more digits than seconds can need.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,9}")


def _read_wait(query: Any, options: dict[str, Any]) -> None:
    wait = query.get("wait")
    if wait:
        options["max_query_time"] = max(0, _duration(wait, "Invalid wait time"))
    index = query.get("index")
    if index:
        try:
            options["min_query_index"] = parse_uint(index)
        except ValueError as error:
            raise BadRequest("Invalid index") from error


def _duration(text: str, refusal: str) -> int:
    try:
        return durations.parse(text)
    except ValueError as error:
        raise BadRequest(refusal) from error
