"""One RaftNode in a process; lines of JSON tell what happens to it."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import msgpack
from twisted.internet import reactor  # noqa: TID251 - a program of its own
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, ServerFactory

from consultwist.clock import SystemClock
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.disk import DiskStorage
from consultwist.raft.transport import RaftTransport

KVS_COMMAND = b"\x02"


def tell(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class KeysFSM:
    """Remembers the keys that are written, and whether a snapshot was restored."""

    def apply_batch(self, entries):
        for entry in entries:
            if entry.data[:1] == KVS_COMMAND:
                request = msgpack.unpackb(entry.data[1:], raw=True)
                tell(key=request[b"DirEnt"][b"Key"].decode())
        return [entry.index for entry in entries]

    def snapshot(self):
        return iter([msgpack.packb({"LastIndex": 0})])

    def restore(self, chunks):
        tell(restored=len(b"".join(chunks)))


class Accepted(Protocol):
    """Reads the first byte, then hands the stream to Raft."""

    inner = None

    def dataReceived(self, data):
        if self.inner is None:
            if data[:1] != b"\x01":
                assert self.transport is not None
                self.transport.loseConnection()
                return
            self.inner = transport.server_protocol()
            self.inner.makeConnection(self.transport)
            data = data[1:]
        if data:
            self.inner.dataReceived(data)

    def connectionLost(self, reason=None):
        if self.inner is not None:
            self.inner.connectionLost(reason)


def connect(address, protocol):
    """Open a stream that begins with the byte for Raft."""
    host, port = address.split(":")
    made = protocol.connectionMade

    def connection_made():
        protocol.transport.write(b"\x01")
        made()

    protocol.connectionMade = connection_made
    endpoint = TCP4ClientEndpoint(reactor, host, int(port), timeout=5)
    return connectProtocol(endpoint, protocol)


def write(key):
    """Propose what a stock server understands as writing a key."""
    entry = {
        "CreateIndex": 0,
        "Flags": 0,
        "Key": key,
        "LockIndex": 0,
        "ModifyIndex": 0,
        "Session": "",
        "Value": b"value",
    }
    command = {"Datacenter": "dc1", "DirEnt": entry, "Op": "set", "Token": ""}
    packed = msgpack.packb(command, use_bin_type=False)
    return node.propose(KVS_COMMAND + packed)


def lead():
    """Write a key, verify, and hand leadership over."""
    tell(role="leader")
    done = write("from-consultwist")
    done.addCallback(lambda _: node.verify_leader())
    done.addCallback(lambda _: tell(verified=True))
    done.addCallback(lambda _: reactor.callLater(2, hand_over))
    done.addErrback(lambda failure: tell(error=str(failure.value)))


def hand_over():
    done = node.transfer_leadership()
    done.addCallback(lambda _: tell(transferred=True))
    done.addErrback(lambda failure: tell(error=str(failure.value)))


server_id, address, folder = sys.argv[1:]
clock = SystemClock()
transport = RaftTransport(reactor, clock, connect)
node = RaftNode(
    reactor,
    clock,
    random.Random(),
    identity=Identity(server_id=server_id, address=address),
    settings=RaftSettings(),
    storage=DiskStorage(reactor, Path(folder), random.Random()),
    transport=transport,
    fsm=KeysFSM(),
)
node.observe_leadership(lead, lambda: tell(role="follower"))
interface, port = address.split(":")
factory: Any = ServerFactory.forProtocol(Accepted)
reactor.listenTCP(int(port), factory, interface=interface)
reactor.callWhenRunning(node.startService)
reactor.callWhenRunning(tell, role="started")
reactor.run()
