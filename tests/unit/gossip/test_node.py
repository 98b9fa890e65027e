"""GossipNode: pools as services, over simulated hosts and real files."""

import base64
import itertools
import json
import random
import stat
from typing import Any

import attrs
import pytest
from twisted.internet.protocol import ClientFactory, Protocol

from consultwist.errors import BadRequest, ConfigError, StorageError
from consultwist.gossip.asked import JoinFailed
from consultwist.gossip.config import CONSUL_LAN, PoolConfig
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.messages import Compress
from consultwist.gossip.memberlist.push_pull import encode_state
from consultwist.gossip.node import GossipNode
from consultwist.gossip.serf.actions import (
    MemberEvent,
    MemberEventKind,
    QueryReceived,
    UserEventReceived,
)
from consultwist.gossip.serf.members import MemberStatus
from consultwist.gossip.serf.queries import QueryOptions
from consultwist.gossip.stream import STREAMS_MAX
from consultwist.testing.clock import SimClock
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.testing.lzw import deflate
from consultwist.testing.network import Network
from consultwist.testing.sim_host import SimHost

KEY, OTHER = bytes(range(16)), bytes(range(32))


class World:
    """Hosts on one network, each with one pool member."""

    def __init__(self):
        self.clock = SimClock()
        self.network = Network(self.clock, random.Random(1))
        self.count = 0

    def node(self, name="", host="", **config):
        self.count += 1
        host = host or f"10.0.0.{self.count}"
        machine = self.network.hosts.get(host) or SimHost(self.network, host)
        given = PoolConfig(name=name or f"n{self.count}", bind_host=host)
        node: Any = GossipNode(
            machine,
            self.clock,
            random.Random(self.count),
            attrs.evolve(given, **config),
            random.Random(self.count).randbytes,
        )
        node.heard = []
        node.subscribe(node.heard.append)
        node.machine = machine
        node.startService()
        return node

    def run(self, seconds):
        self.clock.advance(seconds)

    def pool(self, count, **config):
        nodes = [self.node(**config) for _ in range(count)]
        for node in nodes[1:]:
            node.join([nodes[0].config.bind_host])
        self.run(5)
        return nodes


def statuses(node):
    return {member.name: member.status for member in node.members()}


def events(node, kind):
    return [
        member.name
        for event in node.heard
        if isinstance(event, MemberEvent) and event.kind is kind
        for member in event.members
    ]


def test_nodes_join_and_hear_of_each_other():
    """A join counts the addresses that answered; all members are told."""
    world = World()
    first, second = world.node(tags={"role": "db"}), world.node()
    joined = second.join(["10.0.0.1", "10.0.0.1:8301", "10.0.0.99"])
    no_result_of(joined)
    world.run(15)
    assert result_of(joined) == 1
    assert statuses(first) == statuses(second) == {"n1": 1, "n2": 1}
    assert events(first, MemberEventKind.JOIN) == ["n1", "n2"]
    assert second.member("n1").tags == {"role": "db"}
    assert second.member("n1").address == ("10.0.0.1", 8301)
    assert second.me.name == "n2"
    assert first.stats()["members"] == "2"
    assert first.stats()["encrypted"] == "false"


def test_a_join_that_fails_says_why():
    """Every address is named with its reason, in Consul's words."""
    world = World()
    node = world.node()
    SimHost(world.network, "10.0.0.50")
    failed = node.join(["10.0.0.50:8301"])
    world.run(1)
    error = failure_of(failed, JoinFailed)
    assert str(error) == (
        "1 error occurred:\n\t* Failed to join 10.0.0.50: dial tcp 10.0.0.50:8301:"
        " connect: connection refused\n\n"
    )
    failed = node.join(["10.0.0.1:99999"])
    assert "invalid port" in str(failure_of(failed))
    assert result_of(node.join([])) == 0


