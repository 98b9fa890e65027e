"""``consultwist agent``: run the program in the foreground until it ends."""

import gc
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TextIO

import consultwist
from consultwist.clock import SystemClock
from consultwist.config.flags import ParsedFlags
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.tap.build import Prepared, build_agent_service, prepare
from consultwist.tap.logging import AgentLog, announce
from consultwist.tap.program import Program
from consultwist.tap.reactor import install_reactor

#: Objects that are made more than they are freed before the youngest are collected,
#: and how many such collections go before one of the next older ones.
_COLLECT_YOUNG: Final = 50_000
_COLLECT_MIDDLE: Final = 20
_COLLECT_OLD: Final = 100


def run_agent(flags: ParsedFlags, stdout: TextIO, stderr: TextIO) -> int:
    """Run an agent as the command line says; returns the exit code of the process."""
    try:
        prepared = prepare(flags)
    except ConfigError as error:
        announce(f"==> {error}", stderr)
        return 1
    install_reactor()
    from twisted.internet import reactor  # noqa: PLC0415 - not before it is chosen

    use_monotonic_time(reactor)
    try:
        agent_log = AgentLog(prepared.config.logging, stdout, SystemClock().wall)
    except ConfigError as error:
        prepared.release()
        announce(f"==> {error}", stderr)
        return 1
    announce(banner(prepared.config), stdout)
    agent_log.begin()
    tell = partial(announce, stream=stdout)
    program = make_program(reactor, prepared, agent_log, tell)
    return _run(reactor, program)


def use_monotonic_time(reactor: Any) -> None:
    """Let the reactor schedule by a clock that is never set back.

    Twisted schedules by the wall clock; when that is set back by an hour, timers
    would stand still for an hour. Call it before anything is scheduled.
    """
    reactor.seconds = time.monotonic


def settle_interpreter() -> None:
    """Set what holds for the whole process.

    Files that an agent makes are for its owner alone. The collector is held back: the
    state consists of records that it need not look at, and its defaults cost half as
    much CPU again and pauses of 0.2 s while a large catalog grows.
    """
    os.umask(0o077)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_YOUNG, _COLLECT_MIDDLE, _COLLECT_OLD)


def make_program(
    reactor: Any, prepared: Prepared, agent_log: AgentLog, tell: Callable[[str], object]
) -> Program:
    """Return the program of an agent, not started yet."""
    settle_interpreter()
    return Program(
        reactor,
        prepared,
        partial(build_agent_service, prepared, reactor),
        agent_log,
        tell,
    )


def _run(reactor: Any, program: Program) -> int:
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    program.startService()
    reactor.run()
    return program.exit_code


def banner(config: RuntimeConfig) -> str:
    """Return what is said before the log begins."""
    segment = "<all>" if config.server_mode else config.segment_name
    ports = (
        f"HTTP: {config.http_port}, HTTPS: {config.https_port}, "
        f"gRPC: {config.grpc_port}, DNS: {config.dns_port}"
    )
    incoming = config.verify_incoming or config.verify_incoming_rpc
    rows = {
        "Version": f"'{config.version}' (consultwist {consultwist.__version__})",
        "Node ID": f"'{config.node_id}'",
        "Node name": f"'{config.node_name}'",
        "Datacenter": f"'{config.datacenter}' (Segment: '{segment}')",
        "Server": f"{_go(config.server_mode)} (Bootstrap: {_go(config.bootstrap)})",
        "Client Addr": f"[{' '.join(config.client_addrs)}] ({ports})",
        "Cluster Addr": (
            f"{config.advertise_addr_lan} "
            f"(LAN: {config.serf_port_lan}, WAN: {config.serf_port_wan})"
        ),
        "Encrypt": (
            f"Gossip: {_go(bool(config.encrypt_key))}, "
            f"TLS-Outgoing: {_go(config.verify_outgoing)}, "
            f"TLS-Incoming: {_go(incoming)}, "
            f"Auto-Encrypt-TLS: {_go(config.auto_encrypt_tls)}"
        ),
    }
    lines = [f"{name:>18}: {value}" for name, value in rows.items()]
    return "\n".join(
        [
            "==> Starting Consul agent...",
            *lines,
            "",
            "==> Log data will now stream in as it occurs:",
            "",
        ]
    )


def _go(value: bool) -> str:
    return "true" if value else "false"
