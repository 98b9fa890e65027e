"""What a user's program does with a Python client library of Consul.

Run as a program with the name of a scenario and the address of an agent, in a process
where ``import consul`` finds the library to be tried. An answer that is not what the
library's documentation promises ends it with a traceback.
"""

import sys
import threading

import consul


def follow(read, is_right, *args, **options):
    """Read with blocking queries until the answer is right, and return it."""
    index = None
    for _ in range(20):
        index, found = read(*args, index=index, wait="5s", **options)
        if is_right(found):
            return found
    raise AssertionError(f"{args} stayed at {found}")


def register_and_discover(client):
    """Services are registered, found while healthy, and taken away."""
    for number in (1, 2):
        assert client.agent.service.register(
            "web",
            service_id=f"web-{number}",
            port=8000 + number,
            tags=["v1"],
            check=consul.Check.ttl("60s"),
        )
    assert set(client.agent.services()) == {"web-1", "web-2"}
    follow(client.catalog.service, lambda rows: len(rows) == 2, "web", tag="v1")
    assert client.health.service("web", passing=True)[1] == []
    assert client.agent.check.ttl_pass("service:web-1", "well")
    (found,) = follow(client.health.service, len, "web", passing=True)
    assert (found["Service"]["ID"], found["Service"]["Port"]) == ("web-1", 8001)
    assert client.agent.check.ttl_fail("service:web-1", "gone")
    follow(client.health.service, lambda rows: rows == [], "web", passing=True)
    checks = {row["CheckID"]: row for row in client.health.checks("web")[1]}
    assert checks["service:web-1"]["Output"] == "gone"
    assert client.catalog.services()[1]["web"] == ["v1"]
    assert client.agent.service.maintenance("web-2", "true", "upgrade")
    assert client.agent.service.maintenance("web-2", "false")
    for number in (1, 2):
        assert client.agent.service.deregister(f"web-{number}")
    follow(client.catalog.services, lambda services: "web" not in services)


def store_keys(client):
    """Keys are written, read, listed, guarded by an index, and deleted."""
    assert client.kv.get("app/none") == (client.kv.get("app/none")[0], None)
    assert client.kv.put("app/a", "one", flags=7)
    assert client.kv.put("app/b/c", b"\x00\xff")
    index, row = client.kv.get("app/a")
    assert (row["Value"], row["Flags"]) == (b"one", 7)
    assert int(index) >= row["ModifyIndex"]
    rows = client.kv.get("app/", recurse=True)[1]
    assert [(each["Key"], each["Value"]) for each in rows] == [
        ("app/a", b"one"),
        ("app/b/c", b"\x00\xff"),
    ]
    assert client.kv.get("app/", keys=True, separator="/")[1] == ["app/a", "app/b/"]
    assert client.kv.put("app/a", "two", cas=row["ModifyIndex"]) is True
    assert client.kv.put("app/a", "three", cas=row["ModifyIndex"]) is False
    assert client.kv.delete("app/a", cas=row["ModifyIndex"]) is False
    assert client.kv.delete("app/", recurse=True) is True
    assert client.kv.get("app/", recurse=True)[1] is None


def block(client):
    """A read with an index returns when the value changes, or after its wait."""
    client.kv.put("blocked", "before")
    index, _ = client.kv.get("blocked")
    assert client.kv.get("blocked", index=index, wait="100ms")[0] == index
    change = threading.Timer(0.2, client.kv.put, ("blocked", "after"))
    change.start()
    later, row = client.kv.get("blocked", index=index, wait="30s")
    assert (row["Value"], int(later) > int(index)) == (b"after", True)
    change.join()
    index, rows = client.health.service("blocked")
    assert rows == []
    change = threading.Timer(0.2, client.agent.service.register, ("blocked",))
    change.start()
    _, (row,) = client.health.service("blocked", index=index, wait="30s")
    assert row["Service"]["Service"] == "blocked"
    change.join()
    client.agent.service.deregister("blocked")


def sessions(client):
    """Sessions are made, shown, renewed, listed and destroyed."""
    session = client.session.create(name="s", ttl=10, behavior="delete", lock_delay=0)
    shown = client.session.info(session)[1]
    assert (shown["Name"], shown["TTL"], shown["Behavior"]) == ("s", "10s", "delete")
    assert client.session.renew(session)["ID"] == session
    assert session in [row["ID"] for row in client.session.list()[1]]
    assert session in [row["ID"] for row in client.session.node(shown["Node"])[1]]
    assert client.session.destroy(session) is True
    assert client.session.info(session)[1] is None
    try:
        client.session.renew(session)
    except consul.NotFound:
        return
    raise AssertionError("a session that is gone was renewed")


def lock(client):
    """One session at a time holds a key; the key is free when the session ends."""
    client.kv.delete("lock")
    first, second = (client.session.create(lock_delay=0) for _ in range(2))
    assert client.kv.put("lock", "first", acquire=first) is True
    assert client.kv.put("lock", "second", acquire=second) is False
    index, row = client.kv.get("lock")
    assert (row["Session"], row["Value"]) == (first, b"first")
    release = threading.Timer(0.2, client.session.destroy, (first,))
    release.start()
    assert "Session" not in client.kv.get("lock", index=index, wait="30s")[1]
    release.join()
    assert client.kv.put("lock", "second", acquire=second) is True
    assert client.kv.put("lock", "done", release=second) is True
    client.session.destroy(second)
    assert client.kv.get("lock")[1]["LockIndex"] == 2


def look_around(client):
    """The cluster, its members, events and transactions are within reach."""
    assert client.status.leader()
    assert len(client.status.peers()) == 1
    assert client.catalog.datacenters() == ["dc1"]
    (node,) = client.catalog.nodes()[1]
    assert [member["Name"] for member in client.agent.members()] == [node["Node"]]
    assert client.agent.self()["Config"]["Datacenter"] == "dc1"
    fired = client.event.fire("deploy", "v2")
    assert fired["ID"] in [event["ID"] for event in client.event.list("deploy")[1]]
    done = client.txn.put([{"KV": {"Verb": "set", "Key": "t", "Value": "dGVzdA=="}}])
    assert done["Results"][0]["KV"]["Key"] == "t"
    assert client.kv.get("t")[1]["Value"] == b"test"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        register_and_discover,
        store_keys,
        block,
        sessions,
        lock,
        look_around,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](consul.Consul(host=sys.argv[2], port=8500))
