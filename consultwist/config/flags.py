"""Command line flags as Go's ``flag`` package reads them.

One or two dashes, ``-flag=value`` or ``-flag value``; booleans stand alone or take
``=value``; flags end at the first other argument or at ``--``. The error texts and
the list that follows them are Go's, because scripts and people know them.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from consultwist.errors import ConfigError
from consultwist.wire.strconv import parse_bool

#: The widest line of a help page, and its indentation, as stock prints them.
_HELP_WIDTH = 74
_HELP_INDENT = "     "

#: What Go's strconv.Atoi takes.
_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}")

#: What Go's strconv.ParseBool takes.


class FlagKind(enum.Enum):
    """What kind of value a flag takes."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    #: May be given several times; the values are kept in order.
    STRINGS = "strings"
    #: ``key:value``, several times.
    PAIRS = "pairs"


@attrs.frozen
class Flag:
    """One flag of a command.

    Attributes:
        name: without dashes.
        kind: what it takes.
        usage: one sentence for the help page.
        placeholder: how the help page calls the value.
        default: what is shown as the default, where there is one.
        into: the name that the values of several flags are kept under together.
    """

    name: str
    kind: FlagKind
    usage: str
    placeholder: str = "value"
    default: str = ""
    into: str = ""


class HelpRequested(ConfigError):
    """The user asked for the help page with ``-h`` or ``-help``."""


@attrs.define
class ParsedFlags:
    """The values of the flags that were given, and the arguments after them."""

    values: dict[str, Any] = attrs.Factory(dict)
    arguments: list[str] = attrs.Factory(list)

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a text flag."""
        return str(self.values.get(name, default))

    def is_set(self, name: str) -> bool:
        """Return whether a boolean flag is on."""
        return bool(self.values.get(name, False))


class FlagSet:
    """The flags of one command."""

    def __init__(self, flags: Iterable[Flag]) -> None:
        self._flags = {flag.name: flag for flag in flags}

    def parse(self, argv: Sequence[str]) -> ParsedFlags:
        """Read the flags at the front of `argv`.

        Raises:
            HelpRequested: for ``-h``, ``-help`` and ``--help``.
            ConfigError: for a flag that is unknown or has a wrong value.
        """
        parsed = ParsedFlags()
        rest = list(argv)
        while rest:
            word = rest[0]
            if len(word) < 2 or word[0] != "-":
                break
            rest.pop(0)
            if word == "--":
                break
            self._take(word, rest, parsed)
        parsed.arguments = rest
        return parsed

    def _take(self, word: str, rest: list[str], parsed: ParsedFlags) -> None:
        body = word[2:] if word.startswith("--") else word[1:]
        if not body or body[0] in "-=":
            raise ConfigError(f"bad flag syntax: {word}")
        name, equals, value = body.partition("=")
        flag = self._flags.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpRequested("flag: help requested")
            raise ConfigError(f"flag provided but not defined: -{name}")
        if flag.kind is FlagKind.BOOL:
            parsed.values[name] = _boolean(name, value if equals else "true")
            return
        if not equals:
            if not rest:
                raise ConfigError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        _store(flag, value, parsed.values)

    def defaults_text(self) -> str:
        """Return the list of flags that follows an error."""
        lines = ["Usage:"]
        for name in sorted(self._flags):
            flag = self._flags[name]
            title = "" if flag.kind is FlagKind.BOOL else f" {flag.placeholder}"
            lines.append(f"  -{name}{title}")
            suffix = f' (default "{flag.default}")' if flag.default else ""
            lines.append(f"    \t{flag.usage}{suffix}")
        return "\n".join(lines)

    def help_sections(self, titles: dict[str, tuple[str, ...]]) -> str:
        """Return the help page's flags, in sections; the rest is "Command Options"."""
        placed = {name for names in titles.values() for name in names}
        sections = dict(titles)
        sections["Command Options"] = tuple(n for n in self._flags if n not in placed)
        blocks = [
            "\n\n".join([title, *(_help_entry(self._flags[n]) for n in sorted(names))])
            for title, names in sections.items()
            if names
        ]
        return "\n\n".join(blocks)


def _boolean(name: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError as error:
        refusal = f'invalid boolean value "{value}" for -{name}: {error}'
        raise ConfigError(refusal) from None


def _store(flag: Flag, value: str, values: dict[str, Any]) -> None:
    """Put a value beside those that were given before."""
    name = flag.into or flag.name
    if flag.kind is FlagKind.INT:
        values[name] = _integer(flag.name, value)
    elif flag.kind is FlagKind.STRINGS:
        values.setdefault(name, []).append(value)
    elif flag.kind is FlagKind.PAIRS:
        key, _, text = value.partition(":")
        values.setdefault(name, {})[key] = text
    else:
        values[name] = value


def _integer(name: str, value: str) -> int:
    """Read an integer as Go's ``strconv.Atoi`` does."""
    if not _DECIMAL.fullmatch(value):
        reason = f'strconv.Atoi: parsing "{value}": invalid syntax'
        raise _invalid(name, value, reason)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        reason = f'strconv.Atoi: parsing "{value}": value out of range'
        raise _invalid(name, value, reason)
    return number


def _invalid(name: str, value: str, reason: str) -> ConfigError:
    return ConfigError(f'invalid value "{value}" for flag -{name}: {reason}')


def _help_entry(flag: Flag) -> str:
    value = "" if flag.kind is FlagKind.BOOL else f"=<{flag.placeholder}>"
    return f"  -{flag.name}{value}\n" + wrap(flag.usage, _HELP_INDENT)


def wrap(text: str, indent: str) -> str:
    """Break a text into lines of the help page's width, each indented."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(indent) + len(longer) > _HELP_WIDTH and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(indent + line for line in lines)
