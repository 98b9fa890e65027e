"""The agent's own tokens."""

from typing import Self

import attrs

from consultwist.config.runtime import RuntimeConfig


@attrs.define
class Tokens:
    """The tokens that the agent uses where a request brings none.

    Attributes:
        default: for requests of clients without a token.
        agent: for the agent's own work, such as anti-entropy.
    """

    default: str = attrs.field(default="", repr=False)
    agent: str = attrs.field(default="", repr=False)

    @classmethod
    def of(cls, config: RuntimeConfig) -> Self:
        """Return the tokens that a configuration gives."""
        return cls(
            default=config.acl_token, agent=config.acl_agent_token or config.acl_token
        )
