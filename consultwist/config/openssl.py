"""Versions and cipher suites of a configuration, in OpenSSL's terms."""

from typing import Final

from OpenSSL import SSL

from consultwist.config.runtime import RuntimeConfig
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


def restrict(context: SSL.Context, config: RuntimeConfig) -> None:
    """Let a context use only the versions and suites that a configuration allows.

    Raises:
        ConfigError: where it names what there is not.
    """
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


def _cipher(name: str) -> str:
    if name not in _CIPHERS:
        raise ConfigError(f"unsupported cipher {name!r}")
    return _CIPHERS[name]
