"""The stock command line, version 1.8.7, drives our agent as it drives its own."""

import base64
import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from consultwist.testing.processes import RunningAgent, find_consul, wait_until

CONSUL = find_consul()

pytestmark = [
    pytest.mark.compat,
    pytest.mark.blackbox,
    pytest.mark.skipif(CONSUL is None, reason="no stock Consul is on this machine"),
]

OURS = [sys.executable, "-m", "consultwist.cli.main"]

#: How long one run of the command may take.
RUN_TIMEOUT_S = 20.0


class CLI:
    """The stock command, told where our agent is."""

    def __init__(self, agent):
        self.agent = agent
        self.env = os.environ | {
            "CONSUL_HTTP_ADDR": f"{agent.address}:8500",
            "CONSUL": str(CONSUL),
        }

    def __call__(self, *args, stdin=None, code=0):
        """Run the command and return what it printed; the exit code must be right."""
        done = subprocess.run(
            [str(CONSUL), *args],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, f"consul {args}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, output, *args):
        """Start a command that goes on, and writes what it says into a file."""
        with output.open("wb") as file:
            return subprocess.Popen(
                [str(CONSUL), *args],
                env=self.env,
                stdout=file,
                stderr=subprocess.STDOUT,
            )


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """One agent that all tests but those that end it share."""
    folder = tmp_path_factory.mktemp("agent")
    command = [*OURS, "agent"]
    with RunningAgent(folder, {"node_name": "one"}, command=command) as running:
        wait_until(lambda: running.http("GET", "/v1/catalog/nodes").json)
        yield running


@pytest.fixture(scope="module")
def consul(agent):
    """The stock command."""
    return CLI(agent)


def stop(command):
    """Stop a command that goes on."""
    command.terminate()
    command.wait(RUN_TIMEOUT_S)


# --- kv -------------------------------------------------------------------------------


def test_kv_put_get_delete(consul):
    """A value is written, read, shown in detail and deleted."""
    assert consul("kv", "put", "app/color", "blue") == (
        "Success! Data written to: app/color\n"
    )
    assert consul("kv", "get", "app/color") == "blue\n"
    lines = consul("kv", "get", "-detailed", "app/color").splitlines()
    detail = dict(line.split() for line in lines)
    assert detail["Key"] == "app/color"
    assert detail["Flags"] == "0"
    assert detail["LockIndex"] == "0"
    assert detail["Session"] == "-"
    assert detail["Value"] == "blue"
    assert int(detail["ModifyIndex"]) == int(detail["CreateIndex"]) > 0
    assert consul("kv", "delete", "app/color") == "Success! Deleted key: app/color\n"
    assert consul("kv", "get", "app/color", code=1) == (
        "Error! No key exists at: app/color\n"
    )


def test_kv_values_from_files_standard_input_and_base64(consul, tmp_path):
    """Bytes arrive unchanged, whatever way they take."""
    value = bytes(range(256))
    file = tmp_path / "value"
    file.write_bytes(value)
    consul("kv", "put", "in/file", f"@{file}")
    assert consul.agent.http("GET", "/v1/kv/in/file?raw").body == value
    shown = consul("kv", "get", "-base64", "in/file").strip()
    assert base64.b64decode(shown) == value
    consul("kv", "put", "in/stdin", "-", stdin="from a pipe")
    assert consul("kv", "get", "in/stdin") == "from a pipe\n"
    consul("kv", "put", "-base64", "in/encoded", base64.b64encode(b"wrapped").decode())
    assert consul("kv", "get", "in/encoded") == "wrapped\n"
    consul("kv", "put", "in/empty")
    assert consul.agent.http("GET", "/v1/kv/in/empty").json[0]["Value"] is None


def test_kv_lists_trees_and_keys(consul):
    """Trees are read, listed by level and deleted, and nothing beside them."""
    for key in ("tree/a", "tree/b/c", "tree/b/d", "treetop"):
        consul("kv", "put", key, key.upper())
    assert consul("kv", "get", "-recurse", "tree/") == (
        "tree/a:TREE/A\ntree/b/c:TREE/B/C\ntree/b/d:TREE/B/D\n"
    )
    assert consul("kv", "get", "-keys", "tree/") == "tree/a\ntree/b/\n"
    assert consul("kv", "get", "-keys", "-separator=", "tree/") == (
        "tree/a\ntree/b/c\ntree/b/d\n"
    )
    consul("kv", "delete", "-recurse", "tree/")
    assert consul("kv", "get", "-keys", "tree") == "treetop\n"


def test_kv_check_and_set(consul):
    """A write or delete with an index goes through only where the index fits."""
    consul("kv", "put", "cas/key", "first")
    assert consul("kv", "put", "-cas", "-modify-index=1", "cas/key", "x", code=1) == (
        "Error! Did not write to cas/key: CAS failed\n"
    )
    index = consul.agent.http("GET", "/v1/kv/cas/key").json[0]["ModifyIndex"]
    consul("kv", "put", "-cas", f"-modify-index={index}", "cas/key", "second")
    stale = ("kv", "delete", "-cas", f"-modify-index={index}", "cas/key")
    assert "CAS failed" in consul(*stale, code=1)
    assert consul("kv", "get", "cas/key") == "second\n"
    index = consul.agent.http("GET", "/v1/kv/cas/key").json[0]["ModifyIndex"]
    consul("kv", "delete", "-cas", f"-modify-index={index}", "cas/key")
    consul("kv", "get", "cas/key", code=1)


def test_kv_flags(consul):
    """Flags of 64 bits are kept."""
    consul("kv", "put", "-flags=18446744073709551615", "flags/key", "x")
    assert "18446744073709551615" in consul("kv", "get", "-detailed", "flags/key")


def test_kv_locks(consul):
    """A key is acquired and released with a session, and refused to another."""
    sessions = [
        consul.agent.http("PUT", "/v1/session/create", {"LockDelay": "0s"}).json["ID"]
        for _ in range(2)
    ]
    held = ("kv", "put", "-acquire", f"-session={sessions[0]}", "locks/key", "mine")
    assert "Success! Lock acquired on: locks/key" in consul(*held)
    assert sessions[0] in consul("kv", "get", "-detailed", "locks/key")
    other = ("kv", "put", "-acquire", f"-session={sessions[1]}", "locks/key", "x")
    assert "Did not acquire lock" in consul(*other, code=1)
    done = ("kv", "put", "-release", f"-session={sessions[0]}", "locks/key", "done")
    assert "Success! Lock released on: locks/key" in consul(*done)
    assert "Success! Lock acquired on" in consul(*other)


def test_kv_export_and_import(consul, tmp_path):
    """What was exported is imported again, flags and bytes included."""
    consul("kv", "put", "-flags=7", "export/one", "1")
    consul("kv", "put", "export/two", "zwei")
    exported = consul("kv", "export", "export/")
    assert [(row["key"], row["flags"]) for row in json.loads(exported)] == [
        ("export/one", 7),
        ("export/two", 0),
    ]
    consul("kv", "delete", "-recurse", "export/")
    assert consul("kv", "import", "-", stdin=exported) == (
        "Imported: export/one\nImported: export/two\n"
    )
    assert consul("kv", "export", "export/") == exported
    consul("kv", "delete", "-recurse", "export/")
    file = tmp_path / "export.json"
    file.write_text(exported)
    consul("kv", "import", f"@{file}")
    assert consul("kv", "get", "export/two") == "zwei\n"


# --- catalog and services -------------------------------------------------------------


def table(text):
    """Return the rows of a table, each as its words."""
    return [line.split() for line in text.splitlines()]


def test_catalog_lists(consul):
    """Datacenters, nodes and services are listed."""
    address = consul.agent.address
    assert consul("catalog", "datacenters") == "dc1\n"
    head, row = table(consul("catalog", "nodes"))
    assert head == ["Node", "ID", "Address", "DC"]
    assert (row[0], row[2:]) == ("one", [address, "dc1"])
    assert f"lan={address}" in consul("catalog", "nodes", "-detailed")
    assert "consul" in consul("catalog", "services").split()
    near = table(consul("catalog", "nodes", "-near=_agent"))
    assert [row[0] for row in near] == ["Node", "one"]
    found = consul("catalog", "nodes", '-filter=Node == "one"', "-service=consul")
    assert [row[0] for row in table(found)] == ["Node", "one"]
    assert "No nodes match the given query" in consul(
        "catalog", "nodes", "-node-meta=rack=none"
    )


def test_services_register_and_deregister(consul, tmp_path):
    """Services come from flags and files, and go by id or by file."""
    consul("services", "register", "-name=api", "-id=api-1", "-port=80", "-tag=v1")
    definition = tmp_path / "db.hcl"
    definition.write_text(
        'service { name = "db" port = 5432 tags = ["primary"] '
        'check { ttl = "30s" status = "passing" } }'
    )
    assert consul("services", "register", str(definition)) == "Registered service: db\n"
    shown = table(consul("catalog", "services", "-tags"))
    listed = {row[0]: row[1:] for row in shown}
    assert (listed["api"], listed["db"]) == (["v1"], ["primary"])
    nodes = table(consul("catalog", "nodes", "-service=db"))
    assert [row[0] for row in nodes] == ["Node", "one"]
    (check,) = consul.agent.http("GET", "/v1/health/checks/db").json
    assert (check["CheckID"], check["Status"]) == ("service:db", "passing")
    consul("services", "deregister", str(definition))
    assert consul("services", "deregister", "-id=api-1") == (
        "Deregistered service: api-1\n"
    )
    left = consul("catalog", "services").split()
    assert not {"api", "db"} & set(left)


# --- watch ----------------------------------------------------------------------------


@pytest.fixture
def recorder(tmp_path):
    """A program that keeps what a watch gives it, and where."""
    folder = tmp_path / "seen"
    folder.mkdir()
    script = tmp_path / "keep.sh"
    script.write_text(
        "#!/bin/sh\n"
        f"cat > {folder}/$CONSUL_INDEX.part\n"
        f"mv {folder}/$CONSUL_INDEX.part {folder}/$CONSUL_INDEX.json\n"
    )
    script.chmod(0o755)
    return folder, script


def seen(folder):
    """Return everything that a watch has given so far, oldest first."""
    files = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in files]


