"""SecureDial: connects a probe to its target, over TLS where the check asks for it."""

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from consultwist.checks.dial import DialError, HostPort, dial
from consultwist.checks.tls import ClientTLS, make_context, server_name
from consultwist.interfaces import ICheckHost
from consultwist.structs.catalog import CheckType


class SecureDial:
    """What the connections of one check share.

    Args:
        definition: says whose certificate is wanted, and whether any will do.
        host: has the agent's certificates.
        use_tls: whether connections use TLS at all.
        protocols: what is offered to speak over TLS (ALPN).
    """

    def __init__(
        self,
        definition: CheckType,
        host: ICheckHost,
        *,
        use_tls: bool,
        protocols: Sequence[bytes] = (),
    ) -> None:
        self._definition = definition
        self._reactor: Any = host.reactor
        self._clock = host.clock
        self._config = host.config
        self._use_tls = use_tls
        self._protocols = protocols
        self._context: SSL.Context | None = None

    def tls_for(self, target: HostPort) -> ClientTLS | None:
        """Return the TLS of one connection, or None for a plain one.

        Raises:
            DialError: where the agent's certificates cannot be read.
        """
        if not self._use_tls:
            return None
        if self._context is None:
            try:
                self._context = make_context(
                    self._config,
                    skip_verify=self._definition.tls_skip_verify,
                    protocols=self._protocols,
                )
            except (OSError, SSL.Error) as error:
                raise DialError(f"cannot load certificates: {error}") from error
        wanted = self._definition.tls_server_name
        name = server_name(self._config, target.host, wanted)
        return ClientTLS(self._context, name, self._clock)

    def connect(
        self,
        target: HostPort,
        protocol: Callable[[], Protocol],
        timeout_s: float,
        tls: ClientTLS | None,
    ) -> Deferred[object]:
        """Connect; the handshake of TLS may still be under way then.

        Fails with `DialError` where no address of the target answers.
        """
        wrap = (lambda it: tls.wrap(it, self._reactor)) if tls else None
        return Deferred.fromCoroutine(
            dial(self._reactor, target, protocol, timeout_s, wrap)
        )
