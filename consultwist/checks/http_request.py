"""What an HTTP check sends, first and after redirects.

The order of the headers, the names that are left to us and what is dropped on the way
to another host are as Go's client has them.
"""

import base64
import re
from urllib.parse import unquote_to_bytes

import attrs

from consultwist.checks.http_response import HTTPResponse
from consultwist.checks.url import URL, URLError, parse_url, resolve_reference
from consultwist.structs.catalog import CheckType
from consultwist.wire.quoting import quoted

USER_AGENT = "Consul Health Check"
ACCEPT = "text/plain, text/*, */*"

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: Headers that the client writes itself; those of a definition are not sent.
_OWN_HEADERS = ("host", "user-agent", "content-length", "transfer-encoding", "trailer")

#: Headers that hold secrets and do not follow to another host.
_SECRET_HEADERS = ("authorization", "www-authenticate", "cookie", "cookie2")

#: Methods whose requests name their length even where it is 0.
_BODY_METHODS = ("POST", "PUT", "PATCH")


class RequestError(Exception):
    """A request that cannot be made; the text is Go's."""


@attrs.frozen
class Request:
    """One request.

    Attributes:
        method: as the user wrote it.
        url: where it goes.
        host: what the ``Host`` header says, where that is not the host of the URL.
        headers: names with their values, as the user wrote them.
        body: what is sent along.
        referer: the URL before a redirect, or empty.
    """

    method: str
    url: URL
    host: str
    headers: dict[str, list[str]]
    body: bytes
    referer: str = ""

    @property
    def operation(self) -> str:
        """The method as errors name it: ``Get``."""
        return self.method[:1] + self.method[1:].lower()

    @property
    def unpacks(self) -> bool:
        """Whether compression is asked for by us, and so undone by us."""
        names = {name.lower() for name in self.headers}
        return self.method != "HEAD" and not names & {"accept-encoding", "range"}

    def encode(self) -> bytes:
        """Return the bytes of the request.

        Raises:
            RequestError: where the headers or the URL do not allow it.
        """
        for name, values in self.headers.items():
            _require_header(name, values)
        if self.url.scheme not in ("http", "https"):
            raise RequestError(f"unsupported protocol scheme {quoted(self.url.scheme)}")
        if not self.url.host:
            raise RequestError("http: no Host in request URL")
        path = self.url.path or "/"
        lines = [f"{self.method} {path}{self.url.query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._header_lines()]
        head = "\r\n".join(lines) + "\r\n\r\n"
        return head.encode("utf-8", "surrogateescape") + self.body

    def _header_lines(self) -> list[tuple[str, str]]:
        lines = [("Host", self.host or self.url.host)]
        agent = self._first("user-agent", USER_AGENT)
        if agent:
            lines.append(("User-Agent", agent))
        if self.body or self.method in _BODY_METHODS:
            lines.append(("Content-Length", str(len(self.body))))
        shown = {
            name: values
            for name, values in self.headers.items()
            if name.lower() not in _OWN_HEADERS
        }
        if not self._first("accept", ""):
            shown = {k: v for k, v in shown.items() if k.lower() != "accept"}
            shown["Accept"] = [ACCEPT]
        if self.referer:
            shown["Referer"] = [self.referer]
        if self.url.user is not None and not self._first("authorization", ""):
            credentials = base64.b64encode(unquote_to_bytes(self.url.user))
            shown["Authorization"] = [f"Basic {credentials.decode()}"]
        for name in sorted(shown):
            lines += [(name, value.strip()) for value in shown[name]]
        if self.unpacks:
            lines.append(("Accept-Encoding", "gzip"))
        lines.append(("Connection", "close"))
        return lines

    def _first(self, name: str, default: str) -> str:
        for given, values in self.headers.items():
            if given.lower() == name and values and values[0]:
                return values[0]
        return default


def make_request(definition: CheckType, target: str) -> Request:
    """Make the first request of a check.

    Raises:
        URLError, RequestError: where the definition names none.
    """
    method = definition.method or "GET"
    if not _TOKEN.fullmatch(method):
        raise RequestError(f"net/http: invalid method {quoted(method)}")
    headers = {name: values or [] for name, values in (definition.header or {}).items()}
    hosts = [values[0] for name, values in headers.items() if name == "Host" and values]
    return Request(
        method=method,
        url=parse_url(target),
        host=hosts[0] if hosts else "",
        headers=headers,
        body=definition.body.encode("utf-8", "surrogateescape"),
    )


def follow(request: Request, response: HTTPResponse) -> Request | None:
    """Return the request that a response asks for; None where it is the answer.

    Raises:
        RequestError: where it asks for what cannot be.
    """
    status = response.status
    if status not in (301, 302, 303, 307, 308):
        return None
    location = response.headers.get("location", "")
    if not location:
        if status in (307, 308):
            return None
        raise RequestError(f"{status} response missing Location header")
    try:
        url = resolve_reference(request.url, location)
        is_absolute = bool(parse_url(location).scheme)
    except URLError as error:
        raise RequestError(
            f"failed to parse Location header {quoted(location)}: {error}"
        ) from error
    keeps_body = status in (307, 308)
    return Request(
        method=request.method if keeps_body or request.method == "HEAD" else "GET",
        url=url,
        host="" if is_absolute else request.host,
        headers=_headers_for(url, request),
        body=request.body if keeps_body else b"",
        referer=_referer(request.url, url),
    )


def _headers_for(url: URL, request: Request) -> dict[str, list[str]]:
    old, new = request.url.host.lower(), url.host.lower()
    if new == old or new.endswith(f".{old}"):
        return request.headers
    return {
        name: values
        for name, values in request.headers.items()
        if name.lower() not in _SECRET_HEADERS
    }


def _referer(before: URL, after: URL) -> str:
    if before.scheme == "https" and after.scheme == "http":
        return ""
    shown = attrs.evolve(before, user=None, fragment="")
    return str(shown)


def _require_header(name: str, values: list[str]) -> None:
    if not _TOKEN.fullmatch(name):
        raise RequestError(f"net/http: invalid header field name {quoted(name)}")
    for value in values:
        if _BAD_VALUE.search(value):
            raise RequestError(
                f"net/http: invalid header field value {quoted(value)} for key {name}"
            )
