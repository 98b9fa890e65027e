"""A RaftNode and a stock Consul server form one cluster."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from consultwist.testing.processes import find_consul, free_address, wait_until

STOCK = "11111111-0000-4000-8000-000000000001"
OURS = "33333333-0000-4000-8000-000000000050"
PROGRAM = Path(__file__).with_name("raft_server.py")

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(find_consul() is None, reason="no stock Consul was found"),
]


class Stock:
    """A stock server on one data directory."""

    def __init__(self, folder: Path) -> None:
        self.address = free_address(8300, 8301, 8302, 8500)
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, multiplier: int = 1) -> None:
        config = self.folder.with_suffix(".json")
        timing = {"raft_multiplier": multiplier}
        config.write_text(json.dumps({"performance": timing, "ports": {"dns": -1}}))
        command = find_consul()
        assert command is not None
        with self.folder.with_suffix(".log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    command,
                    "agent",
                    "-server",
                    f"-data-dir={self.folder}",
                    f"-bind={self.address}",
                    f"-client={self.address}",
                    "-node=stock",
                    f"-node-id={STOCK}",
                    f"-config-file={config}",
                    *arguments,
                ],
                stdout=output,
                stderr=output,
            )

    def end(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(30)
            self.process = None

    def http(self, method: str, path: str, body: bytes | None = None) -> bytes:
        url = f"http://{self.address}:8500/v1/{path}"
        request = urllib.request.Request(url, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                content: bytes = answer.read()
        except (urllib.error.URLError, OSError):
            return b""
        return content

    def put(self, key: str) -> bool:
        return self.http("PUT", f"kv/{key}", b"value") == b"true"

    def has_our_key(self) -> bool:
        return b"from-consultwist" in self.http("GET", "kv/?keys&stale")


class Ours:
    """Our program, and what it told so far."""

    def __init__(self, address: str, folder: Path) -> None:
        self.told: list[dict[str, object]] = []
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), OURS, address, str(folder)],
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def has_told(self, **what: object) -> bool:
        return what in self.told

    def end(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_a_stock_server_leads_and_follows_a_raft_node(tmp_path: Path) -> None:
    """Snapshot, votes, entries, verification and transfer, in both directions.

    The two are brought together by the stock server's recovery file. Ours is elected
    although the stock server does not know pre-votes.
    """
    stock = Stock(tmp_path / "stock")
    address = f"{free_address(8300)}:8300"
    stock.start("-bootstrap")
    ours = None
    try:
        wait_until(lambda: stock.put("alone"), 30)
        stock.end()
        peers = [
            {"id": STOCK, "address": f"{stock.address}:8300", "non_voter": False},
            {"id": OURS, "address": address, "non_voter": False},
        ]
        (stock.folder / "raft" / "peers.json").write_text(json.dumps(peers))
        ours = Ours(address, tmp_path / "ours")
        wait_until(lambda: ours.has_told(role="started"), 20)

        # The stock server needs our vote, then sends its snapshot and its entries.
        stock.start()
        wait_until(lambda: stock.put("from-stock"), 40)
        assert any("restored" in told for told in ours.told)

        # It is killed, and comes back with timeouts so long that we stand first.
        stock.end(kill=True)
        stock.start(multiplier=10)
        wait_until(lambda: ours.has_told(verified=True), 40)
        assert ours.has_told(key="from-stock")
        wait_until(
            lambda: b"from-consultwist" in stock.http("GET", "kv/?keys&stale"), 20
        )

        # Told to take over, it does so at once, and leads again.
        wait_until(lambda: ours.has_told(transferred=True), 30)
        wait_until(lambda: stock.put("again"), 40)
        wait_until(lambda: ours.has_told(key="again"), 20)
    finally:
        stock.end(kill=True)
        if ours is not None:
            ours.end()
