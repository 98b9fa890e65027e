"""Which function answers which method and path.

Endpoint classes declare their routes with `route`; a path that ends in a slash is a
prefix::

    @implementer(IPlugin, IHTTPEndpoint)
    class StatusRoutes:
        name = "status"

        @route("GET", "/v1/status/leader")
        def leader(self, request: Request) -> MaybeLater: ...

Plugin objects hold no state, so a plugin's `routes(agent)` makes the object whose
methods are bound, and returns ``collect_routes`` of it.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import quote_from_bytes

import attrs

from consultwist.acl.authorizer import PUBLIC, Rule
from consultwist.errors import ConfigError, MethodNotAllowed
from consultwist.http.messages import MaybeLater, Request, Response

Function = TypeVar("Function", bound=Callable[..., Any])

#: Bodies of routes that state no limit of their own. Stock Consul has none there; the
#: largest honest bodies are policies and config entries, whose Raft entry it keeps
#: below 512 KiB.
BODY_MAX_BYTES: Final = 4 * 1024 * 1024

#: The order in which Allow names the methods.
_METHOD_ORDER: Final = ("GET", "POST", "PUT", "DELETE")
_MARK: Final = "__http_routes__"


@attrs.define
class Route:
    """One method or more on one path, and the function that answers.

    Attributes:
        methods: the methods; none at all lets every method through to the function.
        path: the whole path, or a prefix that ends in a slash.
        function: what answers.
        acl: who may ask, where the agent itself decides. Endpoints that pass the
            request on by RPC leave it `PUBLIC`: the server decides.
        body_limit: the largest body in bytes, or the name of the limit in the agent's
            configuration (``kv_max_value_size``); of several names the largest counts.
        api: whether this is a part of the API: compressed, decorated, and subject to
            ``block_endpoints`` and ``allow_write_http_from``.
        owner: who claims it, for the error where two do.
        body_max: the limit in force, in bytes.
        reads_body: whether the function wants the body, or it is thrown away.
        timers: by method, what takes the time of each request in milliseconds.
        open_spool: opens the file that the body goes to where it may be too large for
            memory; see `Request.spool`.
    """

    methods: tuple[str, ...]
    path: str
    function: Callable[[Request], MaybeLater]
    acl: Rule = PUBLIC
    body_limit: int | str = BODY_MAX_BYTES
    api: bool = True
    owner: str = ""
    body_max: int = BODY_MAX_BYTES
    reads_body: bool = True
    timers: dict[str, Callable[[float], None]] = attrs.field(factory=dict, eq=False)
    open_spool: Callable[[], BinaryIO] | None = None

    @property
    def limit_name(self) -> str:
        """The name of the configured limit of the body, or an empty text."""
        limit = self.body_limit
        return limit.partition(" ")[0] if isinstance(limit, str) else ""


def route(
    methods: str,
    path: str,
    *,
    acl: Rule = PUBLIC,
    body_limit: int | str = BODY_MAX_BYTES,
    api: bool = True,
) -> Callable[[Function], Function]:
    """Declare that a method answers requests; may be repeated on one method.

    Args:
        methods: one HTTP method, or several parted by spaces; empty for all, where
            the function tests the method itself.
        path: the whole path, or a prefix that ends in a slash.
        acl: who may ask, where the agent itself decides: a function of the authorizer
            and the `Request`.
        body_limit: see `Route`.
        api: see `Route`.
    """

    def mark(function: Function) -> Function:
        declared: list[dict[str, Any]] = list(getattr(function, _MARK, ()))
        declared.append(
            {
                "methods": tuple(methods.split()),
                "path": path,
                "acl": acl,
                "body_limit": body_limit,
                "api": api,
            }
        )
        setattr(function, _MARK, declared)
        return function

    return mark


def collect_routes(endpoints: object) -> list[Route]:
    """Return the routes that the class of an object declares, bound to the object."""
    kind = type(endpoints)
    owner = f"{kind.__module__}.{kind.__qualname__}"
    return [
        Route(function=getattr(endpoints, attribute), owner=owner, **declared)
        for attribute in dir(kind)
        for declared in getattr(getattr(kind, attribute), _MARK, ())
    ]


def not_found(request: Request) -> Response:  # noqa: ARG001 - all routes take it
    """Answer for a path that nobody claims."""
    return Response(status=404)


NOT_FOUND: Final = Route((), "", not_found, api=False, reads_body=False)


class _Resource:
    """All routes of one path."""

    __slots__ = ("allow", "by_method", "is_deepest", "otherwise")

    def __init__(self, routes: list[Route]) -> None:
        self.by_method = {name: route for route in routes for name in route.methods}
        #: Whether no longer prefix begins with this path.
        self.is_deepest = False
        known = [name for name in _METHOD_ORDER if name in self.by_method]
        others = sorted(set(self.by_method) - set(known))
        self.allow = ("OPTIONS", *known, *others)
        open_routes = [route for route in routes if not route.methods]
        self.otherwise = open_routes[0] if open_routes else self._refusal(routes[0])
        if not open_routes:
            self.by_method["OPTIONS"] = self._options(routes[0])

    def _refusal(self, example: Route) -> Route:
        def refuse(request: Request) -> Response:
            raise MethodNotAllowed(f"method {request.method} not allowed", self.allow)

        return attrs.evolve(example, function=refuse, acl=PUBLIC, reads_body=False)

    def _options(self, example: Route) -> Route:
        answer = Response(headers=(("Allow", ",".join(self.allow)),))
        return attrs.evolve(
            example, function=lambda _: answer, acl=PUBLIC, reads_body=False
        )


class Router:
    """All routes of an agent.

    Args:
        routes: what answers; two routes for one method and path are refused.
        limits: gives the size of a body limit that is named in the configuration.
        refuse_unprintable: whether paths with unprintable characters are refused,
            which is so unless ``disable_http_unprintable_char_filter`` is set.

    Raises:
        ConfigError: where two routes claim the same method and path.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        limits: Callable[[str], int],
        *,
        refuse_unprintable: bool = True,
    ) -> None:
        by_path: dict[str, list[Route]] = {}
        self._declared = tuple(routes)
        for one in self._declared:
            one.body_max = _body_max(one, limits)
            by_path.setdefault(one.path, []).append(one)
        for path, claims in by_path.items():
            _refuse_double_claims(path, claims)
        resources = {path: _Resource(claims) for path, claims in by_path.items()}
        self._refuse_unprintable = refuse_unprintable
        self._exact = {p: r for p, r in resources.items() if _is_exact(p)}
        self._prefixes = {p: r for p, r in resources.items() if not _is_exact(p)}
        for path, resource in self._prefixes.items():
            resource.is_deepest = not any(
                other != path and other.startswith(path) for other in self._prefixes
            )
        self._depth = max((p.count("/") for p in self._prefixes), default=0)

    def find(self, method: str, path: str) -> Route:
        """Return what answers; a refusal is a route like any other."""
        resource = self._exact.get(path)
        if resource is None:
            if not path.isprintable() and self._refuses(path):
                return _UNPRINTABLE
            if "//" in path or "/." in path:
                moved = _clean_path(path)
                if moved != path:
                    return _redirect(moved)
            resource = self._longest_prefix(path)
            if resource is None:
                return NOT_FOUND
            if resource is _MOVED:
                return _redirect(path + "/")
        return resource.by_method.get(method, resource.otherwise)

    def routes(self) -> Iterator[Route]:
        """Yield every declared route, by path."""
        yield from sorted(self._declared, key=lambda one: (one.path, one.methods))

    def _refuses(self, path: str) -> bool:
        # Bytes that are not UTF-8 count as printable: Go sees replacement characters.
        text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return self._refuse_unprintable and not text.isprintable()

    def _longest_prefix(self, path: str) -> _Resource | None:
        found = None
        cut = 0
        for _ in range(self._depth):
            cut = path.find("/", cut) + 1
            if not cut:
                break
            resource = self._prefixes.get(path[:cut])
            if resource is not None:
                found = resource
                if found.is_deepest:
                    return found
        else:
            return found
        return _MOVED if path + "/" in self._prefixes else found


