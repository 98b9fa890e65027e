"""TLS for the HTTPS listener: certificate, client verification, versions, ciphers.

Imported only where an HTTPS address is configured: OpenSSL costs memory and time.
"""

from typing import Any

from OpenSSL import SSL
from twisted.internet import ssl
from twisted.logger import Logger

from consultwist.config.openssl import restrict
from consultwist.errors import ConfigError

log = Logger()


def server_context(config: Any) -> ssl.ContextFactory:
    """Return what makes the TLS side of each HTTPS connection.

    Raises:
        ConfigError: where a file or a name in the configuration is no use.
    """
    return _ContextFactory(_context(config))


class _ContextFactory(ssl.ContextFactory):
    """Hands out one context, made once."""

    isClient = 0  # noqa: N815 - Twisted's

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:  # noqa: N802 - Twisted's
        """Return the context."""
        return self._context


def _context(config: Any) -> SSL.Context:
    if bool(config.cert_file) != bool(config.key_file):
        raise ConfigError("HTTPS needs both of cert_file and key_file")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    try:
        if config.cert_file:
            context.use_certificate_chain_file(config.cert_file)
            context.use_privatekey_file(config.key_file)
            context.check_privatekey()
        else:
            # As the stock agent, which listens all the same.
            log.info("HTTPS has no certificate, so that no client can connect")
        if config.ca_file or config.ca_path:
            context.load_verify_locations(
                config.ca_file or None, config.ca_path or None
            )
    except SSL.Error as error:
        raise ConfigError(f"HTTPS certificates cannot be used: {error}") from error
    restrict(context, config)
    context.set_session_id(b"consultwist")
    if config.verify_incoming or config.verify_incoming_https:
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
            lambda _connection, _certificate, _error, _depth, ok: bool(ok),
        )
    return context