def watched(consul, recorder, args, change, is_told):
    """Watch, change something, and wait until the program was told of it."""
    folder, script = recorder
    output = folder.with_suffix(".out")
    watch = consul.start(output, "watch", *args, shlex.quote(str(script)))
    try:
        wait_until(lambda: seen(folder), RUN_TIMEOUT_S, "the first answer of a watch")
        change()
        wait_until(lambda: any(map(is_told, seen(folder))), RUN_TIMEOUT_S, "a change")
    finally:
        stop(watch)
    assert output.read_text() == ""


def test_watch_key(consul, recorder):
    """A program is run when a key changes."""
    consul("kv", "put", "watched/key", "before")
    watched(
        consul,
        recorder,
        ["-type=key", "-key=watched/key"],
        lambda: consul("kv", "put", "watched/key", "after"),
        lambda row: row["Value"] == base64.b64encode(b"after").decode(),
    )


def test_watch_service(consul, recorder):
    """A program is run when an instance of a service comes."""
    consul("services", "register", "-name=seen", "-id=seen-1", "-port=1")
    watched(
        consul,
        recorder,
        ["-type=service", "-service=seen"],
        lambda: consul("services", "register", "-name=seen", "-id=seen-2", "-port=2"),
        lambda rows: {row["Service"]["Port"] for row in rows} == {1, 2},
    )


