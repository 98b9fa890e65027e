"""Our gossip members in one pool with stock Serf agents."""

import base64
import signal
import time

import pytest

from consultwist.testing.gossip_members import OurMember, SerfAgent, find_serf
from consultwist.testing.processes import wait_until

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(find_serf() is None, reason="no stock Serf agent was found"),
]

ALIVE, LEFT, FAILED = 1, 3, 4
KEY_A = base64.b64encode(bytes(range(32))).decode()
KEY_B = base64.b64encode(bytes(range(40, 56))).decode()


def text(data):
    return base64.b64encode(data).decode()


def ours(folder, name, **config):
    config.setdefault("serf_protocol", 5)
    return OurMember(folder, name=name, **config)


@pytest.fixture
def four(tmp_path):
    """A pool of two stock agents and two of our members."""
    with (
        SerfAgent(tmp_path, "s1") as s1,
        SerfAgent(tmp_path, "s2") as s2,
        ours(tmp_path, "us1") as us1,
        ours(tmp_path, "us2") as us2,
    ):
        for member in (us1, us2):
            member.call("join", addresses=[s1.address])
        s2.command("join", s1.address)
        us1.wait_status("s2", ALIVE)
        for name in ("us1", "us2", "s1"):
            s2.wait_status(name, "alive")
        yield s1, s2, us1, us2


def test_either_side_can_join_and_tags_arrive(tmp_path):
    """We join Serf's agent, it joins ours; each shows the other's tags."""
    with (
        SerfAgent(tmp_path, "s1", "-tag", "color=red") as s1,
        ours(tmp_path, "us1", tags={"role": "db"}) as us1,
        ours(tmp_path, "us2") as us2,
    ):
        assert us1.call("join", addresses=[s1.address]) == 1
        s1.wait_status("us1", "alive")
        us1.wait_status("s1", ALIVE)
        assert s1.members()["us1"]["tags"] == {"role": "db"}
        assert us1.call("members")["s1"]["tags"] == {"color": "red"}
        assert "Successfully joined" in s1.command("join", us2.address)
        us2.wait_status("us1", ALIVE)
        us2.wait_status("s1", ALIVE)
        us1.call("tags", tags={"role": "db", "version": "2"})
        wait_until(lambda: s1.members()["us1"]["tags"].get("version") == "2")
        s1.command("tags", "-set", "color=blue")
        wait_until(lambda: us2.call("members")["s1"]["tags"].get("color") == "blue")


def test_members_stay_alive_under_probes(four):
    """Nobody suspects anybody while all are well."""
    s1, s2, us1, us2 = four
    time.sleep(10)
    for serf in (s1, s2):
        assert {m["status"] for m in serf.members().values()} == {"alive"}
        assert "Suspect" not in serf.log()
    for member in (us1, us2):
        stats = member.call("stats")
        assert stats["health_score"] == "0"
        assert stats["dropped"] == {}
        failed = [e for e in member.events if e["event"] == "member-failed"]
        assert not failed


def test_a_killed_member_is_seen_failed_on_both_sides(four):
    """A member that vanishes fails everywhere; one that comes back is alive again."""
    s1, s2, us1, us2 = four
    us2.kill()
    s2.kill()
    killed_at = time.monotonic()  # noqa: TID251 - real time
    s1.wait_status("us2", "failed")
    us1.wait_status("us2", FAILED)
    # A suspicion in so small a pool lasts four seconds at least; before it a probe.
    assert 4 < time.monotonic() - killed_at < 25  # noqa: TID251
    us1.wait_status("s2", FAILED)
    us2.restart()
    us2.call("join", addresses=[us1.address])
    s1.wait_status("us2", "alive")
    # The new life has jumped over the incarnation under which it was dead.
    assert us2.call("stats")["incarnation"] > 1