def test_user_events_and_queries_pass_through():
    """Events reach subscribers; queries bring answers back to the asker."""
    world = World()
    nodes = world.pool(4)
    nodes[0].user_event("deploy", b"v1")
    world.run(3)
    for node in nodes:
        heard = [e for e in node.heard if isinstance(e, UserEventReceived)]
        assert [(e.event.name, e.event.payload) for e in heard] == [("deploy", b"v1")]

    def answer(event):
        if isinstance(event, QueryReceived):
            nodes[2].respond(event.query, b"42")
            with pytest.raises(BadRequest, match="already sent"):
                nodes[2].respond(event.query, b"43")

    end = nodes[2].subscribe(answer)
    seen = []
    options = QueryOptions(wants_ack=True, timeout_s=3)
    asked = nodes[0].query("load", b"?", options, lambda *got: seen.append(got))
    world.run(2)
    no_result_of(asked)
    world.run(2)
    result = result_of(asked)
    assert set(result.acks) == {"n1", "n2", "n3", "n4"}
    assert result.responses == {"n3": b"42"}
    assert ("n3", b"42") in seen
    end()
    with pytest.raises(BadRequest, match="512 bytes before encoding"):
        nodes[0].user_event("x", bytes(600))
    failure_of(nodes[0].query("x", bytes(2000)), BadRequest)


def test_tags_change_everywhere():
    """New tags are told to all; too many are refused."""
    world = World()
    nodes = world.pool(3)
    nodes[1].update_tags({"version": "2"})
    world.run(3)
    assert nodes[0].member("n2").tags == {"version": "2"}
    assert events(nodes[2], MemberEventKind.UPDATE) == ["n2"]
    with pytest.raises(BadRequest, match="exceeds limit of 512 bytes"):
        nodes[0].update_tags({"long": "x" * 600})


def test_a_leave_fires_when_the_pool_knows():
    """A member that leaves stays up until the news is out."""
    world = World()
    nodes = world.pool(3)
    left = nodes[2].leave()
    again = nodes[2].leave()
    no_result_of(left)
    world.run(10)
    result_of(left)
    result_of(again)
    result_of(nodes[2].leave())
    assert statuses(nodes[0])["n3"] == MemberStatus.LEFT
    assert events(nodes[0], MemberEventKind.FAILED) == []
    result_of(nodes[2].stopService())
    world.run(60)
    assert statuses(nodes[1])["n3"] == MemberStatus.LEFT


def test_a_crashed_member_can_be_forced_out_and_pruned():
    """Force-leave turns failed into left; prune forgets."""
    world = World()
    nodes = world.pool(4)
    nodes[3].machine.crash()
    world.run(30)
    assert statuses(nodes[0])["n4"] == MemberStatus.FAILED
    nodes[1].force_leave("n4")
    world.run(3)
    assert all(statuses(n)["n4"] == MemberStatus.LEFT for n in nodes[:3])
    nodes[0].force_leave("n4", prune=True)
    world.run(3)
    assert all("n4" not in statuses(n) for n in nodes[:3])
    assert events(nodes[2], MemberEventKind.REAP) == ["n4"]


def test_keys_rotate_through_the_pool(tmp_path):
    """Install, use, remove and list; the file follows."""
    world = World()
    path = tmp_path / "serf" / "local.keyring"
    nodes = world.pool(3, keys=(KEY,))
    keeper = world.node(keys=(KEY,), keyring_path=str(path))
    assert path.read_text() == json.dumps([base64.b64encode(KEY).decode()])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keeper.join(["10.0.0.1"])
    world.run(3)
    assert nodes[0].stats()["encrypted"] == "true"
    for operation in ("install", "use"):
        done = nodes[0].keyring(operation, OTHER)
        world.run(1)
        found = result_of(done)
        assert (found.members, found.responses, found.errors) == (4, 4, 0)
    done = nodes[1].keyring("remove", KEY)
    world.run(1)
    result_of(done)
    text = base64.b64encode(OTHER).decode()
    assert json.loads(path.read_text()) == [text]
    assert "\n  " in path.read_text()
    listed = nodes[2].keyring("list", relay_factor=2)
    world.run(1)
    found = result_of(listed)
    assert found.keys == found.primary_keys == {text: 4}
    refused = nodes[0].keyring("remove", OTHER)
    world.run(1)
    found = result_of(refused)
    assert found.errors == 4
    assert "Removing the primary key" in found.messages["n1"]
    failure_of(nodes[0].keyring("forge"), BadRequest)
    # A keyring that exists wins over the configuration.
    result_of(keeper.stopService())
    again = world.node(
        host=keeper.config.bind_host, keys=(KEY,), keyring_path=str(path)
    )
    assert again.serf.memberlist.codec.keys.keys == [OTHER]