def test_watch_checks(consul, recorder):
    """A program is run when a check changes its status."""
    consul.agent.http(
        "PUT",
        "/v1/agent/check/register",
        {"Name": "watched", "TTL": "300s", "Status": "passing"},
    )
    watched(
        consul,
        recorder,
        ["-type=checks", "-state=any"],
        lambda: consul.agent.http("PUT", "/v1/agent/check/fail/watched?note=oh"),
        lambda rows: (
            ("watched", "critical", "oh")
            in [(row["CheckID"], row["Status"], row["Output"]) for row in rows]
        ),
    )


def test_watch_event(consul, recorder):
    """A program is run when a user event was fired."""
    folder, script = recorder
    output = folder.with_suffix(".out")
    watch = consul.start(output, "watch", "-type=event", "-name=deploy", str(script))
    try:
        wait_until(lambda: seen(folder), RUN_TIMEOUT_S, "the first answer of a watch")
        fired = consul("event", "-name=deploy", "v2")
        assert fired.startswith("Event ID: ")
        wait_until(lambda: any(seen(folder)), RUN_TIMEOUT_S, "an event")
    finally:
        stop(watch)
    events = next(rows for rows in seen(folder) if rows)
    assert (events[0]["Name"], events[0]["ID"]) == ("deploy", fired.split()[-1])
    assert base64.b64decode(events[0]["Payload"]) == b"v2"


