"""The program around an agent: start it, listen to signals, end with an exit code.

SIGHUP reloads. SIGINT and SIGTERM leave the cluster or just stop, as
``skip_leave_on_interrupt`` and ``leave_on_terminate`` say; a second one does not wait.
"""

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConsultwistError
from consultwist.tap.build import Prepared
from consultwist.tap.logging import AgentLog
from consultwist.tap.start_checks import check_start

#: How long leaving may take before the program ends without (Consul's limit).
LEAVE_TIMEOUT_S = 15.0

#: Consul's exit codes: after a graceful leave, and in all other cases.
EXIT_LEFT, EXIT_STOPPED = 0, 1

_SIGNAL_NAMES = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
}

#: Makes the agent's service; the argument ends the program after a leave.
MakeAgent = Callable[[Callable[[], None]], Any]


log = Logger(namespace="agent")
#: Consul reads its configuration twice, and warns under both names.
log_of_auto_config = Logger(namespace="agent.auto_config")


def _warn(text: str) -> None:
    log.warn("{text}", text=text)


class LogLevelSetting(Service):
    """Changes the level of the log when a reload does."""

    def __init__(self, agent_log: AgentLog) -> None:
        self._log = agent_log

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take over the level of a configuration."""
        self._log.set_level(config.logging.log_level)


class Program(MultiService):
    """Runs one agent from start to exit."""

    def __init__(
        self,
        reactor: Any,
        prepared: Prepared,
        make_agent: MakeAgent,
        agent_log: AgentLog,
        announce: Callable[[str], object],
    ) -> None:
        """Take what is needed; nothing happens before `startService`.

        Args:
            reactor: the one reactor.
            prepared: the configuration, checked, and the locked data directory.
            make_agent: makes the agent's service.
            agent_log: where the log goes; its level follows the configuration.
            announce: tells the user how far the program is.
        """
        super().__init__()
        self._reactor = reactor
        self._prepared = prepared
        self._make_agent = make_agent
        self._log = agent_log
        self._announce = announce
        self._agent: Any = None
        self._leave_timer: IDelayedCall | None = None
        self._leaving = False
        self._exiting = False
        self._handlers: dict[int, Any] = {}
        #: What the process returns.
        self.exit_code = EXIT_STOPPED

    def startService(self) -> None:
        """Start the agent as soon as the reactor runs."""
        super().startService()
        self._reactor.callWhenRunning(self._start)

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        self._restore_signals()
        self._prepared.release()
        log.info("Exit code: code={code}", code=self.exit_code)
        self._log.close()

    def stopService(self) -> Deferred[None]:
        """Stop the agent and let go of the data directory."""
        if self._leave_timer is not None and self._leave_timer.active():
            self._leave_timer.cancel()
        return Deferred.fromCoroutine(self._stop())

    def _start(self) -> None:
        self._catch_signals()
        for warning in self._prepared.warnings:
            _warn(warning)
        for warning in self._prepared.warnings:
            log_of_auto_config.warn("{text}", text=warning)
        try:
            check_start(self._prepared.config, _warn)
            self._prepared.write_pid_file()
            self._agent = self._make_agent(self._left)
            LogLevelSetting(self._log).setServiceParent(self._agent)
            self._agent.setServiceParent(self)
        except Exception as error:
            self._failed(error)
            return
        self._announce("==> Consul agent running!")

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ConsultwistError | OSError | CannotListenError):
            log.failure("Error starting agent")
        log.error('Error starting agent: error="{error}"', error=str(error))
        self._exit(EXIT_STOPPED)

    def _left(self) -> None:
        self._exit(EXIT_LEFT)

    def _exit(self, code: int) -> None:
        self.exit_code = code
        if not self._exiting:
            self._exiting = True
            self._reactor.callLater(0, self._stop_reactor)

    def _stop_reactor(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    # --- signals ---------------------------------------------------------------------

    def _catch_signals(self) -> None:
        for number in _SIGNAL_NAMES:
            self._handlers[number] = signal.signal(number, self._caught)

    def _restore_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _caught(self, number: int, frame: object) -> None:
        del frame  # where the program was does not matter
        self._reactor.callFromThread(self.take_signal, number)

    def take_signal(self, number: int) -> None:
        """Do what a signal asks for."""
        log.info("Caught: signal={name}", name=_SIGNAL_NAMES[signal.Signals(number)])
        if number == signal.SIGHUP:
            self._reload()
        elif self._leaving or not self._is_graceful(number):
            log.info("Graceful shutdown disabled. Exiting")
            self._exit(EXIT_STOPPED)
        else:
            self._leave()

    def _is_graceful(self, number: int) -> bool:
        config = self._prepared.config
        if self._agent is None:
            return False
        if number == signal.SIGINT:
            return not config.skip_leave_on_int
        return config.leave_on_term

    def _reload(self) -> None:
        if self._agent is None:
            return
        log.info("Reloading configuration...")
        done = Deferred.fromCoroutine(self._agent.reload())
        done.addErrback(self._reload_failed)

    def _reload_failed(self, failure: Failure) -> None:
        if failure.check(ConsultwistError):
            log.error(
                'Failed to reload configs: error="{error}"',
                error=failure.getErrorMessage(),
            )
        else:
            log.failure("Failed to reload configs", failure=failure)

    def _leave(self) -> None:
        self._leaving = True
        log.info("Gracefully shutting down agent...")
        self._leave_timer = self._reactor.callLater(LEAVE_TIMEOUT_S, self._leave_late)
        done = Deferred.fromCoroutine(self._agent.leave())
        done.addCallbacks(self._leave_done, self._leave_failed)

    def _leave_late(self) -> None:
        log.warn("Timeout on graceful leave. Exiting")
        self._exit(EXIT_STOPPED)

    def _leave_done(self, result: object) -> None:
        del result  # leaving has none
        log.info("Graceful exit completed")
        self._exit(EXIT_LEFT)

    def _leave_failed(self, failure: Failure) -> None:
        log.error('Error on leave: error="{error}"', error=failure.getErrorMessage())
        self._exit(EXIT_STOPPED)