def test_a_member_that_stood_still_refutes_its_suspicion(tmp_path):
    """Stopped for three seconds, a member is suspect, and alive when it goes on."""
    with (
        SerfAgent(tmp_path, "s1") as s1,
        ours(tmp_path, "us1") as us1,
        ours(tmp_path, "us2") as us2,
    ):
        for member in (us1, us2):
            member.call("join", addresses=[s1.address])
        s1.wait_status("us2", "alive")
        for stopped in (us2.process, s1.process):
            stopped.send_signal(signal.SIGSTOP)
            time.sleep(3.5)
            stopped.send_signal(signal.SIGCONT)
            time.sleep(2)
        assert "Suspect us2 has failed" in s1.log()
        assert us2.call("stats")["incarnation"] > 1
        time.sleep(4)
        assert s1.status("us2") == "alive"
        us1.wait_status("s1", ALIVE)
        assert not [e for e in us1.events if e["event"] == "member-failed"]


def test_members_meet_over_ipv6(tmp_path):
    """Packets and streams over IPv6, both ways."""
    with (
        SerfAgent(tmp_path, "s1", "-bind=[::1]:7946") as s1,
        ours(tmp_path, "us1", bind_host="::1", bind_port=7947) as us1,
        ours(tmp_path, "us2", bind_host="::1", bind_port=7948) as us2,
    ):
        us1.call("join", addresses=["[::1]:7946"])
        assert "Successfully joined" in s1.command("join", "[::1]:7948")
        us2.wait_status("us1", ALIVE)
        s1.wait_status("us2", "alive")
        time.sleep(4)
        got = us1.call("query", name="load", wants_ack=True, timeout_s=2.0)
        assert set(got["acks"]) == {"s1", "us1", "us2"}
        assert s1.members()["us1"]["addr"] == "[::1]:7947"
        assert us1.call("stats")["dropped"] == {}


def test_user_events_travel_both_ways(tmp_path):
    """An event fired on one side is heard on the other, once."""
    with SerfAgent(tmp_path, "s1") as s1, ours(tmp_path, "us1") as us1:
        us1.call("join", addresses=[s1.address])
        s1.wait_status("us1", "alive")
        us1.call("event", name="deploy", payload=text(b"v42"))
        wait_until(lambda: "user-event: deploy" in s1.log())
        s1.command("event", "restart", "now")
        heard = us1.wait_event(event="user", name="restart")
        assert heard["payload"] == text(b"now")
        time.sleep(2)
        again = [e for e in us1.events if e.get("name") == "restart"]
        assert len(again) == 1


def test_queries_are_asked_and_answered_both_ways(tmp_path):
    """Acks, answers, filters and relays work in both directions."""
    folder = tmp_path / "answer"
    folder.write_text("#!/bin/sh\nprintf 'serf says hi'\n")
    folder.chmod(0o755)
    with (
        SerfAgent(tmp_path, "s1", f"-event-handler=query:load={folder}") as s1,
        ours(tmp_path, "us1", tags={"role": "db"}) as us1,
        ours(tmp_path, "us2") as us2,
    ):
        for member in (us1, us2):
            member.call("join", addresses=[s1.address])
        s1.wait_status("us2", "alive")
        us2.wait_status("us1", ALIVE)
        got = us1.call("query", name="load", wants_ack=True, timeout_s=2.0)
        assert set(got["acks"]) == {"s1", "us1", "us2"}
        assert got["responses"]["s1"] == text(b"serf says hi")
        assert got["responses"]["us2"] == text(b"from us2")
        got = us1.call("query", name="load", nodes=["s1"], timeout_s=2.0)
        assert set(got["responses"]) == {"s1"}
        got = us2.call("query", name="load", tags={"role": "^d"}, timeout_s=2.0)
        assert set(got["responses"]) == {"us1"}
        got = us1.call("query", name="load", relay_factor=2, timeout_s=2.0)
        assert set(got["responses"]) == {"s1", "us1", "us2"}
        asked = s1.command("query", "-timeout=2s", "-format=json", "load", "x")
        assert "from us1" in asked
        assert "from us2" in asked
        tagged = s1.command("query", "-timeout=2s", "-tag", "role=db", "load")
        assert "from us1" in tagged
        assert "from us2" not in tagged
        relayed = s1.command("query", "-timeout=2s", "-relay-factor=1", "load")
        assert "from us1" in relayed


