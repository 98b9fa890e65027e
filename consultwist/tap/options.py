"""The options of the twistd commands: the same flags as those of ``consultwist agent``.

Twistd parses options in its own way; the words after the command's name are therefore
taken as they are and given to the agent's own flags.
"""

import atexit
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.interfaces import IReactorCore
from twisted.python import usage

from consultwist.clock import SystemClock
from consultwist.config.agent_flags import AGENT_FLAGS
from consultwist.config.flags import HelpRequested, ParsedFlags
from consultwist.config.load import load
from consultwist.errors import ConfigError
from consultwist.tap.build import prepare
from consultwist.tap.logging import AgentLog
from consultwist.tap.program import Program
from consultwist.tap.reactor import install_reactor
from consultwist.tap.run import make_program, use_monotonic_time


class AgentOptions(usage.Options):
    """Options of an agent in one mode; `mode` says which."""

    mode: ClassVar[str] = ""
    longdesc = "Takes the flags of `consultwist agent`."
    flags: ParsedFlags

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Take the words after the command as the agent's flags."""
        install_reactor()
        try:
            self.flags = AGENT_FLAGS.parse(options or [])
        except HelpRequested:
            self.opt_help()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        if self.flags.arguments:
            shown = " ".join(self.flags.arguments)
            raise usage.UsageError(f"Unexpected extra arguments: [{shown}]")
        if self.mode == "server":
            self.flags.values["server"] = True

    def getUsage(self, width: int | None = None) -> str:
        """Return the help page."""
        del width  # ours is as wide as Consul's
        synopsis = f"twistd [options] consul-{self.mode} [flags]"
        return f"Usage: {synopsis}\n\n{AGENT_FLAGS.help_sections({})}\n"


def make_service(options: AgentOptions, reactor: Any) -> IService:
    """Return the program of an agent in the mode of the command.

    Raises:
        SystemExit: where it could not start; the text says why.
    """
    try:
        built = load(options.flags)
        if options.mode == "client" and built.config.server_mode:
            raise ConfigError("consul-client cannot run with server = true")
        prepared = prepare(options.flags, built)
        agent_log = AgentLog(prepared.config.logging, None, SystemClock().wall)
    except ConfigError as error:
        raise SystemExit(f"==> {error}") from None
    use_monotonic_time(reactor)
    # What an agent would announce on its terminal, twistd has in its log.
    agent_log.join()
    program = make_program(reactor, prepared, agent_log, _say_nothing)
    # Twistd itself ends with 0 whatever became of its services.
    atexit.register(_exit_as, program)
    return program


def _exit_as(program: Program) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(program.exit_code)


def _say_nothing(text: str) -> None:
    del text


def the_reactor() -> IReactorCore:
    """Return the reactor that twistd has installed."""
    from twisted.internet import reactor  # noqa: PLC0415 - not before it is chosen

    return reactor