def test_a_plain_pool_answers_key_operations_with_an_error():
    """Without encryption there is no keyring to change."""
    world = World()
    nodes = world.pool(2)
    for operation, text in (("list", "Keyring is empty"), ("use", "No keyring")):
        done = nodes[0].keyring(operation, KEY)
        world.run(1)
        found = result_of(done)
        assert found.errors == 2
        assert text in found.messages["n2"]


def test_encryption_is_rolled_into_a_running_pool():
    """Keys first, then sending, then insisting: the pool holds at every step."""
    world = World()
    steps: list[dict[str, Any]] = [
        {},
        {"keys": (KEY,), "verify_incoming": False, "verify_outgoing": False},
        {"keys": (KEY,), "verify_incoming": False},
        {"keys": (KEY,)},
    ]
    for older, newer in itertools.pairwise(steps):
        one, other = world.node(**older), world.node(**newer)
        joining = other.join([one.config.bind_host])
        world.run(40)
        assert result_of(joining) == 1
        for node in (one, other):
            alive = [m.name for m in node.members() if m.is_alive]
            assert len(alive) == 2
            assert node.counters == {}


def test_a_broken_keyring_file_stops_the_start(tmp_path):
    """A file that cannot be trusted is not overwritten."""
    path = tmp_path / "keyring"
    for text in ("[]", "{", '["AAAA"]', '["%%"]'):
        path.write_text(text)
        with pytest.raises(StorageError):
            World().node(keyring_path=str(path))


def test_a_snapshot_finds_the_pool_again(tmp_path):
    """After a crash a member rejoins alone; old events are not delivered again."""
    world = World()
    nodes = world.pool(2)
    path = str(tmp_path / "local.snapshot")
    third = world.node("n3", snapshot_path=path)
    third.join(["10.0.0.1"])
    world.run(2)
    nodes[0].user_event("before", b"")
    world.run(3)
    third.machine.crash()
    third._snapshot.close()
    world.run(30)
    third.machine.restart()
    again = world.node("n3", host="10.0.0.3", snapshot_path=path)
    world.run(5)
    assert statuses(again) == {"n1": 1, "n2": 1, "n3": 1}
    assert not [e for e in again.heard if isinstance(e, UserEventReceived)]
    nodes[0].user_event("after", b"")
    world.run(3)
    heard = [e.event.name for e in again.heard if isinstance(e, UserEventReceived)]
    assert heard == ["after"]
    left = again.leave()
    world.run(10)
    result_of(left)
    result_of(again.stopService())
    once_more = world.node("n3", host="10.0.0.3", snapshot_path=path)
    world.run(5)
    assert statuses(once_more) == {"n3": 1}
    result_of(once_more.stopService())


def test_an_unspecified_address_needs_an_advertised_one():
    """What listens everywhere must say where it can be reached."""
    world = World()
    with pytest.raises(ConfigError, match="advertise address"):
        world.node(bind_host="0.0.0.0")
    node = world.node(bind_host="0.0.0.0", advertise_host="10.0.0.2", bind_port=0)
    assert node.serf.memberlist.table.me.port >= 40000


def test_two_pools_cannot_share_a_port():
    """A port that is taken is an error of the configuration."""
    world = World()
    first = world.node()
    with pytest.raises(ConfigError, match="Failed to start TCP listener"):
        world.node(host=first.config.bind_host)


def test_a_subscriber_that_fails_harms_nobody():
    """Other subscribers still hear; the pool goes on."""
    world = World()
    nodes = world.pool(2)

    def broken(_event):
        raise ValueError("mine")

    nodes[0].subscribe(broken)
    nodes[1].user_event("x", b"")
    world.run(2)
    assert any(isinstance(e, UserEventReceived) for e in nodes[0].heard)


def test_stopping_ends_what_waits():
    """Joins and queries in flight are settled, timers are gone."""
    world = World()
    nodes = world.pool(2)
    joining = nodes[0].join(["10.0.0.77"])
    asked = nodes[0].query("x", options=QueryOptions(timeout_s=30))
    result_of(nodes[0].stopService())
    failure_of(joining)
    assert "n1" not in result_of(asked).responses
    world.run(1)
    deadlines = [c for c in nodes[0].machine.getDelayedCalls() if c.getTime() > 100]
    assert deadlines == []


# --- hostile streams ----------------------------------------------------------------


class Attacker(Protocol):
    """Writes some bytes and keeps what comes back."""

    def __init__(self, data):
        self.data = data
        self.received = b""
        self.is_closed = False

    def connectionMade(self):
        assert self.transport is not None
        self.transport.write(self.data)

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason=None):
        self.is_closed = True


