"""What one run of a check found out, and the bounded text that goes with it."""

import attrs

PASSING = "passing"
WARNING = "warning"
CRITICAL = "critical"


@attrs.frozen
class Outcome:
    """The result of one run.

    Attributes:
        status: passing, warning or critical.
        output: what a user reads about it.
        damped: whether the thresholds of the check apply. Consul publishes scripts
            that time out or do not start at once.
        certificate_end: when the server's certificate expires, in seconds of the wall
            clock; None where there was none.
    """

    status: str
    output: str
    damped: bool = True
    certificate_end: float | None = None


class OutputTail:
    """Keeps the last bytes of an output of any length."""

    __slots__ = ("_kept", "_size_max", "total")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._kept = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take the next piece of the output."""
        self.total += len(data)
        self._kept += data[-self._size_max :]
        del self._kept[: -self._size_max]

    def text(self) -> str:
        """Return what was kept; bytes that are not UTF-8 survive as surrogates."""
        return self._kept.decode("utf-8", "surrogateescape")

    def text_with_size(self) -> str:
        """Return what was kept, and before it how much was cut, as Consul says it."""
        if self.total <= self._size_max:
            return self.text()
        return f"Captured {self._size_max} of {self.total} bytes\n...\n{self.text()}"


def head_with_size(output: str, size_max: int) -> str:
    """Return the first bytes of an output, and behind them how much was cut."""
    data = output.encode("utf-8", "surrogateescape")
    if len(data) <= size_max:
        return output
    head = data[:size_max].decode("utf-8", "surrogateescape")
    return f"{head} ... (captured {size_max} of {len(data)} bytes)"