# --- lock -----------------------------------------------------------------------------


def test_lock_runs_a_command_while_it_holds_the_lock(consul):
    """The command finds the lock held, and afterwards it is free."""
    show = f"{CONSUL} kv get -detailed lock/one/.lock"
    output = consul("lock", "lock/one", show)
    (line,) = [line for line in output.splitlines() if line.startswith("Session")]
    assert len(line.split()[1]) == 36
    assert consul.agent.http("GET", "/v1/kv/lock/one/.lock").status == 404
    assert consul.agent.http("GET", "/v1/session/list").json is not None
    consul("lock", "-child-exit-code", "lock/one", "exit 3", code=2)


def test_lock_keeps_others_out(consul, tmp_path):
    """A second one waits, or gives up where it may not wait."""
    started, over = tmp_path / "started", tmp_path / "over"
    os.mkfifo(over)
    output = tmp_path / "out"
    holder = consul.start(output, "lock", "lock/two", f"touch {started}; cat {over}")
    try:
        wait_until(started.exists, RUN_TIMEOUT_S, "a lock")
        refused = consul("lock", "-try=100ms", "lock/two", "echo run", code=1)
        assert "run\n" not in refused
        over.write_text("now")
        assert holder.wait(RUN_TIMEOUT_S) == 0
        assert output.read_text() == "now"
    finally:
        holder.kill()
        holder.wait()
    assert "run\n" in consul("lock", "lock/two", "echo run")


def test_lock_counts_holders(consul, tmp_path):
    """With -n several hold a semaphore, and one more does not."""
    over = [tmp_path / name for name in ("over-1", "over-2")]
    holders = []
    try:
        for fifo in over:
            os.mkfifo(fifo)
            mark = fifo.with_suffix(".on")
            work = f"touch {mark}; cat {fifo}"
            command = ("lock", "-n=2", "lock/many", work)
            holders.append(consul.start(tmp_path / "out", *command))
            wait_until(mark.exists, RUN_TIMEOUT_S, "a place in the semaphore")
        third = ("lock", "-n=2", "-try=100ms", "lock/many", "echo run")
        assert "run\n" not in consul(*third, code=1)
        for fifo, holder in zip(over, holders, strict=True):
            fifo.write_text("")
            assert holder.wait(RUN_TIMEOUT_S) == 0
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
    assert "run\n" in consul(*third)


# --- operations -----------------------------------------------------------------------


def test_maintenance_mode(consul):
    """The node and a service are taken out and put back."""
    consul("services", "register", "-name=m", "-id=m-1")
    assert consul("maint", "-enable", "-reason=upgrade") == (
        "Node maintenance is now enabled\n"
    )
    consul("maint", "-enable", "-service=m-1", "-reason=slow")
    shown = consul("maint")
    assert "Reason: upgrade" in shown
    assert "Reason: slow" in shown
    assert consul.agent.http("GET", "/v1/health/service/m?passing").json == []
    consul("maint", "-disable", "-service=m-1")
    assert consul("maint", "-disable") == "Node maintenance is now disabled\n"
    assert consul("maint") == ""


