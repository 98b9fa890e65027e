"""OS service checks: Windows asks its service control; elsewhere there is none."""

from zope.interface import implementer

from consultwist.errors import ConsultwistError
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType


@implementer(ICheckType)
class OSServiceCheck:
    """Checks of Windows services, which this system does not have."""

    kind = "os_service"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions that name a service of the system."""
        return bool(definition.os_service)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Refuse, as Consul does on every system but Windows.

        Raises:
            ConsultwistError: always; a 500 in the HTTP API.
        """
        del definition, host
        raise ConsultwistError("not implemented")
