"""URLs as Go's ``net/url`` reads them, with its words for those that it refuses."""

import re
from urllib.parse import urljoin

import attrs

from consultwist.wire.quoting import quoted

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_PORT = re.compile(r"(:[0-9]*)?")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
#: What a host may not hold unescaped, of the ASCII characters.
_BAD_HOST = re.compile(r"[ \"#/?@\\^`{|}]")
#: What a path may hold unescaped; anything else is sent as an escape.
_PATH_ESCAPED = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]]")


class URLError(Exception):
    """A URL that cannot be used; the text is Go's."""


@attrs.frozen
class URL:
    """A URL in its parts.

    Attributes:
        scheme: in lower case, or empty.
        user: ``name`` or ``name:password`` as written, or None.
        host: with the port, where one is written.
        path: escaped; may be empty.
        query: with its question mark, or empty.
        fragment: with its ``#``, or empty.
    """

    scheme: str
    user: str | None
    host: str
    path: str
    query: str
    fragment: str

    def __str__(self) -> str:
        """Return the URL for users to read: without the password."""
        user = ""
        if self.user is not None:
            name, colon, _ = self.user.partition(":")
            user = f"{name}:***@" if colon else f"{name}@"
        scheme = f"{self.scheme}:" if self.scheme else ""
        is_rooted = bool(self.scheme) and self.path.startswith("/")
        slashes = "//" if self.host or user or is_rooted else ""
        return f"{scheme}{slashes}{user}{self.host}{self.target}{self.fragment}"

    @property
    def target(self) -> str:
        """The path and the query."""
        return self.path + self.query

    @property
    def host_name(self) -> str:
        """The host without port and brackets."""
        host = _PORT_AT_END.sub("", self.host)
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @property
    def port(self) -> str:
        """The port as written, or empty."""
        found = _PORT_AT_END.search(self.host)
        return found.group()[1:] if found else ""


_PORT_AT_END = re.compile(r":[0-9]*\Z")


def parse_url(text: str) -> URL:
    """Take a URL apart.

    Raises:
        URLError: as ``parse "...": reason``.
    """
    try:
        return _parse(text)
    except _Refused as refused:
        raise URLError(f"parse {quoted(text)}: {refused}") from None


def resolve_reference(base: URL, reference: str) -> URL:
    """Return where a reference leads, such as that of a ``Location`` header.

    Raises:
        URLError: where the reference cannot be read.
    """
    parsed = parse_url(reference)
    if parsed.scheme:
        return parsed
    whole = f"{base.scheme}://{base.host}{base.path or '/'}{base.query}"
    return parse_url(urljoin(whole, reference))


class _Refused(Exception):
    """Why a URL cannot be read."""


def _parse(text: str) -> URL:
    rest, hash_sign, fragment = text.partition("#")
    if _CONTROL.search(rest):
        raise _Refused("net/url: invalid control character in URL")
    if rest.startswith(":"):
        raise _Refused("missing protocol scheme")
    found = _SCHEME.match(rest)
    scheme = found.group()[:-1] if found else ""
    rest = rest[found.end() :] if found else rest
    rest, mark, query = rest.partition("?")
    user, host = None, ""
    if rest.startswith("//"):
        slash = rest.find("/", 2)
        authority = rest[2:] if slash < 0 else rest[2:slash]
        rest = "" if slash < 0 else rest[slash:]
        user, host = _authority(authority)
    elif not scheme and ":" in rest.partition("/")[0]:
        raise _Refused("first path segment in URL cannot contain colon")
    _require_escapes(rest)
    path = _PATH_ESCAPED.sub(_escape, rest)
    return URL(scheme.lower(), user, host, path, mark + query, hash_sign + fragment)


def _escape(found: re.Match[str]) -> str:
    data = found.group().encode("utf-8", "surrogateescape")
    return "".join(f"%{byte:02X}" for byte in data)


def _require_escapes(text: str) -> None:
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise _Refused(f"invalid URL escape {quoted(bad.group())}")


def _authority(text: str) -> tuple[str | None, str]:
    user, at_sign, host = text.rpartition("@")
    if at_sign and not _USER.fullmatch(user):
        raise _Refused("net/url: invalid userinfo")
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise _Refused("missing ']' in host")
        port = host[end + 1 :]
    else:
        colon = host.rfind(":")
        port = host[colon:] if colon >= 0 else ""
    if not _PORT.fullmatch(port):
        raise _Refused(f"invalid port {quoted(port)} after host")
    _require_escapes(host)
    bad = _BAD_HOST.search(host)
    if bad:
        raise _Refused(f"invalid character {quoted(bad.group())} in host name")
    return (user if at_sign else None), host
