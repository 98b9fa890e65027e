"""What gossip costs: CPU for a packet, CPU for an idle agent in a pool of a thousand.

    python benchmarks/gossip.py [--idle SECONDS]

The idle figure comes from a real process: one GossipNode on real sockets whose pool of
1000 is simulated in another process at production rates, a probe a second each way.
"""

import argparse
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import time
import zlib

from twisted.internet.protocol import Protocol

from consultwist.clock import SystemClock
from consultwist.gossip.config import CONSUL_LAN, PoolConfig
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.messages import Ack, Alive, Compress, Ping
from consultwist.gossip.memberlist.packet import PacketCodec, compound
from consultwist.gossip.memberlist.push_pull import encode_state
from consultwist.gossip.memberlist.stream import StreamReader
from consultwist.gossip.node import GossipNode
from consultwist.gossip.serf.coordinate import encode_payload, origin
from consultwist.gossip.serf.core import Serf
from consultwist.gossip.serf.members import encode_tags
from consultwist.testing.lzw import deflate

KEY = bytes(range(32))
VSN = bytes((1, 5, 2, 2, 5, 4))
SOURCE = ("10.0.0.9", 8301)
TAGS = {
    "role": "node",
    "dc": "dc1",
    "segment": "",
    "id": "dda80d1d-c935-426c-a32d-36093eae5f68",
    "vsn": "2",
    "vsn_min": "2",
    "vsn_max": "3",
    "build": "1.8.7:",
    "acls": "0",
}
#: Where the idle measurement takes place.
HOST = "127.73.0.40"


def alive(number: int, incarnation: int = 1) -> bytes:
    """Return the alive message of a Consul client agent."""
    body = Alive(
        incarnation=incarnation,
        node=f"node-{number}",
        addr=struct.pack(">I", (10 << 24) + number + 1),
        port=8301,
        meta=encode_tags(TAGS),
        vsn=VSN,
    )
    return messages.encode(messages.ALIVE, body)


def new_core(*keys: bytes) -> Serf:
    """Return a core in a pool of a thousand."""
    config = PoolConfig(name="me", tags=TAGS, timings=CONSUL_LAN)
    core = Serf(config, ("10.9.0.1", 8301), Keyring(keys), random.Random(1))
    core.start(0.0)
    codec = core.memberlist.codec
    for number in range(1000):
        core.receive_packet(codec.seal(alive(number)), SOURCE, 0.0)
    core.take_actions()
    quieten(core)
    return core


def quieten(core: Serf) -> None:
    """Empty the broadcasts, as after a minute of calm."""
    while core.memberlist.queue.take(2, 1 << 30, 1 << 30):
        pass


def crc(message: bytes) -> bytes:
    """Return a message with its checksum."""
    return b"\x0c" + struct.pack(">I", zlib.crc32(message)) + message


def compressed(message: bytes) -> bytes:
    """Return a message as a stock member compresses it."""
    body = Compress(buf=deflate(message, begins_with_clear=False))
    return messages.encode(messages.COMPRESS, body)


