"""Recursors: other resolvers, which answer for names outside the zone.

A question is sent to each recursor in turn until one gives an answer that settles it:
NOERROR or NXDOMAIN. It goes over the transport that the client used, from a socket of
its own with an id of its own. The answer is written anew, as the stock agent does: it
says the same, but its names are compressed, or not, as in our own answers.
"""

import random
import struct
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.dns.message import (
    FLAG_RECURSION_DESIRED,
    FLAG_RESPONSE,
    FLAG_TRUNCATED,
    HEADER_SIZE,
    MESSAGE_MAX,
    RCODE_MASK,
    Asked,
    Message,
    decode,
    encode,
)
from consultwist.dns.records import NOERROR, NXDOMAIN, TYPE_A, Record, packed_address
from consultwist.errors import WireError

log = Logger()

#: Questions that may be under way at once; more are refused. Each holds a socket.
EXCHANGES_MAX: Final = 512
#: The stock agent asks at this port where a recursor is given without one.
_PORT: Final = 53

_ID: Final = struct.Struct(">H")


def recursor_address(text: str) -> tuple[str, int]:
    """Return host and port of ``IP``, ``IP:port`` or ``[IPv6]:port``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, int(port.lstrip(":") or _PORT)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, _PORT


class Recursors:
    """The recursors of one configuration.

    Args:
        reactor: provides IReactorUDP, IReactorTCP and IReactorTime.
        rng: makes ids of questions.
        addresses: the recursors, first choice first.
        timeout_s: how long each may take.
        shuffled: try them in random order instead.
        compress: whether names of answers are compressed.
    """

    def __init__(
        self,
        reactor: Any,
        rng: random.Random,
        addresses: Sequence[str],
        *,
        timeout_s: float,
        shuffled: bool = False,
        compress: bool = True,
    ) -> None:
        self._reactor = reactor
        self._rng = rng
        self._addresses = [recursor_address(text) for text in addresses]
        self._timeout_s = timeout_s
        self._shuffled = shuffled
        self._compress = compress
        self._under_way = 0

    def forward(self, query: bytes, *, stream: bool) -> Deferred[bytes | None]:
        """Have a question answered.

        Args:
            query: the client's message.
            stream: ask over TCP.

        Returns:
            A Deferred that fires with the answer, under the client's id; with None
            where no recursor settled it. It never fails.
        """
        return Deferred.fromCoroutine(self._forward(query, stream))

    def resolve(self, host: str) -> Deferred[Sequence[Record]]:
        """Find the addresses of a host name; none where that cannot be done."""
        return Deferred.fromCoroutine(self._resolve(host))

    async def _resolve(self, host: str) -> Sequence[Record]:
        asked = Asked(host, TYPE_A)
        try:
            query = encode(Message(flags=FLAG_RECURSION_DESIRED, questions=[asked]))
            answer = await self._forward(query, stream=False)
            if answer is not None and _flags(answer) & FLAG_TRUNCATED:
                answer = await self._forward(query, stream=True) or answer
            return decode(answer).answer if answer is not None else ()
        except WireError as error:
            log.warn("host name {host}: {error}", host=host, error=str(error))
            return ()

    async def _forward(self, query: bytes, stream: bool) -> bytes | None:
        if self._under_way >= EXCHANGES_MAX:
            log.warn("too many questions for recursors are under way")
            return None
        addresses = self._addresses
        if self._shuffled:
            addresses = self._rng.sample(addresses, len(addresses))
        self._under_way += 1
        try:
            for address in addresses:
                answer = await self._ask(query, address, stream)
                if answer is not None:
                    return query[:2] + written_anew(answer, compress=self._compress)[2:]
            return None
        finally:
            self._under_way -= 1

    async def _ask(
        self, query: bytes, address: tuple[str, int], stream: bool
    ) -> bytes | None:
        exchange = _Exchange(_ID.pack(self._rng.getrandbits(16)) + query[2:])
        opened = _over_tcp if stream else _over_udp
        try:
            opened(self._reactor, exchange, address, self._timeout_s)
            exchange.start_timer(self._reactor, self._timeout_s)
            answer = await exchange.done
        except Exception as error:
            log.warn(
                "recursor {host}:{port}: {error}",
                host=address[0],
                port=address[1],
                error=str(error) or type(error).__name__,
            )
            return None
        settled = _flags(answer) & RCODE_MASK in (NOERROR, NXDOMAIN)
        return answer if settled else None


def written_anew(answer: bytes, *, compress: bool) -> bytes:
    """Return an answer with its names written as ours.

    An answer that we cannot read, or that has a record whose names we do not know of
    and which may be compressed, is returned as it is.
    """
    try:
        message = decode(answer)
        sections = (message.answer, message.authority, message.additional)
        if any(r.type in _HOLD_NAMES for section in sections for r in section):
            return answer
        return encode(message, compress=compress)
    except WireError:
        return answer


#: Types whose data may hold compressed names that `message` does not read (RFC 3597,
#: section 4): MD, MF, MB, MG, MR, MINFO, RP, AFSDB, RT, SIG, PX, NXT, NAPTR, and those
#: that sign a message as it is (TSIG, SIG(0)).
_HOLD_NAMES: Final = frozenset((3, 4, 7, 8, 9, 14, 17, 18, 21, 24, 26, 30, 35, 250))


def _flags(message: bytes) -> int:
    return int.from_bytes(message[2:4], "big")


class _Exchange:
    """One question to one recursor, until answer, error or timeout."""

    def __init__(self, query: bytes) -> None:
        self.query = query
        self.done: Deferred[bytes] = Deferred(self._cancelled)
        self._timer: IDelayedCall | None = None
        self._closers: list[Any] = []

    def start_timer(self, reactor: Any, timeout_s: float) -> None:
        """Give up after so many seconds."""
        if not self.done.called:
            late = TimeoutError(f"no answer within {timeout_s:g} s")
            self._timer = reactor.callLater(timeout_s, self.fail, Failure(late))

    def closes(self, close: Any) -> None:
        """Call a function when the exchange is over."""
        if self.done.called:
            close()
        else:
            self._closers.append(close)

    def receive(self, answer: bytes) -> None:
        """Take a message; one that does not answer the question is passed over."""
        is_answer = len(answer) >= HEADER_SIZE and _flags(answer) & FLAG_RESPONSE
        if is_answer and answer[:2] == self.query[:2] and not self.done.called:
            self._finish()
            self.done.callback(answer)

    def fail(self, failure: Failure) -> None:
        """End without an answer."""
        if not self.done.called:
            self._finish()
            self.done.errback(failure)

    def _cancelled(self, _: Deferred[bytes]) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        closers, self._closers = self._closers, []
        for close in closers:
            close()


# --- transports -----------------------------------------------------------------------


def _over_udp(
    reactor: Any, exchange: _Exchange, address: tuple[str, int], timeout_s: float
) -> None:
    del timeout_s
    # The family of the socket follows from the address it is bound to.
    packed = packed_address(address[0])
    anywhere = "" if packed is None or len(packed) == 4 else "::"
    port = reactor.listenUDP(
        0, _Datagrams(exchange, address), interface=anywhere, maxPacketSize=MESSAGE_MAX
    )
    exchange.closes(port.stopListening)


class _Datagrams(DatagramProtocol):
    """A socket that knows one recursor only."""

    noisy = False

    def __init__(self, exchange: _Exchange, address: tuple[str, int]) -> None:
        self._exchange = exchange
        self._address = address

    def startProtocol(self) -> None:
        """Connect, so that nobody else is listened to, and ask."""
        assert self.transport is not None
        self.transport.connect(*self._address)
        self.transport.write(self._exchange.query, None)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take an answer."""
        del addr
        self._exchange.receive(datagram)

    def connectionRefused(self) -> None:
        """Do not wait for a recursor that is not there."""
        self._exchange.fail(Failure(ConnectionRefusedError("connection refused")))

    def stopProtocol(self) -> None:
        """Take an end that nobody asked for as a refusal: so epoll tells it."""
        self.connectionRefused()


