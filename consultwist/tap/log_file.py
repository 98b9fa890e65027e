"""A log file that begins anew when it is large or old, and keeps only so many."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

#: What a file is called where the configuration names only a directory.
_DEFAULT_NAME = "consul.log"
_DEFAULT_SUFFIX = ".log"

#: How long a file is written to where the configuration does not say: a day.
DURATION_DEFAULT_S = 24 * 3600.0


class RotatingLogFile:
    """Writes text to ``name-<time>.log``, as Consul names its log files."""

    def __init__(
        self,
        path: str,
        *,
        size_max: int,
        duration_s: float,
        files_max: int,
        wall: Callable[[], float],
    ) -> None:
        """Open the first file.

        Args:
            path: a directory (with a slash at its end) or the beginning of a name.
            size_max: bytes after which the next file begins; 0 for no limit.
            duration_s: seconds after which the next file begins; 0 means a day.
            files_max: how many older files stay; 0 for all, -1 for none.
            wall: the wall clock, for names and ages.

        Raises:
            OSError: where the file cannot be made.
        """
        folder, name = os.path.split(path)
        self._folder = Path(folder or ".")
        base = Path(name or _DEFAULT_NAME)
        self._stem, self._suffix = base.stem, base.suffix or _DEFAULT_SUFFIX
        self._size_max = size_max
        self._duration_s = duration_s or DURATION_DEFAULT_S
        self._files_max = files_max
        self._wall = wall
        self._file: IO[str] = self._begin()

    def write(self, text: str) -> None:
        """Write a text, into a new file where it is time."""
        data = len(text.encode("utf-8", "replace"))
        too_large = self._size_max and self._size + data > self._size_max
        too_old = self._wall() - self._started >= self._duration_s
        if self._size and (too_large or too_old):
            self._file.close()
            self._file = self._begin()
        self._file.write(text)
        self._size += data

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file; write no more."""
        self._file.close()

    def _begin(self) -> IO[str]:
        self._started = self._wall()
        self._size = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        stamp = int(self._started * 1e9)
        file = self._folder / f"{self._stem}-{stamp}{self._suffix}"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        stream = os.fdopen(descriptor, "a", encoding="utf-8", errors="replace")
        self._prune(file)
        return stream

    def _prune(self, current: Path) -> None:
        if self._files_max == 0:
            return
        older = sorted(
            file
            for file in self._folder.glob(f"{self._stem}-*{self._suffix}")
            if file != current
        )
        keep = max(0, self._files_max)
        for file in older[: len(older) - keep]:
            file.unlink(missing_ok=True)