def cost_us(core: Serf, packet: bytes, count: int = 3000) -> float:
    """Return the CPU time of taking a packet and its answers, in microseconds."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(count):
            core.receive_packet(packet, SOURCE, 1.0)
            core.take_actions()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def report_packets() -> None:
    """Print the cost of each kind of packet."""
    ping = messages.encode(
        messages.PING,
        Ping(
            seq_no=7,
            node="me",
            source_addr=b"\x0a\0\0\x02",
            source_port=8301,
            source_node="node-1",
        ),
    )
    payload = encode_payload(origin())
    ack = messages.encode(messages.ACK, Ack(seq_no=123456, payload=payload))
    old = compound([alive(number) for number in range(5)])
    event = b"\x08\x03\x84\xa2CC\xc2\xa5LTime\x01\xa4Name\xa1x\xa7Payload\xa1y"
    cases = {
        "ping, answered by an ack": ping,
        "ack of nothing": ack,
        "alive that is no news": alive(5),
        "compound of five alive": old,
        "the same with checksum": crc(old),
        "the same, compressed and with checksum": crc(compressed(old)),
        "user event seen before": event,
    }
    print("| packet | plain, µs | encrypted, µs |")
    print("| --- | --- | --- |")
    for name, packet in cases.items():
        plain, locked = new_core(), new_core(KEY)
        sealed = PacketCodec(Keyring([KEY])).seal(packet)
        print(
            f"| {name} ({len(packet)} B) | {cost_us(plain, packet):.1f}"
            f" | {cost_us(locked, sealed):.1f} |"
        )


def report_exchange() -> None:
    """Print the cost of a full exchange of a thousand members."""
    core = new_core()
    table = list(core.memberlist.table)
    began = time.process_time()
    state = encode_state(table, core._user_state(False), join=False)
    wrote = time.process_time()
    message = StreamReader(core.memberlist.codec, is_dialing=False).feed(state)
    read = time.process_time()
    core.receive_request("s", message, SOURCE, 1.0)  # type: ignore[arg-type]
    done = time.process_time()
    print(
        f"\nA state of 1000 members, {len(state) // 1000} kB: written in"
        f" {(wrote - began) * 1e3:.1f} ms, read in {(read - wrote) * 1e3:.1f},"
        f" answered and merged in {(done - read) * 1e3:.1f}."
    )


def run_agent() -> None:
    """Run one member on real sockets until the input ends; print its CPU time."""
    # Only the process of the agent needs a reactor.
    from twisted.internet import reactor, stdio  # noqa: PLC0415

    reactor.seconds = time.monotonic  # type: ignore[attr-defined]
    config = PoolConfig(name="me", bind_host=HOST, tags=TAGS, keys=(KEY,))
    node = GossipNode(reactor, SystemClock(), random.Random(1), config)
    node.startService()
    codec = node.serf.memberlist.codec
    for number in range(1000):
        message = alive(number).replace(
            struct.pack(">I", (10 << 24) + number + 1), socket.inet_aton(HOST), 1
        )
        data = message.replace(b"\xcd\x20\x6d", b"\xcd\x20\x6e", 1)
        node._packet_received(codec.seal(data), SOURCE)
    quieten(node.serf)
    turns = [0]
    original = node.serf.handle_timer

    def counted(now: float) -> None:
        turns[0] += 1
        original(now)

    node.serf.handle_timer = counted  # type: ignore[method-assign]

    class Input(Protocol):
        def dataReceived(self, data: bytes) -> None:  # noqa: ARG002
            usage = resource.getrusage(resource.RUSAGE_SELF)
            print(usage.ru_utime + usage.ru_stime, turns[0], flush=True)

        def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002
            reactor.stop()  # type: ignore[attr-defined]

    stdio.StandardIO(Input())
    print("ready", flush=True)
    reactor.run()  # type: ignore[attr-defined]


def answer_probes(pool: socket.socket, seconds: float) -> int:
    """Be 1000 members for a while: answer probes, and probe once a second."""
    codec = PacketCodec(Keyring([KEY]))
    ends_at = time.monotonic() + seconds
    probe_at, handled, number = time.monotonic(), 0, 0
    payload = encode_payload(origin())
    while (now := time.monotonic()) < ends_at:
        if now >= probe_at:
            probe_at += 1.0
            number += 1
            ping = Ping(
                seq_no=number,
                node="me",
                source_addr=socket.inet_aton(HOST),
                source_port=8302,
                source_node=f"node-{number % 1000}",
            )
            message = messages.encode(messages.PING, ping)
            pool.sendto(codec.seal(message), (HOST, 8301))
        pool.settimeout(max(0.001, min(probe_at, ends_at) - time.monotonic()))
        try:
            packet, source = pool.recvfrom(65536)
        except TimeoutError:
            continue
        handled += 1
        for inner in codec.unpack(packet):
            if inner[0] == messages.PING:
                seq_no = messages.decode(Ping, inner[1:]).seq_no
                ack = messages.encode(messages.ACK, Ack(seq_no=seq_no, payload=payload))
                pool.sendto(codec.seal(ack), source)
    return handled


def report_idle(seconds: float) -> None:
    """Print what an idle agent costs."""
    pool = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    pool.bind((HOST, 8302))
    agent = subprocess.Popen(
        [sys.executable, __file__, "--agent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert agent.stdin is not None
    assert agent.stdout is not None

    def usage() -> tuple[float, int]:
        agent.stdin.write("\n")  # type: ignore[union-attr]
        agent.stdin.flush()  # type: ignore[union-attr]
        cpu, turns = agent.stdout.readline().split()  # type: ignore[union-attr]
        return float(cpu), int(turns)

    try:
        assert agent.stdout.readline() == "ready\n"
        answer_probes(pool, 15)
        before, turns_before = usage()
        handled = answer_probes(pool, seconds)
        after, turns = usage()
    finally:
        agent.kill()
        agent.wait()
    print(
        f"\nIdle in a pool of 1000, encrypted, {seconds:.0f} s:"
        f" {(after - before) / seconds:.3%} of a core,"
        f" {handled / seconds:.1f} packets sent"
        f" and {(turns - turns_before) / seconds:.2f} timer turns a second."
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--agent", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agent:
        run_agent()
        return
    report_packets()
    report_exchange()
    if given.idle:
        report_idle(given.idle)


if __name__ == "__main__":
    main()
