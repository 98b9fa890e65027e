"""The configuration as ``/v1/agent/self`` shows it under ``DebugConfig``.

Names are Go's, durations are text, and what could be a secret is ``hidden``: any text
whose name speaks of a key, a token or a secret, wherever it stands.
"""

import math
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from consultwist import durations
from consultwist.config.ciphers import CIPHER_SUITES
from consultwist.config.runtime import (
    GO_NAME,
    AutoConfig,
    AutoConfigAuthorizer,
    ListenAddress,
    RuntimeConfig,
    Seconds,
)
from consultwist.structs.check_extensions import is_unused
from consultwist.wire.struct import FieldSpec, Struct, field_specs, go_name

HIDDEN = "hidden"
_SECRET_WORDS = ("key", "token", "secret")

#: What Consul calls the method that checks the tokens of auto-config.
_AUTHORIZER_NAME = "Auto Config Authorizer"


def debug_config(config: RuntimeConfig) -> dict[str, Any]:
    """Return the configuration by Go's names, without secrets."""
    shown = _record(config)
    shown["AutoConfig"] = _auto_config(config.auto_config)
    shown["TLSCipherSuites"] = [CIPHER_SUITES[n] for n in config.tls_cipher_suites]
    shown["ConfigEntryBootstrap"] = [
        sanitized("", _go_names(entry)) for entry in config.config_entry_bootstrap
    ]
    # Consul shows that there are watches, and nothing of what is inside.
    shown["Watches"] = [{} for _ in config.watches]
    shown["EnterpriseRuntimeConfig"] = {}
    return dict(sorted(shown.items()))


def _go_names(value: Any) -> Any:
    """Return a config entry by Go's names; what is inside ``config`` is the user's."""
    if isinstance(value, list):
        return [_go_names(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        go_name(key) if key.islower() else key: (
            each if key.lower() == "config" else _go_names(each)
        )
        for key, each in value.items()
    }


def _record(record: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(type(record), include_extras=True)
    return {
        field.metadata.get(GO_NAME) or go_name(field.name): _typed(
            field.name, hints[field.name], getattr(record, field.name)
        )
        for field in attrs.fields(type(record))
    }


def _typed(name: str, hint: Any, value: Any) -> Any:
    """Return a value by its declared type, which tells durations from numbers."""
    if hint == Seconds:
        return _duration(value)
    if hint == dict[str, Seconds]:
        return {key: _duration(each) for key, each in value.items()}
    return sanitized(name, value)


def _duration(seconds: float) -> str:
    return durations.render(round(seconds * durations.SECOND))


def is_secret(name: str) -> bool:
    """Return whether a text of that name is not shown; where a token lies may be."""
    plain = name.lower().replace("_", "")
    return any(word in plain for word in _SECRET_WORDS) and not plain.endswith(
        "tokenfile"
    )


def sanitized(name: str, value: Any) -> Any:
    """Return a value as it may be shown; texts with a secret name are hidden."""
    if isinstance(value, str):
        return HIDDEN if is_secret(name) else _without_cloud_secrets(name, value)
    if isinstance(value, ListenAddress):
        return str(value)
    if isinstance(value, Struct):
        return _struct(value)
    if attrs.has(type(value)):
        return _record(value)
    if isinstance(value, Mapping):
        return {key: sanitized(key, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sanitized(name, each) for each in value]
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        return int(value) if abs(value) < 1e21 else value
    return value


def _without_cloud_secrets(name: str, value: str) -> str:
    """Hide the credentials in the texts that say where to find servers to join."""
    if not name.startswith("retry_join"):
        return value
    fields = [field.partition("=") for field in value.split()]
    return " ".join(
        f"{key}={HIDDEN}" if equals and is_secret(key) else f"{key}{equals}{text}"
        for key, equals, text in fields
    )


#: Durations of definitions, which their records keep in nanoseconds.
_NANOSECONDS = (
    "interval",
    "timeout",
    "ttl",
    "deregister_critical_service_after",
    "certificate_expiry_warning",
    "latency_warning",
)

#: Records of which Consul shows the empty Enterprise part.
_WITH_ENTERPRISE_PART = ("CheckDefinition", "ServiceDefinition")


def _struct(record: Struct) -> dict[str, Any]:
    """Return a definition with all its fields, empty ones too."""
    shown = {
        spec.go: _field(spec, getattr(record, spec.attribute))
        for spec in field_specs(type(record))
        if not is_unused(record, spec.attribute)
    }
    if type(record).__name__ in _WITH_ENTERPRISE_PART:
        shown["EnterpriseMeta"] = {}
    return dict(sorted(shown.items()))


def _field(spec: FieldSpec, value: Any) -> Any:
    if spec.attribute in _NANOSECONDS and isinstance(value, int):
        return durations.render(value)
    if value is None and typing.get_origin(spec.type) is not None:
        return _empty(spec.type)
    return sanitized(spec.attribute, value)


def _empty(hint: Any) -> Any:
    """Return what Consul shows of a nil: an empty list or map, null for a record."""
    kinds = [typing.get_origin(argument) for argument in typing.get_args(hint)]
    if list in kinds:
        return []
    return {} if dict in kinds else None


def _auto_config(config: AutoConfig) -> dict[str, Any]:
    shown = _record(attrs.evolve(config))
    authorizer = config.authorizer
    shown["Authorizer"] = {
        "AllowReuse": authorizer.allow_reuse,
        "AuthMethod": _auth_method(authorizer),
        "ClaimAssertions": list(authorizer.claim_assertions),
        "Enabled": authorizer.enabled,
    }
    return dict(sorted(shown.items()))


def _auth_method(authorizer: AutoConfigAuthorizer) -> dict[str, Any]:
    return {
        "ACLAuthMethodEnterpriseFields": {},
        "Config": {
            "BoundAudiences": list(authorizer.bound_audiences) or None,
            "BoundIssuer": authorizer.bound_issuer,
            "ClaimMappings": authorizer.claim_mappings or None,
            "ClockSkewLeeway": _nanoseconds(authorizer.clock_skew_leeway),
            "ExpirationLeeway": _nanoseconds(authorizer.expiration_leeway),
            "JWKSCACert": authorizer.jwks_ca_cert,
            "JWKSURL": authorizer.jwks_url,
            "JWTSupportedAlgs": list(authorizer.jwt_supported_algs) or None,
            "JWTValidationPubKeys": list(authorizer.jwt_validation_pub_keys) or None,
            "ListClaimMappings": authorizer.list_claim_mappings or None,
            "NotBeforeLeeway": _nanoseconds(authorizer.not_before_leeway),
            "OIDCDiscoveryCACert": authorizer.oidc_discovery_ca_cert,
            "OIDCDiscoveryURL": authorizer.oidc_discovery_url,
        },
        "Description": "",
        "DisplayName": "",
        "EnterpriseMeta": {},
        "MaxTokenTTL": "0s",
        "Name": _AUTHORIZER_NAME,
        "RaftIndex": {"CreateIndex": 0, "ModifyIndex": 0},
        "TokenLocality": "",
        "Type": "jwt",
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * durations.SECOND)
