"""Settings: what the configuration says about DNS, ready for use."""

from functools import cached_property
from typing import Any, Final

import attrs

from consultwist import durations
from consultwist.config.runtime import RuntimeConfig
from consultwist.dns.records import TYPE_SOA, Authority, Record, qualified

#: However large the limit is set, old clients get at most this many answers.
UDP_ANSWER_LIMIT_MAX: Final = 8


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one run of the DNS interface; intervals in the unit they say.

    Attributes:
        domain: lower case, with the dot at its end, as is `alt_domain`.
        service_ttl_s: by service name, by ``prefix*``, or ``*`` for all.
        token: what questions are asked with.
    """

    domain: str = "consul."
    alt_domain: str = ""
    datacenter: str = "dc1"
    node_name: str = ""
    segment: str = ""
    token: str = attrs.field(default="", repr=False)
    translate_wan_addrs: bool = False
    node_ttl_s: int = 0
    service_ttl_s: dict[str, int] = attrs.Factory(dict)
    soa_refresh_s: int = 3600
    soa_retry_s: int = 600
    soa_expire_s: int = 86400
    soa_min_ttl_s: int = 0
    allow_stale: bool = True
    max_stale_ns: int = 87600 * durations.HOUR
    use_cache: bool = False
    cache_max_age_ns: int = 0
    only_passing: bool = False
    a_record_limit: int = 0
    udp_answer_limit: int = 3
    enable_truncate: bool = False
    compress: bool = True
    node_meta_txt: bool = True
    recursors: tuple[str, ...] = ()
    recursor_timeout_s: float = 2.0
    recursor_strategy: str = "sequential"

    def service_ttl(self, service: str) -> int:
        """Return the TTL of a service: by its name, else by the longest prefix."""
        ttls = self.service_ttl_s
        if not ttls:
            return 0
        service = service.lower()
        exact = ttls.get(service)
        if exact is not None:
            return exact
        for end in range(len(service), -1, -1):
            ttl = ttls.get(service[:end] + "*")
            if ttl is not None:
                return ttl
        return 0

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The domains of the zone, the longer one first."""
        named = [domain for domain in (self.domain, self.alt_domain) if domain]
        return tuple(sorted(named, key=len, reverse=True))

    @cached_property
    def read_options(self) -> dict[str, Any]:
        """The fields of `QueryOptions` that every question is asked with."""
        return {
            "token": self.token,
            "allow_stale": self.allow_stale,
            "use_cache": self.use_cache,
            "max_age": self.cache_max_age_ns,
        }

    def soa(self, serial: int) -> Record:
        """Return the zone's SOA record; its serial is the Unix time."""
        data = Authority(
            primary=f"ns.{self.domain}",
            mailbox=f"hostmaster.{self.domain}",
            serial=serial & 0xFFFFFFFF,
            refresh=self.soa_refresh_s,
            retry=self.soa_retry_s,
            expire=self.soa_expire_s,
            minimum=self.soa_min_ttl_s,
        )
        return Record(self.domain, TYPE_SOA, self.soa_min_ttl_s, data)


def settings_from(config: RuntimeConfig, token: str) -> Settings:
    """Return the settings that a configuration holds."""
    return Settings(
        domain=_domain(config.dns_domain),
        alt_domain=_domain(config.dns_alt_domain),
        datacenter=config.datacenter,
        node_name=config.node_name,
        segment=config.segment_name,
        token=token,
        translate_wan_addrs=config.translate_wan_addrs,
        node_ttl_s=int(config.dns_node_ttl),
        service_ttl_s={k.lower(): int(v) for k, v in config.dns_service_ttl.items()},
        soa_refresh_s=config.dns_soa.refresh,
        soa_retry_s=config.dns_soa.retry,
        soa_expire_s=config.dns_soa.expire,
        soa_min_ttl_s=config.dns_soa.minttl,
        allow_stale=config.dns_allow_stale,
        max_stale_ns=int(config.dns_max_stale * durations.SECOND),
        use_cache=config.dns_use_cache,
        cache_max_age_ns=int(config.dns_cache_max_age * durations.SECOND),
        only_passing=config.dns_only_passing,
        a_record_limit=config.dns_a_record_limit,
        udp_answer_limit=min(config.dns_udp_answer_limit, UDP_ANSWER_LIMIT_MAX),
        enable_truncate=config.dns_enable_truncate,
        compress=not config.dns_disable_compression,
        node_meta_txt=config.dns_node_meta_txt,
        recursors=config.dns_recursors,
        recursor_timeout_s=config.dns_recursor_timeout,
        # A key of later releases, which a configuration need not have.
        recursor_strategy=getattr(config, "dns_recursor_strategy", "sequential"),
    )


def _domain(text: str) -> str:
    return qualified(text.lower()) if text.strip(".") else ""