def test_keys_rotate_from_either_side(tmp_path):
    """An encrypted pool changes its key by Serf's command and by ours."""
    ring = tmp_path / "ring.json"
    ring.write_text(f'["{KEY_A}"]')
    with (
        SerfAgent(tmp_path, "s1", f"-keyring-file={ring}") as s1,
        ours(tmp_path, "us1", keys=[KEY_A]) as us1,
    ):
        us1.call("join", addresses=[s1.address])
        s1.wait_status("us1", "alive")
        assert "Successfully" in s1.command("keys", "-install", KEY_B)
        assert "Successfully" in s1.command("keys", "-use", KEY_B)
        assert "Successfully" in s1.command("keys", "-remove", KEY_A)
        listed = us1.call("keyring", operation="list")
        assert listed["keys"] == {KEY_B: 2}
        assert listed["errors"] == 0
        for operation, key in (("install", KEY_A), ("use", KEY_A), ("remove", KEY_B)):
            done = us1.call("keyring", operation=operation, key=key)
            assert (done["responses"], done["errors"]) == (2, 0), operation
        assert KEY_A in ring.read_text()
        assert KEY_B not in ring.read_text()
        refused = us1.call("keyring", operation="remove", key=KEY_A)
        assert refused["errors"] == 2
        s1.wait_status("us1", "alive")


def test_a_pool_without_the_key_is_not_joined(tmp_path):
    """Neither side lets the other in where the keys differ."""
    with (
        SerfAgent(tmp_path, "s1", f"-encrypt={KEY_A}") as s1,
        ours(tmp_path, "us1") as us1,
        ours(tmp_path, "us2", keys=[KEY_B]) as us2,
    ):
        with pytest.raises(RuntimeError, match="encryption is not configured"):
            us1.call("join", addresses=[s1.address])
        with pytest.raises(RuntimeError, match="Failed to join"):
            us2.call("join", addresses=[s1.address])
        assert "Error joining" in s1.command("join", us1.address)
        assert us1.status("s1") == 0


def test_leaving_is_told_from_failing(four):
    """A graceful leave shows as left on both sides, and the name can come back."""
    s1, s2, us1, us2 = four
    us2.call("leave")
    us2.kill()
    s1.wait_status("us2", "left")
    us1.wait_status("us2", LEFT)
    s2.stop()
    us1.wait_status("s2", LEFT)
    assert not [e for e in us1.events if e["event"] == "member-failed"]
    us2.restart()
    us2.call("join", addresses=[s1.address])
    s1.wait_status("us2", "alive")
    us1.wait_status("us2", ALIVE)


def test_failed_members_are_forced_out(tmp_path):
    """Force-leave and prune work from both sides; an alive member refutes."""
    with (
        SerfAgent(tmp_path, "s1") as s1,
        ours(tmp_path, "us1") as us1,
        ours(tmp_path, "us2") as us2,
        ours(tmp_path, "us3") as us3,
    ):
        for member in (us1, us2, us3):
            member.call("join", addresses=[s1.address])
        us1.wait_status("us3", ALIVE)
        s1.command("force-leave", "us1")
        us1.call("force_leave", name="s1")
        time.sleep(2)
        us2.wait_status("us1", ALIVE)
        us2.wait_status("s1", ALIVE)
        us3.kill()
        us2.kill()
        us1.wait_status("us3", FAILED)
        us1.wait_status("us2", FAILED)
        s1.wait_status("us3", "failed")
        us1.call("force_leave", name="us3")
        s1.wait_status("us3", "left")
        s1.command("force-leave", "us2")
        us1.wait_status("us2", LEFT)
        us1.call("force_leave", name="us2", prune=True)
        assert us1.status("us2") == 0


def test_a_snapshot_brings_a_member_back(tmp_path):
    """After a crash a member rejoins by its snapshot and hears no old event."""
    snapshot = str(tmp_path / "serf" / "local.snapshot")
    with (
        SerfAgent(tmp_path, "s1") as s1,
        ours(tmp_path, "us1", snapshot_path=snapshot) as us1,
    ):
        us1.call("join", addresses=[s1.address])
        s1.command("event", "before", "x")
        us1.wait_event(event="user", name="before")
        time.sleep(1)
        us1.kill()
        s1.wait_status("us1", "failed")
        us1.restart()
        us1.wait_status("s1", ALIVE)
        s1.wait_status("us1", "alive")
        s1.command("event", "after", "x")
        us1.wait_event(event="user", name="after")
        assert not [e for e in us1.events if e.get("name") == "before"]
