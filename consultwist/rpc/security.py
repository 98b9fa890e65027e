"""Security: which connections between agents are encrypted, as the configuration says.

OpenSSL costs memory and time, and is imported only where certificates are configured.
"""

from typing import TYPE_CHECKING, Any

from consultwist.config.runtime import RuntimeConfig

if TYPE_CHECKING:
    from consultwist.rpc.tls import TLSLayers


class Security:
    """The TLS settings in force.

    Attributes:
        layers: makes TLS layers; None where nothing is configured for TLS.
        is_outgoing: whether connections to servers are made with TLS.
        is_required: whether servers take only connections with TLS.
    """

    layers: "TLSLayers | None"

    def __init__(self, config: RuntimeConfig, reactor: Any) -> None:
        """Read the certificates.

        Raises:
            ConfigError: where a file is no use.
        """
        self._reactor = reactor
        self.reconfigure(config)

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take a new configuration for new connections.

        Raises:
            ConfigError: where a file is no use; the old configuration stays.
        """
        layers = None
        if _mentions_tls(config):
            from consultwist.rpc.tls import TLSLayers  # noqa: PLC0415 - see above

            layers = TLSLayers(config, self._reactor)
        self.layers = layers
        self.is_outgoing = config.verify_outgoing
        self.is_required = config.verify_incoming or config.verify_incoming_rpc


def _mentions_tls(config: RuntimeConfig) -> bool:
    return bool(
        config.cert_file
        or config.ca_file
        or config.ca_path
        or config.verify_outgoing
        or config.verify_incoming
        or config.verify_incoming_rpc
    )
