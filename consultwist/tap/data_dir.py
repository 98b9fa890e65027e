"""The data directory: made, locked against a second agent, and the node's id in it."""

import fcntl
import hashlib
import os
import re
from pathlib import Path
from random import Random
from typing import IO

from consultwist.errors import ConfigError
from consultwist.structs.uuids import make_uuid

#: Only the agent's user may look into the directory: it holds tokens and keys.
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_NODE_ID = "node-id"
_LOCK = "agent.lock"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_LENGTH = 36

#: Where Linux says which machine this is; the first that can be read counts.
_MACHINE_IDS = (
    Path("/sys/class/dmi/id/product_uuid"),
    Path("/etc/machine-id"),
    Path("/proc/sys/kernel/random/boot_id"),
)


class DataDirectory:
    """The data directory of a running agent; closing it lets another agent in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Make the directory if needed, and lock it.

        Raises:
            ConfigError: where it cannot be used, or another agent uses it.
        """
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            lock = _open_private(self.path / _LOCK)
        except OSError as error:
            raise ConfigError(f"data_dir cannot be used: {error}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(
                f'data_dir "{self.path}" is in use by another agent'
            ) from None
        self._lock = lock

    def close(self) -> None:
        """Unlock the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def node_id(self, rng: Random, *, from_machine: bool) -> str:
        """Return the id of this node: the one kept here, or a new one.

        Args:
            rng: makes a new id.
            from_machine: whether a new id is derived from that of the machine.

        Raises:
            ConfigError: where the file holds no id.
        """
        file = self.path / _NODE_ID
        try:
            kept = file.read_text("ascii", "replace").strip().lower()
        except FileNotFoundError:
            kept = ""
        except OSError as error:
            raise ConfigError(f"failed to setup node ID: {error}") from None
        if kept:
            problem = uuid_problem(kept)
            if problem:
                raise ConfigError(
                    f"failed to setup node ID: NodeID in {file} is invalid: {problem}"
                )
            return kept
        made = (machine_uuid() if from_machine else "") or make_uuid(rng)
        write_private(file, made.encode())
        return made


def uuid_problem(text: str) -> str:
    """Return what is wrong with a UUID, in Consul's words; nothing where it is one."""
    if len(text) != _UUID_LENGTH:
        return "uuid string is wrong length"
    if not _UUID.fullmatch(text):
        return "uuid is improperly formatted"
    return ""


def machine_uuid() -> str:
    """Return an id that this machine always gets, or nothing where it has none.

    As Consul does, the machine's own id is hashed, so that it stays unknown.
    """
    for file in _MACHINE_IDS:
        try:
            text = file.read_text("ascii", "replace").strip().lower()
        except OSError:
            continue
        if text:
            digits = hashlib.sha512(text.encode()).hexdigest()
            parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20])
            return "-".join((*parts, digits[20:32]))
    return ""


def write_private(file: Path, data: bytes) -> None:
    """Replace a file by one that only the agent's user may read, all or nothing.

    Raises:
        ConfigError: where it cannot be written.
    """
    aside = file.with_name(f"{file.name}.tmp")
    try:
        with _open_private(aside) as stream:
            stream.truncate()
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error}") from None


def _open_private(file: Path) -> IO[bytes]:
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, FILE_MODE), "r+b")
