"""Data-driven tests: scripts of commands with the output they must have.

::

    # a comment
    propose s1 hello
    ----
    s1: persist #4 entries [3/2 'hello']

A command is a line; a line of dashes and the expected output follow, up to an empty
line. With ``pytest --rewrite`` the output that there is now takes the place of the
expected one, and the difference is reviewed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

_RULE: Final = "----"


@attrs.define
class Step:
    """A command of a script, what stands before it, and its output."""

    comments: list[str]
    command: str
    output: list[str]
    line: int

    def text(self) -> list[str]:
        """Return the lines of the script."""
        return [*self.comments, self.command, _RULE, *self.output]


def parse(text: str) -> Iterator[Step]:
    """Yield the steps of a script.

    Raises:
        ValueError: where a command has no line of dashes.
    """
    lines = iter(enumerate([*text.splitlines(), ""], 1))
    comments: list[str] = []
    for number, line in lines:
        if not line or line.startswith("#"):
            comments.append(line)
            continue
        _, rule = next(lines)
        if rule != _RULE:
            raise ValueError(f"line {number}: no {_RULE} follows {line!r}")
        output = []
        for _, shown in lines:
            if not shown:
                break
            output.append(shown)
        yield Step(comments, line, output, number)
        comments = [""]


def run(path: Path, execute: Callable[[str], list[str]], *, rewrite: bool) -> None:
    """Run a script; insist on its output, or with `rewrite` take it over.

    Raises:
        AssertionError: where the output of a command is another one.
    """
    steps = list(parse(path.read_text()))
    assert steps, f"{path}: no commands"
    for step in steps:
        output = execute(step.command)
        if rewrite:
            step.output = output
            continue
        where = f"{path.name}:{step.line}: {step.command}"
        assert output == step.output, (
            f"{where}\nexpected:\n"
            + "\n".join(step.output)
            + "\nactual:\n"
            + "\n".join(output)
        )
    if rewrite:
        text = "\n".join(line for step in steps for line in step.text())
        path.write_text(text.rstrip("\n") + "\n")
