"""``consultwist agent``: run an agent in the foreground."""

from collections.abc import Sequence

from consultwist.cli.command import Command, Streams
from consultwist.config.agent_flags import AGENT_FLAGS
from consultwist.config.flags import HelpRequested
from consultwist.errors import ConfigError


def run(argv: Sequence[str], streams: Streams) -> int:
    """Start an agent; returns when it has ended."""
    try:
        flags = AGENT_FLAGS.parse(argv)
    except HelpRequested:
        print(help_page(), file=streams.stdout)
        return 0
    except ConfigError as error:
        listed = AGENT_FLAGS.defaults_text()
        print(
            f"{error}\n{listed}\n==> error parsing flags: {error}", file=streams.stderr
        )
        return 1
    if flags.arguments:
        shown = " ".join(flags.arguments)
        print(f"==> Unexpected extra arguments: [{shown}]", file=streams.stderr)
        return 1
    # Only this command needs the reactor; the others start quicker without it.
    from consultwist.tap.run import run_agent  # noqa: PLC0415

    return run_agent(flags, streams.stdout, streams.stderr)


def help_page() -> str:
    """Return the help page of the command."""
    return (
        "Usage: consultwist agent [options]\n\n"
        "  Runs an agent, server or client, until it is told to stop. One agent runs\n"
        "  on each machine of a datacenter.\n\n"
        + AGENT_FLAGS.help_sections({"HTTP API Options": ("datacenter",)})
    )


COMMAND = Command("agent", "Runs an agent", run, help_page)
