"""The settings of the mesh's certificate authority: names and plausibility."""

from typing import Any

from consultwist import durations
from consultwist.errors import ConfigError

#: File spelling to the API's spelling, for all providers.
_NAMES = {
    "private_key": "PrivateKey",
    "root_cert": "RootCert",
    "rotation_period": "RotationPeriod",
    "intermediate_cert_ttl": "IntermediateCertTTL",
    "address": "Address",
    "token": "Token",
    "root_pki_path": "RootPKIPath",
    "intermediate_pki_path": "IntermediatePKIPath",
    "ca_file": "CAFile",
    "ca_path": "CAPath",
    "cert_file": "CertFile",
    "key_file": "KeyFile",
    "tls_server_name": "TLSServerName",
    "tls_skip_verify": "TLSSkipVerify",
    "existing_arn": "ExistingARN",
    "delete_on_exit": "DeleteOnExit",
    "leaf_cert_ttl": "LeafCertTTL",
    "csr_max_per_second": "CSRMaxPerSecond",
    "csr_max_concurrent": "CSRMaxConcurrent",
    "private_key_type": "PrivateKeyType",
    "private_key_bits": "PrivateKeyBits",
}

#: Consul's bounds of the life of a leaf certificate, and its default.
_LEAF_MIN = durations.HOUR
_LEAF_MAX = 8760 * durations.HOUR
_LEAF_DEFAULT = 72 * durations.HOUR
_INTERMEDIATE_DEFAULT = 8760 * durations.HOUR
#: An intermediate must outlive its leaves this many times.
_INTERMEDIATE_LIVES = 3

_EC_BITS = (224, 256, 384, 521)
_RSA_BITS = (2048, 4096)


def go_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings under the names that the HTTP API has for them."""
    return {_NAMES.get(name, name): value for name, value in settings.items()}


def check_ca_config(provider: str, settings: dict[str, Any]) -> None:
    """Refuse settings with which the provider could not work.

    Args:
        provider: its name; empty means the default, whose settings come later.
        settings: with the API's names.

    Raises:
        ConfigError: with Consul's text.
    """
    if provider not in ("", "consul", "vault", "aws-pca"):
        raise ConfigError(f"{provider} is not a valid CA provider")
    if provider == "vault":
        _check_vault(settings)
    elif provider == "consul":
        _check_consul(settings)


def _check_vault(settings: dict[str, Any]) -> None:
    for name, problem in (
        ("Token", "must provide a Vault token"),
        ("RootPKIPath", "must provide a valid path to a root PKI backend"),
        (
            "IntermediatePKIPath",
            "must provide a valid path for the intermediate PKI backend",
        ),
    ):
        if not settings.get(name):
            raise ConfigError(problem)


def _check_consul(settings: dict[str, Any]) -> None:
    leaf = _duration(settings, "LeafCertTTL", _LEAF_DEFAULT)
    intermediate = _duration(settings, "IntermediateCertTTL", _INTERMEDIATE_DEFAULT)
    if leaf < _LEAF_MIN:
        raise ConfigError(
            f"leaf cert TTL must be greater or equal than {durations.render(_LEAF_MIN)}"
        )
    if leaf > _LEAF_MAX:
        raise ConfigError(
            f"leaf cert TTL must be less than {durations.render(_LEAF_MAX)}"
        )
    if intermediate < _INTERMEDIATE_LIVES * _LEAF_MIN:
        raise ConfigError("Intermediate Cert TTL must be greater or equal than 3h")
    if intermediate < _INTERMEDIATE_LIVES * leaf:
        least = durations.render(_INTERMEDIATE_LIVES * leaf)
        raise ConfigError(
            "Intermediate Cert TTL must be greater or equal than "
            f"3 * LeafCertTTL (>={least})."
        )
    _check_key(settings)


def _check_key(settings: dict[str, Any]) -> None:
    kind = settings.get("PrivateKeyType", "ec")
    bits = settings.get("PrivateKeyBits", 256 if kind == "ec" else _RSA_BITS[0])
    if kind not in ("ec", "rsa"):
        raise ConfigError("private key type must be either 'ec' or 'rsa'")
    if kind == "ec" and bits not in _EC_BITS:
        raise ConfigError("EC key length must be one of (224, 256, 384, 521) bits")
    if kind == "rsa" and bits not in _RSA_BITS:
        raise ConfigError("RSA key length must be 2048 or 4096 bits")


def _duration(settings: dict[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    if not isinstance(value, str):
        return int(value) if isinstance(value, int) else default
    try:
        return durations.parse(value)
    except ValueError as error:
        raise ConfigError(
            "error decoding config: 1 error(s) decoding:\n\n"
            f"* error decoding '{name}': {error}"
        ) from None