class Dial(ClientFactory):
    noisy = False

    def __init__(self, protocol):
        self.protocol_to_use = protocol
        self.is_refused = False

    def buildProtocol(self, addr):
        return self.protocol_to_use

    def clientConnectionFailed(self, connector, reason):
        self.is_refused = True


def attack(world, node, data):
    machine = SimHost(world.network, f"10.9.0.{len(world.network.hosts)}")
    attacker = Attacker(data)
    machine.connectTCP(node.config.bind_host, 8301, Dial(attacker))
    return attacker


def test_stalling_streams_are_closed_at_their_deadline():
    """Whoever dials and says nothing, or half of it, is cut off after ten seconds."""
    world = World()
    node = world.node()
    state = encode_state([], b"", join=False)
    attackers = [attack(world, node, data) for data in (b"", b"\x06", state[:-1])]
    world.run(9)
    assert not any(attacker.is_closed for attacker in attackers)
    world.run(2)
    assert all(attacker.is_closed for attacker in attackers)
    assert len(node._links._listener) == 0
    assert node.counters["gossip: a stream without a message"] == 2


def test_streams_that_claim_too_much_are_closed_at_once():
    """Gigabytes of state, millions of members, unknown types: no growth, no answer."""
    world = World()
    node = world.node()

    def head(**fields):
        return messages.encode(messages.PUSH_PULL, messages.PushPullHeader(**fields))

    attackers = [
        attack(world, node, data)
        for data in (
            head(nodes=1 << 30),
            head(user_state_len=1 << 40),
            b"\x0a\xff\xff\xff\xff",
            b"\xfe\x80",
            b"\x09\x81\xa3Buf\xa3abc",
        )
    ]
    world.run(1)
    assert all(attacker.is_closed for attacker in attackers)
    refused = [attacker.received for attacker in attackers if attacker.received]
    assert all(answer[0] == messages.ERROR for answer in refused)


def test_open_streams_are_bounded():
    """Beyond the bound further streams are refused, not stored."""
    world = World()
    node = world.node()
    for _ in range(STREAMS_MAX + 20):
        attack(world, node, b"\x06")
    world.run(1)
    assert len(node._links._listener) == STREAMS_MAX
    assert node.counters["gossip: too many streams"] == 20


def test_a_large_compressed_state_is_inflated_beside_the_reactor():
    """A member that compresses a large state is understood."""
    world = World()
    node = world.node()
    state = encode_state([], random.Random(1).randbytes(60_000), join=False)
    body = Compress(buf=deflate(state, begins_with_clear=True))
    attacker = attack(world, node, messages.encode(messages.COMPRESS, body))
    world.run(1)
    assert attacker.received[0] == messages.PUSH_PULL
    assert attacker.is_closed


def test_an_encrypted_pool_tells_a_plain_stream_why_it_is_refused():
    """The answer is itself encrypted, as stock members do."""
    world = World()
    node = world.node(keys=(KEY,))
    attacker = attack(world, node, encode_state([], b"", join=True))
    world.run(1)
    assert attacker.received[0] == messages.ENCRYPT
    assert node.counters["gossip: stream refused"] == 1


def test_members_outside_the_allowed_networks_stay_outside():
    """Neither their packets nor their streams come in."""
    world = World()
    inside = world.node(allowed_networks=("10.0.0.0/24",))
    outside = world.node(host="10.1.0.1")
    joining = outside.join(["10.0.0.1"])
    world.run(15)
    failure_of(joining)
    assert set(statuses(inside)) == {"n1"}
    assert inside.counters["gossip: source not allowed"] >= 1
    with pytest.raises(ConfigError):
        world.node(allowed_networks=("nonsense",))


def test_a_calm_pool_costs_one_timer_a_second():
    """Two members that have nothing to tell probe each other, and no more."""
    world = World()
    nodes = world.pool(2)
    world.run(60)
    turns: list[float] = []
    original = nodes[0].serf.handle_timer

    def counted(now):
        turns.append(now)
        original(now)

    nodes[0].serf.handle_timer = counted
    before = world.network.packets_sent
    world.run(100)
    assert len(turns) <= 106
    assert world.network.packets_sent - before <= 2 * 2 * 102
    assert nodes[0].config.timings == CONSUL_LAN
