"""One GossipNode in a process, commanded by lines of JSON; for tests from outside."""

import base64
import json
import random
import sys

from twisted.internet import reactor, stdio  # noqa: TID251 - a program of its own
from twisted.internet.defer import maybeDeferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineReceiver

from consultwist.clock import SystemClock
from consultwist.gossip import config as settings
from consultwist.gossip.config import PoolConfig
from consultwist.gossip.node import GossipNode
from consultwist.gossip.serf.actions import MemberEvent, UserEventReceived
from consultwist.gossip.serf.queries import QueryOptions

TIMINGS = {"lan": settings.CONSUL_LAN, "dev": settings.CONSUL_DEV}
SERF = {"serf": settings.SERF_AGENT, "consul": settings.CONSUL_SERF}


def text(data):
    return base64.b64encode(data).decode()


def make_config(given):
    given = dict(given)
    given["timings"] = TIMINGS[given.pop("timings", "lan")]
    given["serf"] = SERF[given.pop("serf", "serf")]
    given["keys"] = tuple(base64.b64decode(key) for key in given.get("keys", ()))
    return PoolConfig(**given)


class Commands(LineReceiver):
    """Reads commands, writes results and events."""

    delimiter = b"\n"

    def __init__(self, node):
        self.node = node
        node.subscribe(self.heard)

    def tell(self, **what):
        self.sendLine(json.dumps(what).encode())

    def heard(self, event):
        if isinstance(event, MemberEvent):
            names = [member.name for member in event.members]
            self.tell(event=event.kind.value, names=names)
        elif isinstance(event, UserEventReceived):
            body = event.event
            payload = text(body.payload or b"")
            self.tell(event="user", name=body.name, payload=payload, ltime=body.l_time)
        else:
            query = event.query
            self.tell(event="query", name=query.name, payload=text(query.payload))
            self.node.respond(query, b"from " + self.node.config.name.encode())

    def lineReceived(self, line):  # noqa: N802 - Twisted's name
        command = json.loads(line)
        done = maybeDeferred(
            getattr(self, "do_" + command["op"]), **command.get("args", {})
        )
        done.addCallbacks(
            lambda result: self.tell(id=command["id"], result=result),
            lambda failure: self.tell(id=command["id"], error=str(failure.value)),
        )

    def connectionLost(self, reason=None):
        if reactor.running:
            reactor.stop()

    def do_join(self, addresses, ignore_old=True):
        return self.node.join(addresses, ignore_old=ignore_old)

    def do_leave(self):
        return self.node.leave()

    def do_force_leave(self, name, prune=False):
        self.node.force_leave(name, prune=prune)

    def do_members(self):
        return {
            member.name: {"status": member.status, "tags": member.tags}
            for member in self.node.members()
        }

    def do_tags(self, tags):
        self.node.update_tags(tags)

    def do_event(self, name, payload, coalesce=False):
        self.node.user_event(name, base64.b64decode(payload), coalesce=coalesce)

    def do_query(self, name, payload="", **options):
        done = self.node.query(name, base64.b64decode(payload), QueryOptions(**options))
        return done.addCallback(
            lambda result: {
                "acks": result.acks,
                "responses": {k: text(v) for k, v in result.responses.items()},
            }
        )

    def do_keyring(self, operation, key="", relay_factor=0):
        done = self.node.keyring(operation, base64.b64decode(key), relay_factor)
        return done.addCallback(
            lambda found: {
                "members": found.members,
                "responses": found.responses,
                "errors": found.errors,
                "messages": found.messages,
                "keys": found.keys,
                "primary_keys": found.primary_keys,
            }
        )

    def do_stats(self):
        me = self.node.serf.memberlist.table.me
        incarnation = {"incarnation": me.incarnation}
        return {**self.node.stats(), **incarnation, "dropped": dict(self.node.counters)}


def main():
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    config = make_config(json.loads(sys.argv[1]))
    node = GossipNode(reactor, SystemClock(), random.SystemRandom(), config)
    node.startService()
    commands = Commands(node)
    stdio.StandardIO(commands)
    commands.tell(event="ready", port=node.serf.memberlist.table.me.port)
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