_MOVED: Final = _Resource([NOT_FOUND])
_UNPRINTABLE: Final = Route(
    (), "", lambda _: Response(status=400), api=False, reads_body=False
)


def _is_exact(path: str) -> bool:
    # The root is the start page only; what is unknown is not found.
    return path == "/" or not path.endswith("/")


def _body_max(route: Route, limits: Callable[[str], int]) -> int:
    if isinstance(route.body_limit, str):
        return max(limits(name) for name in route.body_limit.split())
    return route.body_limit


def _refuse_double_claims(path: str, claims: list[Route]) -> None:
    owners: dict[str, str] = {}
    for claim in claims:
        for method in claim.methods or ("any method",):
            if method in owners or (claims[0].methods == ()) != (claim.methods == ()):
                raise ConfigError(
                    f"{method} {path} is claimed by {claims[0].owner} and {claim.owner}"
                )
            owners[method] = claim.owner


def _clean_path(path: str) -> str:
    """Return the path without empty, ``.`` and ``..`` parts, as Go's router does."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _redirect(path: str) -> Route:
    target = quote_from_bytes(path.encode("utf-8", "surrogateescape"), _PATH_SAFE)

    def redirect(request: Request) -> Response:
        location = target + ("?" + request.raw_query if request.raw_query else "")
        headers = (("Location", location),)
        if request.method not in ("GET", "HEAD"):
            return Response(status=301, headers=headers)
        return Response.text(
            f'<a href="{escape(location)}">Moved Permanently</a>.\n\n',
            status=301,
            content_type="text/html; charset=utf-8",
            headers=headers,
        )

    return Route((), "", redirect, api=False, reads_body=False)


#: What stays as it is in the path of a URL, as Go writes it.
_PATH_SAFE: Final = "/$&+,:;=@~"