def test_members(consul):
    """The agent is a member of its pools."""
    address = consul.agent.address
    assert table(consul("members"))[1] == [
        *("one", f"{address}:8301", "alive", "server", "1.8.7", "2", "dc1", "<all>")
    ]
    assert "role=consul" in consul("members", "-detailed")
    assert table(consul("members", "-wan"))[1][:3] == [
        *("one.dc1", f"{address}:8302", "alive")
    ]
    consul("members", "-status=failed", code=2)
    assert "Successfully joined cluster" in consul("join", address)
    assert "No node found with name 'no'" in consul("force-leave", "no", code=1)


def test_info(consul):
    """The figures of the agent are shown by section."""
    shown = consul("info")
    sections = {line[:-1] for line in shown.splitlines() if line.endswith(":")}
    assert {"agent", "build", "consul", "raft", "runtime", "serf_lan"} <= sections
    assert "\tstate = Leader\n" in shown
    assert "\tserver = true\n" in shown
    assert "\tversion = 1.8.7\n" in shown


def test_reload_follows_the_configuration(consul):
    """A service that was written into the configuration appears, and goes again."""
    agent = consul.agent
    config = agent.folder / "config.json"
    before = config.read_text()
    config.write_text(json.dumps(agent.config | {"services": [{"name": "filed"}]}))
    assert consul("reload") == "Configuration reload triggered\n"
    assert "filed" in agent.http("GET", "/v1/agent/services").json
    config.write_text('{"ports": {"http": "x"}}')
    assert "Unexpected response code: 500" in consul("reload", code=1)
    config.write_text(before)
    consul("reload")
    assert "filed" not in agent.http("GET", "/v1/agent/services").json


def test_monitor_streams_the_log(consul, tmp_path):
    """Log lines arrive while they are written, from the level asked for on."""
    output = tmp_path / "out"
    monitor = consul.start(output, "monitor", "-log-level=debug")
    try:

        def told():
            consul.agent.http("GET", "/v1/agent/host?mark=one")
            return "mark=one" in output.read_text()

        wait_until(told, RUN_TIMEOUT_S, "a log line")
    finally:
        monitor.send_signal(signal.SIGINT)
        monitor.wait(RUN_TIMEOUT_S)
    assert "[DEBUG] agent.http: Request finished: method=GET" in output.read_text()


def test_round_trip_time(consul):
    """The distance of nodes is known once coordinates have reached the catalog."""

    def known():
        return consul.agent.http("GET", "/v1/coordinate/node/one").status == 200

    wait_until(known, what="a coordinate in the catalog")
    shown = consul("rtt", "one", "one")
    assert shown.startswith("Estimated one <-> one rtt: ")
    assert "using LAN coordinates" in shown
    assert "using WAN coordinates" in consul("rtt", "-wan", "one.dc1", "one.dc1")


def test_leave_ends_the_agent(tmp_path):
    """The agent leaves its pools and ends in good order."""
    with RunningAgent(tmp_path, {"node_name": "gone"}) as agent:
        shown = CLI(agent)("leave")
        assert shown == "Graceful leave complete\n"
        assert agent.wait() == 0


@pytest.mark.parametrize(
    "content",
    [
        '{"datacenter": "dc1", "data_dir": "/nonexistent/data"}',
        '{"datacenter": "dc1", ',
        '{"bootstrap_expct": 3}',
        '{"ports": {"http": 99999}, "data_dir": "/nonexistent/data"}',
        '{"service": {"name": "web", "port": "eighty"}}',
    ],
)
def test_validate_says_what_the_stock_command_says(tmp_path, content):
    """Ours and stock judge a configuration alike, in the same words."""
    file = tmp_path / "config.json"
    file.write_text(content)
    done = [
        subprocess.run(
            [*command, "validate", str(file)],
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
        for command in ([str(CONSUL)], OURS)
    ]
    stock, ours = ((run.returncode, run.stdout, run.stderr) for run in done)
    assert ours == stock
