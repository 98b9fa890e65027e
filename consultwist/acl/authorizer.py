"""Authorizer: what a token allows, and the rules that methods declare.

A method names one of three things as its rule: a function of the authorizer and the
request, `FILTERED` where rows that the caller may not see are left out of the answer,
or `PUBLIC` where everybody may ask.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol


class Authorizer(Protocol):
    """What one token allows."""

    def allows(self, resource: str, access: str, name: str) -> bool:
        """Tell whether access (``read``, ``write``, ``list``) to a resource is given.

        Args:
            resource: the kind of thing, such as ``key`` or ``service``.
            access: what is to be done with it.
            name: which one; empty for resources without names, such as ``operator``.
        """


class AllowAll:
    """The authorizer of a cluster without ACLs."""

    def allows(self, resource: str, access: str, name: str) -> bool:  # noqa: ARG002
        """Allow it."""
        return True


ALLOW_ALL: Final = AllowAll()


class Openness(Enum):
    """Rules that are no function of the request."""

    FILTERED = "filtered"
    PUBLIC = "public"


FILTERED: Final = Openness.FILTERED
PUBLIC: Final = Openness.PUBLIC

#: Tells whether a request is allowed.
Rule = Callable[[Authorizer, Any], bool] | Openness
