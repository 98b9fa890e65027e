"""The TLS cipher suites that a configuration may name, with their numbers."""

from consultwist.errors import ConfigError

#: Name to number (IANA's TLS registry); those that stock Consul 1.8.7 accepts.
CIPHER_SUITES = {
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": 0xC013,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": 0xC023,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": 0xC009,
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": 0xC014,
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": 0xC00A,
}


def parse_ciphers(text: str) -> tuple[str, ...]:
    """Return the names in a comma separated list.

    Raises:
        ConfigError: where a name is not known.
    """
    names = tuple(text.split(",")) if text else ()
    for name in names:
        if name not in CIPHER_SUITES:
            raise ConfigError(f'unsupported cipher "{name}"')
    return names
