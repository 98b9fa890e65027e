"""TLS for the HTTPS listener: certificate, client verification, versions, ciphers.

Imported only where an HTTPS address is configured: OpenSSL costs memory and time.
"""

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet import ssl

from consultwist.errors import ConfigError

#: What ``tls_min_version`` may say (stock Consul 1.8 knows up to TLS 1.3).
_VERSIONS: Final = {
    "tls10": SSL.TLS1_VERSION,
    "tls11": SSL.TLS1_1_VERSION,
    "tls12": SSL.TLS1_2_VERSION,
    "tls13": SSL.TLS1_3_VERSION,
}

#: Go's names of cipher suites to OpenSSL's; TLS 1.3 has its own, which are always on.
_CIPHERS: Final = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
}


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
    if not config.cert_file or not config.key_file:
        raise ConfigError("HTTPS needs cert_file and key_file")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    try:
        context.use_certificate_chain_file(config.cert_file)
        context.use_privatekey_file(config.key_file)
        context.check_privatekey()
        if config.ca_file or config.ca_path:
            context.load_verify_locations(
                config.ca_file or None, config.ca_path or None
            )
    except SSL.Error as error:
        raise ConfigError(f"HTTPS certificates cannot be used: {error}") from error
    version = str(config.tls_min_version or "tls12").lower()
    if version not in _VERSIONS:
        raise ConfigError(f"tls_min_version {version!r} is not known")
    context.set_min_proto_version(_VERSIONS[version])
    if config.tls_cipher_suites:
        names = ":".join(map(_cipher, config.tls_cipher_suites))
        context.set_cipher_list(names.encode())
    options = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
    if config.tls_prefer_server_cipher_suites:
        options |= SSL.OP_CIPHER_SERVER_PREFERENCE
    context.set_options(options)
    context.set_session_id(b"consultwist")
    if config.verify_incoming or config.verify_incoming_https:
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
            lambda _connection, _certificate, _error, _depth, ok: bool(ok),
        )
    return context


def _cipher(name: str) -> str:
    if name not in _CIPHERS:
        raise ConfigError(f"unsupported cipher {name!r}")
    return _CIPHERS[name]