def _over_tcp(
    reactor: Any, exchange: _Exchange, address: tuple[str, int], timeout_s: float
) -> None:
    connector = reactor.connectTCP(
        *address, _StreamFactory(exchange), timeout=timeout_s
    )
    exchange.closes(connector.disconnect)


class _StreamFactory(ClientFactory):
    """Makes the protocol of one exchange over TCP."""

    noisy = False

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> "_Stream":
        """Return the protocol."""
        del addr
        return _Stream(self._exchange)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Report why there is no connection."""
        del connector
        self._exchange.fail(reason)


class _Stream(Protocol):
    """Sends one message with its length before it, and reads one."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._buffer = b""

    def connectionMade(self) -> None:
        """Ask."""
        query = self._exchange.query
        assert self.transport is not None
        self.transport.write(_ID.pack(len(query)) + query)

    def dataReceived(self, data: bytes) -> None:
        """Gather the answer; at most one message is kept."""
        self._buffer += data
        if len(self._buffer) >= _ID.size:
            end = _ID.size + _ID.unpack_from(self._buffer)[0]
            if len(self._buffer) >= end:
                answer, self._buffer = self._buffer[_ID.size : end], b""
                self._exchange.receive(answer)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Report a connection that ended too early."""
        self._exchange.fail(reason or Failure(ConnectionError("connection closed")))
