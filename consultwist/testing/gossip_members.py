"""Gossip members in processes of their own: ours, Serf's and Consul's."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final, Self

from consultwist.testing.processes import free_address, wait_until

_ROOT = Path(__file__).resolve().parents[2]

#: The script that runs one of our members.
_SCRIPT = _ROOT / "tests" / "compat" / "gossip_agent.py"

RESULT_TIMEOUT_S: Final = 30.0


class OurMember:
    """One of our members; commands go in, results and events come out.

    Args:
        folder: where its log goes.
        config: the fields of its PoolConfig that differ, keys as base64.
    """

    def __init__(self, folder: Path, **config: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = config.setdefault("bind_host", free_address(7946, 8301))
        config.setdefault("bind_port", 7946)
        self.name: str = config["name"]
        self.port: int = config["bind_port"]
        self.config = config
        self._log = folder / f"{self.name}.log"
        self._results: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self._count = 0
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_SCRIPT), json.dumps(self.config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
            )
        self._reader = threading.Thread(
            target=self._read, args=(self.process,), daemon=True, name=self.name
        )
        self._reader.start()
        wait_until(self._is_ready, what=f"{self.name} ready, see {self._log}")

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(self._log.read_text(errors="replace")[-2000:])
        return any(event["event"] == "ready" for event in self.events)

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "event" in told:
                self.events.append(told)
            else:
                self._results[told["id"]].put(told)

    def call(self, op: str, **args: Any) -> Any:
        """Do a command and return its result; an error is raised as text."""
        self._count += 1
        number = self._count
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._results[number] = answers
        assert self.process.stdin is not None
        command = {"id": number, "op": op, "args": args}
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        told = answers.get(timeout=RESULT_TIMEOUT_S)
        del self._results[number]
        if "error" in told:
            raise RuntimeError(told["error"])
        return told["result"]

    @property
    def address(self) -> str:
        """Where others join."""
        return f"{self.host}:{self.port}"

    def status(self, name: str) -> int:
        """Return a member's status as this one sees it; 0 where it is unknown."""
        known = self.call("members").get(name)
        return known["status"] if known else 0

    def wait_status(self, name: str, status: int, timeout_s: float = 30.0) -> None:
        """Wait until this member sees another one in a status."""
        wait_until(
            lambda: self.status(name) == status,
            timeout_s,
            f"{self.name} sees {name} as {status}",
        )

    def wait_event(self, timeout_s: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Wait for an event with some fields."""
        found: dict[str, Any] = wait_until(
            lambda: next((e for e in self.events if fields.items() <= e.items()), None),
            timeout_s,
            f"{self.name} hears {fields}",
        )
        return found

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        """Start again with the same configuration."""
        self.events.clear()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.kill()


def find_serf() -> str | None:
    """Return the path of Serf's agent, or None where there is none."""
    return shutil.which("serf")


class SerfAgent:
    """A stock Serf agent.

    Args:
        folder: where its log goes.
        name: its name.
        arguments: more of its command line.
    """

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        serf = find_serf()
        assert serf is not None
        self._serf = serf
        self.name = name
        self.host = free_address(7946, 7373)
        self._log = folder / f"{name}.log"
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        """Start the agent and wait until it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self._serf,
                    "agent",
                    f"-node={self.name}",
                    f"-bind={self.host}:7946",
                    f"-rpc-addr={self.host}:7373",
                    "-log-level=debug",
                    *self._arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self.members, what=f"{self.name} ready, see {self._log}")

    @property
    def address(self) -> str:
        """Where others join."""
        return f"{self.host}:7946"

    def command(self, *words: str) -> str:
        """Run a command of Serf's against this agent; returns its output."""
        done = subprocess.run(
            [self._serf, words[0], f"-rpc-addr={self.host}:7373", *words[1:]],
            capture_output=True,
            text=True,
            timeout=RESULT_TIMEOUT_S,
            check=False,
        )
        return done.stdout + done.stderr

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the members as this agent sees them."""
        try:
            listed = json.loads(self.command("members", "-format=json"))
        except ValueError:
            return {}
        return {member["name"]: member for member in listed["members"]}

    def status(self, name: str) -> str:
        """Return a member's status; empty where it is unknown."""
        known = self.members().get(name)
        return str(known["status"]) if known else ""

    def wait_status(self, name: str, status: str, timeout_s: float = 30.0) -> None:
        """Wait until this agent sees a member in a status."""
        wait_until(
            lambda: self.status(name) == status,
            timeout_s,
            f"{self.name} sees {name} as {status}",
        )

    def log(self) -> str:
        """Return what the agent has logged."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process in good order: it leaves."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(RESULT_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.kill()
