"""HTTP checks: the status code of an answer tells the status."""

from typing import Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone, ConnectionLost
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, HostPort, dial
from consultwist.checks.expectations import BodyKeeper, Expectations
from consultwist.checks.http_exchange import HTTPExchange
from consultwist.checks.http_request import Request, RequestError, follow, make_request
from consultwist.checks.http_response import ResponseError
from consultwist.checks.outcome import (
    CRITICAL,
    PASSING,
    WARNING,
    Outcome,
    OutputTail,
)
from consultwist.checks.runner import IntervalRunner
from consultwist.checks.tls import ClientTLS, make_context, server_name
from consultwist.checks.url import URL, URLError
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.wire.quoting import quoted

log = Logger()

#: How long a request may take where the check asks for no timeout: Consul's default.
TIMEOUT_DEFAULT = 10 * durations.SECOND

#: How many requests one probe makes before it gives up: Go's default.
REQUESTS_MAX = 10

#: Connecting alone never times out first: the words are those of the whole request.
_DIAL_SLACK_S = 1.0

_PORTS = {"http": "80", "https": "443"}


@implementer(ICheckType)
class HTTPCheck:
    """Checks that make an HTTP request."""

    kind = "http"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a URL."""
        return bool(definition.http)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what sends the request at the check's interval."""
        return IntervalRunner(definition, host, HTTPProbe(definition, host).run)


class _Failed(Exception):
    """No answer came; the text is the check's output."""


@attrs.define
class _Journey:
    """Where a probe stands, so that a timeout can say it."""

    operation: str
    url: URL
    exchange: HTTPExchange | None = None
    tls: ClientTLS | None = None

    def failed(self, reason: object) -> _Failed:
        return _Failed(f"{self.operation} {quoted(str(self.url))}: {reason}")


class HTTPProbe:
    """Sends one request, follows redirects, and judges the answer."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._definition = definition
        self._url = definition.proxy_http or definition.http
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._output_size_max = definition.output_max_size
        self._expectations = Expectations.of(definition)
        self._reactor: Any = host.reactor
        self._clock = host.clock
        self._config = host.config
        self._context: SSL.Context | None = None

    def run(self) -> Deferred[Outcome]:
        """Send one request."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        deadline = self._reactor.seconds() + self._timeout_s
        try:
            request = make_request(self._definition, self._url)
        except (RequestError, URLError) as error:
            return Outcome(CRITICAL, str(error))
        journey = _Journey(request.operation, request.url)
        try:
            tail = await within(
                self._reactor,
                Deferred.fromCoroutine(self._travel(request, journey)),
                self._timeout_s,
            )
            assert journey.exchange is not None
            await self._read_body(journey.exchange, deadline - self._reactor.seconds())
        except TimeoutError:
            timeout = (
                "context deadline exceeded "
                "(Client.Timeout exceeded while awaiting headers)"
            )
            return Outcome(CRITICAL, str(journey.failed(timeout)))
        except _Failed as failed:
            return Outcome(CRITICAL, str(failed))
        finally:
            if journey.exchange is not None:
                journey.exchange.close()
        return self._judge(journey, request.method, tail)

    def _judge(self, journey: _Journey, method: str, tail: OutputTail) -> Outcome:
        assert journey.exchange is not None
        response = journey.exchange.response
        status = self._status(response.status)
        output = (
            f"HTTP {method} {self._url}: {response.status_text} Output: {tail.text()}"
        )
        if status != CRITICAL and isinstance(tail, BodyKeeper):
            fault = self._expectations.body_fault(tail.head())
            if fault:
                return Outcome(CRITICAL, f"{fault}: {output}")
        end = journey.tls.certificate_end if journey.tls is not None else None
        return Outcome(status, output, certificate_end=end)

    def _status(self, code: int) -> str:
        admitted = self._expectations.admits(code)
        if admitted is not None:
            return PASSING if admitted else CRITICAL
        if 200 <= code <= 299:
            return PASSING
        return WARNING if code == 429 else CRITICAL

    async def _read_body(self, exchange: HTTPExchange, left_s: float) -> None:
        """Wait for the body; what has come by the deadline is shown."""
        try:
            await within(self._reactor, exchange.body_end, max(left_s, 0.0))
        except TimeoutError:
            log.warn("check error while reading body: {url}", url=self._url)

    async def _travel(self, request: Request, journey: _Journey) -> OutputTail:
        """Send the request, and those that redirects ask for."""
        for _ in range(REQUESTS_MAX):
            journey.url = request.url
            keep = BodyKeeper if self._expectations.looks_into_body else OutputTail
            tail = keep(self._output_size_max)
            journey.exchange = await self._send(request, tail, journey)
            try:
                onward = self._onward(request, journey.exchange)
            except RequestError as error:
                raise journey.failed(error) from error
            if onward is None:
                return tail
            location = journey.exchange.response.headers["location"]
            journey.exchange.close()
            request = onward
        raise _Failed(
            f"{journey.operation} {quoted(location)}: "
            f"stopped after {REQUESTS_MAX} redirects"
        )

    def _onward(self, request: Request, exchange: HTTPExchange) -> Request | None:
        if self._definition.disable_redirects:
            return None
        return follow(request, exchange.response)

    async def _send(
        self, request: Request, tail: OutputTail, journey: _Journey
    ) -> HTTPExchange:
        try:
            data = request.encode()
        except RequestError as error:
            raise journey.failed(error) from error
        exchange = HTTPExchange(data, tail, unpack=request.unpacks)
        journey.exchange = exchange
        url = request.url
        target = HostPort(url.host_name, url.port or _PORTS[url.scheme])
        journey.tls = tls = self._tls(url, journey)
        try:
            await dial(
                self._reactor,
                target,
                lambda: exchange,
                self._timeout_s + _DIAL_SLACK_S,
                (lambda it: tls.wrap(it, self._reactor)) if tls else None,
            )
            await exchange.head
        except (DialError, ResponseError) as error:
            raise journey.failed(error) from error
        except Exception as error:
            raise journey.failed(_connection_fault(error, exchange, tls)) from error
        return exchange

    def _tls(self, url: URL, journey: _Journey) -> ClientTLS | None:
        if url.scheme != "https":
            return None
        if self._context is None:
            try:
                self._context = make_context(
                    self._config, skip_verify=self._definition.tls_skip_verify
                )
            except (OSError, SSL.Error) as error:
                raise journey.failed(f"cannot load certificates: {error}") from error
        wanted = self._definition.tls_server_name
        name = server_name(self._config, url.host_name, wanted)
        return ClientTLS(self._context, name, self._clock)


def _connection_fault(
    error: Exception, exchange: HTTPExchange, tls: ClientTLS | None
) -> str:
    fault = tls.fault(error) if tls is not None else ""
    if fault:
        return fault
    # Of a TLS connection Twisted does not tell how it was cut off.
    if isinstance(error, ConnectionDone) or (tls and isinstance(error, ConnectionLost)):
        return "EOF"
    if isinstance(error, ConnectionClosed):
        return f"read tcp {exchange.path}: read: connection reset by peer"
    raise error
