"""The entry point: find the command, run it, return its exit code."""

import sys
from collections.abc import Mapping, Sequence

from consultwist.cli.command import Command, Streams, find_commands

#: What Go's cli package returns for a command that does not exist.
UNKNOWN_COMMAND = 127

_HELP = frozenset({"-h", "-help", "--help", "help"})
_VERSION = frozenset({"-v", "-version", "--version"})


def main(argv: Sequence[str] | None = None, streams: Streams | None = None) -> int:
    """Run the program; the exit code is returned."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    streams = streams or Streams(sys.stdin, sys.stdout, sys.stderr)
    commands = find_commands()
    if arguments and arguments[0] in _VERSION:
        arguments = ["version"]
    if arguments and arguments[0] in _HELP:
        command, _ = _find(commands, arguments[1:])
        page = overview(commands) if command is None else command.help()
        print(page, file=streams.stdout)
        return 0
    command, rest = _find(commands, arguments)
    if command is None:
        return _unknown(commands, arguments, streams)
    if any(word in ("-h", "-help", "--help") for word in rest[:1]):
        print(command.help(), file=streams.stdout)
        return 0
    return command.run(rest, streams)


def _find(
    commands: Mapping[str, Command], arguments: Sequence[str]
) -> tuple[Command | None, Sequence[str]]:
    """Return the command with the most words that the arguments begin with."""
    words = next(
        (n for n, word in enumerate(arguments) if word.startswith("-")), len(arguments)
    )
    for count in range(words, 0, -1):
        command = commands.get(" ".join(arguments[:count]))
        if command is not None:
            return command, arguments[count:]
    return None, arguments


def _unknown(
    commands: Mapping[str, Command], arguments: Sequence[str], streams: Streams
) -> int:
    """Show what there is instead; a group without a command is a lesser mistake."""
    group = arguments[0] if arguments else ""
    below = {n: c for n, c in commands.items() if group and n.startswith(f"{group} ")}
    if not below:
        print(overview(commands) + "\n", file=streams.stderr)
        return UNKNOWN_COMMAND
    print(
        f"Usage: consultwist {group} <subcommand> [options] [args]\n\n"
        "Subcommands:\n\n" + _listed({n.split(" ", 1)[1]: c for n, c in below.items()}),
        file=streams.stderr,
    )
    return 1


def overview(commands: Mapping[str, Command]) -> str:
    """Return the list of commands; those of two words stand under their first."""
    tops = {name: c for name, c in commands.items() if " " not in name}
    return (
        "Usage: consultwist [--version] [--help] <command> [<args>]\n\n"
        "Available commands are:\n" + _listed(tops)
    )


def _listed(commands: Mapping[str, Command]) -> str:
    width = max((len(name) for name in commands), default=0)
    return "\n".join(
        f"    {name:<{width}}    {command.synopsis}"
        for name, command in commands.items()
    )


if __name__ == "__main__":
    sys.exit(main())
