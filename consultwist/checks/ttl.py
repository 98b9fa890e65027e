"""TTL checks: the application reports, the agent notices when it stops to."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.outcome import CRITICAL, head_with_size
from consultwist.errors import ConsultwistError
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.wire import json
from consultwist.wire.struct import Struct

log = Logger()


@implementer(ICheckType)
class TTLCheck:
    """Checks that an application keeps alive."""

    kind = "ttl"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a TTL."""
        return definition.ttl > 0

    def make_runner(self, definition: CheckType, host: ICheckHost) -> "TTLRunner":
        """Make what waits for the TTL to pass."""
        return TTLRunner(definition, host)


@implementer(ICheckRunner)
class TTLRunner:
    """Turns a check critical where no update comes for its TTL."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._check_id = definition.check_id
        self._output_size_max = definition.output_max_size
        self._host = host
        self._timer: IDelayedCall | None = None
        self._last_output = ""
        #: The time to live, in seconds.
        self.ttl_s = definition.ttl / durations.SECOND

    def start(self) -> None:
        """Begin to wait: the first update is due within the TTL."""
        self._timer = self._host.reactor.callLater(self.ttl_s, self._expire)

    def stop(self) -> None:
        """Stop; nothing expires from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def update(self, status: str, output: str) -> str:
        """Report what the application says, and wait for its next word.

        Returns:
            The output as it was kept: cut to the limit of the check.
        """
        output = head_with_size(output, self._output_size_max)
        self._host.report(self._check_id, status, output)
        self._last_output = output
        self.stop()
        self.start()
        return output

    def _expire(self) -> None:
        self._timer = None
        log.warn("check missed its TTL, is now critical: {check}", check=self._check_id)
        output = "TTL expired"
        if self._last_output:
            output += f" (last output before timeout follows): {self._last_output}"
        self._host.report(self._check_id, CRITICAL, output)


def update_ttl(
    runners: Mapping[str, object], check_id: str, status: str, output: str
) -> tuple[TTLRunner, str]:
    """Update the TTL check of this id among the runners of an agent.

    Returns:
        Its runner, and the output as it was kept.

    Raises:
        ConsultwistError: where the check is unknown or of another type.
    """
    runner = runners.get(check_id)
    if not isinstance(runner, TTLRunner):
        raise ConsultwistError(f'CheckID "{check_id}" does not have associated TTL')
    return runner, runner.update(status, output)


class TTLState(Struct):
    """What is kept of a TTL check while the agent is not running."""

    check_id: str = ""
    status: str = ""
    output: str = ""
    #: Seconds since the epoch.
    expires: int = 0


class TTLStateFiles:
    """The states of TTL checks in ``<data_dir>/checks/state``, a file each.

    Names and content are those of Consul, so that an agent may take over the data
    directory of a stock one. A file that cannot be read is removed with a warning:
    the check then begins as if it were new.
    """

    def __init__(self, data_dir: str) -> None:
        self._directory = Path(data_dir) / "checks" / "state"

    def save(self, state: TTLState) -> None:
        """Write a state; the file is replaced as a whole."""
        path = self._path(state.check_id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(path.name + ".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.encode(state))
        temporary.replace(path)

    def load(self, check_id: str, now_wall: float) -> TTLState | None:
        """Return the state of a check unless there is none or it has expired."""
        path = self._path(check_id)
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=dict[str, str | int])
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warn("cannot read {path}, removed: {error}", path=path, error=error)
            self.remove(check_id)
            return None
        expires = int(raw.get("Expires", 0))
        if int(now_wall) >= expires:
            self.remove(check_id)
            return None
        return TTLState(
            check_id=check_id,
            status=str(raw.get("Status", "")),
            output=str(raw.get("Output", "")),
            expires=expires,
        )

    def remove(self, check_id: str) -> None:
        """Forget a check, as when it is deregistered."""
        self._path(check_id).unlink(missing_ok=True)

    def _path(self, check_id: str) -> Path:
        # Consul names the file by the MD5 of the id, whatever the id holds.
        digest = hashlib.md5(check_id.encode("utf-8", "surrogateescape"))  # noqa: S324
        return self._directory / digest.hexdigest()
