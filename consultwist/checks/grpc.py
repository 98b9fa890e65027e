"""gRPC checks: the standard health service tells the status.

The protocol is ``grpc.health.v1`` over HTTP/2: one unary call of ``Check`` with the
name of a service, or an empty one for the server as a whole. The words of errors are
those of the client library that Consul uses.
"""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, split_host_port
from consultwist.checks.http2 import HTTP2Error, HTTP2Response, HTTP2Session
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.checks.secure_dial import SecureDial
from consultwist.checks.tls import ClientTLS, UntrustedCertificate
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.wire import varint

#: How long a call may take where the check asks for no timeout: Consul's default.
TIMEOUT_DEFAULT = 10 * durations.SECOND

#: The answer has a few bytes; more is not looked at.
_BODY_MAX_BYTES: Final = 64 * 1024
#: The compression flag and the length before a message.
_PREFIX_SIZE: Final = 5
_PATH: Final = "/grpc.health.v1.Health/Check"

#: Names of status codes, by number (grpc/doc/statuscodes.md).
_CODES: Final = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
#: What an HTTP status means where there is none of gRPC
#: (grpc/doc/http-grpc-status-mapping.md); others are Unknown.
_CODE_BY_HTTP: Final = {
    400: "Internal",
    401: "Unauthenticated",
    403: "PermissionDenied",
    404: "Unimplemented",
    429: "Unavailable",
    502: "Unavailable",
    503: "Unavailable",
    504: "Unavailable",
}
#: ``HealthCheckResponse.ServingStatus``.
_SERVING: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


@implementer(ICheckType)
class GRPCCheck:
    """Checks that ask a gRPC server for its health."""

    kind = "grpc"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a gRPC address."""
        return bool(definition.grpc)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what calls at the check's interval."""
        return IntervalRunner(definition, host, GRPCProbe(definition, host).run)


@attrs.frozen
class _CallError(Exception):
    """The call failed, with a code and a description."""

    code: str
    description: str

    def __str__(self) -> str:
        return f"rpc error: code = {self.code} desc = {self.description}"


class GRPCProbe:
    """Calls the health service once."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._target = definition.proxy_grpc or definition.grpc
        self._server, _, self._service = self._target.partition("/")
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._reactor: Any = host.reactor
        self._use_tls = definition.grpc_use_tls
        self._dial = SecureDial(
            definition, host, use_tls=self._use_tls, protocols=(b"h2",)
        )

    def run(self) -> Deferred[Outcome]:
        """Call once."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        session = HTTP2Session(_BODY_MAX_BYTES)
        try:
            called = Deferred.fromCoroutine(self._call(session))
            status, end = await within(self._reactor, called, self._timeout_s)
        except TimeoutError:
            late = _CallError("DeadlineExceeded", "context deadline exceeded")
            return Outcome(CRITICAL, str(late))
        except _CallError as error:
            return Outcome(CRITICAL, str(error))
        finally:
            session.close()
        if status != "SERVING":
            return Outcome(CRITICAL, f"gRPC {self._target} serving status: {status}")
        text = f"gRPC check {self._target}: success"
        return Outcome(PASSING, text, certificate_end=end)

    async def _call(self, session: HTTP2Session) -> tuple[str, float | None]:
        """Return the status of the service, and when the certificate expires."""
        tls = None
        try:
            target = split_host_port(self._server)
            tls = self._dial.tls_for(target)
            await self._dial.connect(target, lambda: session, self._timeout_s, tls)
            await session.ready
            response = await session.request(self._headers(), _message(self._service))
        except DialError as error:
            raise _unreachable(f"Error while dialing {error}") from error
        except (ConnectionClosed, HTTP2Error, SSL.Error, UntrustedCertificate) as error:
            raise _broken(error, tls) from error
        _require_success(response)
        end = None if tls is None else tls.certificate_end
        return _serving_status(bytes(response.body)), end

    def _headers(self) -> dict[str, str]:
        return {
            ":method": "POST",
            ":scheme": "https" if self._use_tls else "http",
            ":path": _PATH,
            ":authority": self._server,
            "content-type": "application/grpc",
            "user-agent": "Consul Health Check",
            "te": "trailers",
            "grpc-timeout": f"{round(self._timeout_s * 1000)}m",
        }


def _unreachable(reason: str) -> _CallError:
    return _CallError("Unavailable", f'connection error: desc = "transport: {reason}"')


def _broken(error: Exception, tls: ClientTLS | None) -> _CallError:
    fault = tls.fault(error) if tls is not None else ""
    if fault:
        return _unreachable(f"authentication handshake failed: {fault}")
    return _CallError("Unavailable", "connection closed")


def _require_success(response: HTTP2Response) -> None:
    if response.reset is not None:
        description = f"stream terminated by RST_STREAM with error {response.reset}"
        raise _CallError("Unavailable", description)
    fields = {**response.headers, **response.trailers}
    text = fields.get("grpc-status")
    if text is None:
        raise _not_grpc(response.headers)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 2
    if number:
        code = _CODES[number] if number < len(_CODES) else f"Code({number})"
        raise _CallError(code, unquote(fields.get("grpc-message", "")))


def _not_grpc(headers: dict[str, str]) -> _CallError:
    text = headers.get(":status", "")
    status = int(text) if text.isascii() and text.isdigit() else 0
    if status == 200:
        text = "server closed the stream without sending trailers"
        return _CallError("Internal", text)
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
    kind = headers.get("content-type", "")
    content = (
        f"received the unexpected content-type {kind!r}".replace("'", '"')
        if kind
        else "missing content-type field"
    )
    return _CallError(
        _CODE_BY_HTTP.get(status, "Unknown"),
        f"{phrase}: HTTP status code {status}; transport: {content}",
    )


# --- messages -------------------------------------------------------------------------


def _message(service: str) -> bytes:
    """Return a ``HealthCheckRequest`` with the prefix of a message.

    Its only field is number 1, a text: tag 0x0A, length, bytes.
    """
    name = service.encode("utf-8", "surrogateescape")
    data = b"\x0a" + varint.encode(len(name)) + name if name else b""
    return b"\0" + len(data).to_bytes(4, "big") + data


def _serving_status(body: bytes) -> str:
    """Return the name of the status in a ``HealthCheckResponse``.

    Its only field is number 1, an enum: tag 0x08, varint; left out for 0.
    """
    length = int.from_bytes(body[1:_PREFIX_SIZE], "big")
    data = body[_PREFIX_SIZE:]
    if len(body) < _PREFIX_SIZE or len(data) != length or body[0]:
        raise _CallError("Internal", "the answer is not one whole message")
    if not data:
        return _SERVING[0]
    if len(data) != 2 or data[0] != 0x08 or data[1] > 0x7F:
        raise _CallError("Internal", "the answer is not a HealthCheckResponse")
    number = data[1]
    return _SERVING[number] if number < len(_SERVING) else str(number)
