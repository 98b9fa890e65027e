"""Real checks of real servers and programs end as those of Consul did."""

import json
import os
import re
import socket
import time
from pathlib import Path

import pytest

from tests.blackbox.checks.children import ADDRESS, run_checks, servers

pytestmark = pytest.mark.blackbox

VECTOR = Path(__file__).parents[2] / "vectors" / "checks" / "types.json"
S = 1_000_000_000
DURATIONS = {"1s": S, "2s": 2 * S, "100ms": S // 10, "300s": 300 * S}

#: Other kinds are tried elsewhere; these show more than one status in a row.
LEFT_OUT = ("ttl-", "grpc-agent", "docker", "service:", "success3")


def captured():
    """Return the captured checks that this test runs."""
    checks = json.loads(VECTOR.read_text())["checks"]
    return [c for c in checks if not c["check_id"].startswith(LEFT_OUT)]


def definition_of(check, ports):
    """Return a captured definition with the addresses of this test."""
    fields = json.loads(with_addresses(json.dumps(check["definition"]), ports))
    fields["check_id"] = fields.pop("id")
    fields["script_args"] = fields.pop("args", None)
    for name in ("interval", "timeout"):
        if name in fields:
            fields[name] = DURATIONS[fields[name]]
    return fields


def with_addresses(text, ports):
    """Put the addresses of this test in the place of the captured ones."""
    text = text.replace("127.0.40.9:18080", f"{ADDRESS}:{ports['plain']}")
    return text.replace("127.0.40.9:18081", f"{ADDRESS}:{ports['closed']}")


def test_captured_checks_end_as_captured():
    """Every captured HTTP, TCP, gRPC and script check has its status and its words."""
    with servers() as ports:
        checks = captured()
        found = run_checks([definition_of(check, ports) for check in checks])
        for check in checks:
            status, output = found["reports"][check["check_id"]]
            expected = with_addresses(check["output"], ports)
            assert status == check["status_after_9s"], check["check_id"]
            if len(check["output"]) == check["output_length"]:
                assert output == expected, check["check_id"]
            else:
                # A long output; the capture holds its beginning and its length.
                grown = len(expected) - len(check["output"])
                assert output.startswith(expected)
                assert len(output) == check["output_length"] + grown


def test_datagrams_are_refused_or_not():
    """Nobody listens at one port; at the other somebody says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, servers() as ports:
        silent.bind((ADDRESS, 0))
        asked = {
            "refused": f"{ADDRESS}:{ports['closed']}",
            "silent": f"{ADDRESS}:{silent.getsockname()[1]}",
        }
        checks = [
            {"check_id": name, "udp": address, "interval": S, "timeout": S}
            for name, address in asked.items()
        ]
        reports = run_checks(checks)["reports"]
        assert silent.recv(10) == b""
    refused = f"read udp {asked['refused']}: read: connection refused"
    assert reports["refused"] == ["critical", refused]
    assert reports["silent"] == ["passing", f"UDP connect {asked['silent']}: Success"]


#: Programs, with what a stock agent reported of them.
PROGRAMS = {
    "order": (["sh", "-c", "echo a; echo b >&2; echo c; exit 255"], "a\nb\nc\n"),
    "signal": (["sh", "-c", "echo hi; kill -9 $$"], "hi\n"),
    "path": (
        ["nosuchprog"],
        'exec: "nosuchprog": executable file not found in $PATH',
    ),
    "permission": (["/etc/passwd"], "fork/exec /etc/passwd: permission denied"),
    "folder": (["/tmp"], "fork/exec /tmp: permission denied"),
    "relative": (["./nosuch"], "fork/exec ./nosuch: no such file or directory"),
}


def test_programs_fail_as_captured():
    """Order of outputs, signals and faults at the start are those of Consul."""
    checks = [
        {"check_id": name, "script_args": args, "interval": S}
        for name, (args, _) in PROGRAMS.items()
    ]
    reports = run_checks(checks)["reports"]
    for name, (_, output) in PROGRAMS.items():
        assert reports[name] == ["critical", output]


def test_a_program_has_no_input_and_a_group_of_its_own():
    """Programs read nothing, and lead the process group that can be killed."""
    script = "readlink /proc/self/fd/0; cut -d' ' -f5 /proc/$$/stat; echo $$"
    checks = [{"check_id": "c", "script_args": ["sh", "-c", script], "interval": S}]
    status, output = run_checks(checks)["reports"]["c"]
    stdin, group, program = output.split()
    assert status == "passing"
    assert stdin == "/dev/null"
    assert group == program


def test_a_timeout_kills_the_whole_group(tmp_path):
    """At the timeout children of the program die with it."""
    pid_file = tmp_path / "pid"
    script = f"sleep 50 & echo $! > {pid_file}; echo begin; wait"
    checks = [
        {
            "check_id": "c",
            "script_args": ["sh", "-c", script],
            "interval": S,
            "timeout": S,
        }
    ]
    reports = run_checks(checks)["reports"]
    assert reports["c"] == ["critical", "Timed out (1s) running check\n\nbegin\n"]
    pid = int(pid_file.read_text())
    assert _is_gone_soon(pid)


def test_a_child_that_keeps_the_output_open_delays_the_end():
    """A program is at its end when its output is, as with Consul."""
    checks = [
        {
            "check_id": "c",
            "script_args": ["sh", "-c", "sleep 30 & echo done"],
            "interval": S,
            "timeout": S,
        }
    ]
    reports = run_checks(checks)["reports"]
    assert reports["c"] == ["critical", "Timed out (1s) running check\n\ndone\n"]


def _is_gone_soon(pid):
    """Wait until a process is dead; a dead one may wait for its new parent."""
    for _ in range(100):
        try:
            state = re.sub(r".*\)", "", Path(f"/proc/{pid}/stat").read_text()).split()
        except FileNotFoundError:
            return True
        if state[0] == "Z":
            return True
        time.sleep(0.05)
    os.kill(pid, 9)
    return False
