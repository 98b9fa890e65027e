"""Folder checks: a folder should not hold too many files.

A definition has the fields of Consul's, so what is special stands in the URL:
``acme-folder:/var/spool/acme?max=100``.
"""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from consultwist.checks.outcome import CRITICAL, PASSING, WARNING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.errors import BadRequest
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

SCHEME = "acme-folder"


@implementer(ICheckType)
class FolderCheck:
    """Checks how many files a folder holds."""

    kind = "acme-folder"

    def takes(self, definition: CheckType) -> bool:
        """Take URLs with Acme's scheme."""
        return definition.http.startswith(f"{SCHEME}:")

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what counts at the check's interval."""
        url = urlsplit(definition.http)
        most = parse_qs(url.query).get("max", [""])[0]
        if not most.isdecimal():
            raise BadRequest(f"Acme needs a max in {definition.http!r}")
        folder, files_max = url.path, int(most)

        def probe() -> Deferred[Outcome]:
            return succeed(count(folder, files_max))

        return IntervalRunner(definition, host, probe)


def count(folder: str, files_max: int) -> Outcome:
    """Count the files of a folder once."""
    try:
        files = len(list(Path(folder).iterdir()))
    except OSError as error:
        return Outcome(CRITICAL, str(error.strerror))
    status = PASSING if files <= files_max else WARNING
    return Outcome(status, f"{files} of {files_max} files")
