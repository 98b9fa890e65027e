"""What a command is, and how the program finds it.

A command is a module of this package with a `COMMAND`; a command of two words such as
``kv get`` is ``kv_get.py``. Modules without a `COMMAND` are passed over.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import TextIO

import attrs

import consultwist.cli
from consultwist.config.flags import FlagSet, HelpRequested, ParsedFlags
from consultwist.errors import ConfigError


@attrs.frozen
class Streams:
    """Where a command reads and writes."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO


@attrs.frozen
class Command:
    """One command of the program.

    Attributes:
        name: its words, such as ``agent`` or ``kv get``.
        synopsis: one line for the list of commands.
        run: takes the arguments after the name; returns the exit code.
        help: the help page.
    """

    name: str
    synopsis: str
    run: Callable[[Sequence[str], Streams], int]
    help: Callable[[], str]


def read_flags(
    flags: FlagSet, argv: Sequence[str], streams: Streams, help_page: Callable[[], str]
) -> ParsedFlags | int:
    """Return the flags and arguments, or the exit code where the command ends here.

    It does after ``-help``, and where a flag is unknown or has a wrong value.
    """
    try:
        return flags.parse(argv)
    except HelpRequested:
        print(help_page(), file=streams.stdout)
        return 0
    except ConfigError as error:
        print(f"{error}\n{flags.defaults_text()}\n{error}", file=streams.stderr)
        return 1


def find_commands() -> dict[str, Command]:
    """Return all commands by their name, sorted."""
    found: dict[str, Command] = {}
    for module in pkgutil.iter_modules(consultwist.cli.__path__):
        command = getattr(
            importlib.import_module(f"consultwist.cli.{module.name}"), "COMMAND", None
        )
        if isinstance(command, Command):
            found[command.name] = command
    return dict(sorted(found.items()))
