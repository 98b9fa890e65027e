"""What must be right before anything is started: certificates, TLS, the log level."""

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR")
_TLS_VERSIONS = ("tls10", "tls11", "tls12", "tls13")

#: The longest PEM file worth reading; a bundle of all public authorities has 250 KB.
_PEM_SIZE_MAX = 4 * 1024 * 1024


def check_before_start(config: RuntimeConfig) -> None:
    """Refuse a configuration with which the agent could not run.

    Raises:
        ConfigError: with one line for the user.
    """
    if config.logging.log_level.upper() not in LOG_LEVELS:
        shown = " ".join(LOG_LEVELS)
        raise ConfigError(
            f"Invalid log level: {config.logging.log_level}. "
            f"Valid log levels are: [{shown}]"
        )
    _check_key_pair(config)
    authorities = _read_authorities(config)
    if config.tls_min_version and config.tls_min_version not in _TLS_VERSIONS:
        raise ConfigError(
            f"TLSMinVersion: value {config.tls_min_version} not supported, "
            f"please specify one of [{', '.join(_TLS_VERSIONS)}]"
        )
    if config.verify_outgoing and not authorities and not _gets_certificate(config):
        raise ConfigError("VerifyOutgoing set, and no CA certificate provided!")
    _check_incoming(config, authorities)


def _check_incoming(config: RuntimeConfig, authorities: int) -> None:
    verify = (
        config.verify_incoming,
        config.verify_incoming_rpc,
        config.verify_incoming_https,
    )
    if not any(verify):
        return
    if not authorities:
        raise ConfigError("VerifyIncoming set but no CA certificates were provided")
    if not config.cert_file and not _gets_certificate(config):
        raise ConfigError(
            "VerifyIncoming requires either a Cert and Key pair in the configuration "
            "file, or auto_encrypt/auto_config be enabled"
        )


def _gets_certificate(config: RuntimeConfig) -> bool:
    """Whether the servers give this agent its certificate and authorities."""
    return config.auto_encrypt_tls or config.auto_config.enabled


def _check_key_pair(config: RuntimeConfig) -> None:
    if not config.cert_file or not config.key_file:
        return
    try:
        certificate = x509.load_pem_x509_certificate(_read(config.cert_file))
        key = load_pem_private_key(_read(config.key_file), password=None)
    except ConfigError as error:
        raise ConfigError(f"Failed to load cert/key pair: {error}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"Failed to load cert/key pair: tls: {error}") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    of_certificate = certificate.public_key().public_bytes(*form)
    if of_certificate != key.public_key().public_bytes(*form):
        raise ConfigError(
            "Failed to load cert/key pair: tls: private key does not match public key"
        )


def _read_authorities(config: RuntimeConfig) -> int:
    """Return how many certificates of authorities the configuration names."""
    if config.ca_file:
        files = [config.ca_file]
    elif config.ca_path:
        files = sorted(str(file) for file in _files_below(Path(config.ca_path)))
    else:
        return 0
    count = 0
    for file in files:
        try:
            count += len(x509.load_pem_x509_certificates(_read(file)))
        except ConfigError as error:
            raise ConfigError(f"Error loading from {file}: {error}") from None
        except ValueError:
            raise ConfigError(
                f"Error loading from {file}: no certificate in it"
            ) from None
    return count


def _files_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(
            f"Error loading from {folder}: open {folder}: no such file or directory"
        )
    return [file for file in folder.rglob("*") if file.is_file()]


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            return stream.read(_PEM_SIZE_MAX)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigError(f"open {path}: {reason}") from None
