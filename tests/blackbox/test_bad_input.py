"""Whatever is sent to an agent, it answers with a clear error and goes on."""

import json
import random
import socket
import struct
import subprocess
import sys

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from consultwist.testing.processes import RunningAgent, wait_until
from consultwist.testing.surface import all_routes

pytestmark = pytest.mark.blackbox

SEED = 20261124
NAME = "consul.service.consul"

#: Whatever the body is, these end the agent, and stream for ever.
_LEFT_OUT = ("/v1/agent/leave", "/v1/agent/monitor")
ROUTES = sorted(
    {
        (method, route.path)
        for route in all_routes()
        for method in route.methods
        if route.path not in _LEFT_OUT
    }
)

#: Bodies that are no JSON, no object, or one with other types than any endpoint wants.
BODIES = (
    b"",
    b"{",
    b"nul",
    b"null",
    b"[]",
    b"{}",
    b"42",
    b'"text"',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b'{"ID": 5, "Name": 7, "Node": [1], "Key": {}}',
    b'{"Name": "x", "Check": [], "Checks": {}, "Port": "p", "Tags": "t"}',
    b'{"Node": "n", "Address": "a", "Service": [], "Check": 5}',
    b'{"Coord": {"Vec": ["a"]}, "Node": "x"}',
    b'{"TTL": "forever", "Behavior": "x", "LockDelay": []}',
    b'{"Port": 1e999}',
    b'{"Port": 123456789012345678901234567890}',
    b'{"Name": "a\\ud800"}',
    b'[{}, {"KV": 5}, {"KV": {"Verb": "nope"}}]',
)

#: Parameters with values that they cannot have, and some that nobody knows.
PARAMETERS = (
    *("index=x", "index=-1", "index=99999999999999999999999", "wait=forever"),
    *("filter=((", "filter=a==b", "filter=%00", "consistent&stale", "max_stale=x"),
    *("cas=x", "flags=-1", "acquire=nope", "release=nope", "recurse&keys&raw"),
    *("dc=nowhere", "ns=other", "near=nobody", "node-meta=a", "tag=%ff", "token=%00"),
    *("%zz", "a=%zz", "enable=maybe", "passing=x", "cached", "segment=x", "unknown=1"),
    *("format=prometheus", "service=((", "relay-factor=x", "hash=xx&wait=1ms"),
)


#: What may be answered: 401 and 415 where ACLs and Prometheus are not switched on, 429
#: where a lone server is asked whether it is healthy.
STATUSES = (200, 400, 401, 404, 409, 413, 415, 429, 500)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One agent for all tests: what one does may not harm the next."""
    with RunningAgent(tmp_path_factory.mktemp("agent")) as agent:
        wait_until(lambda: agent.http("GET", "/v1/catalog/nodes").json)
        yield agent


@pytest.fixture
def agent(running):
    """The agent, which is well after each test."""
    seen = len(running.log_file.read_bytes())
    yield running
    running.check_running()
    assert running.http("PUT", "/v1/kv/well", "yes").text == "true"
    assert ask(running).rcode() == dns.rcode.NOERROR
    log = running.log_file.read_bytes()[seen:].decode(errors="replace")
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:3000]
    assert "critical]" not in log


def ask(agent):
    """Ask the agent a question that it can answer."""
    question = dns.message.make_query(NAME, "A")
    return dns.query.udp(question, agent.address, timeout=5, port=8600)


def check_answer(answer, request):
    """Check that an answer is one for a user, whatever it says."""
    assert "Traceback" not in answer.text, request
    assert 'File "' not in answer.text, request
    assert answer.status in STATUSES, request


# --- HTTP: bodies and parameters ------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_endpoint_stands_nonsense(agent, method, path):
    """No body and no parameter makes an endpoint fail in a way of its own."""
    if path.endswith("/"):
        path += "x"
    if method != "GET":
        for nonsense in BODIES:
            check_answer(agent.http(method, path, nonsense), nonsense[:60])
    body = None if method == "GET" else b"{}"
    for parameter in PARAMETERS:
        check_answer(agent.http(method, f"{path}?{parameter}", body), parameter)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/agent/service/register",
        "/v1/agent/check/register",
        "/v1/agent/check/update/x",
        "/v1/catalog/register",
        "/v1/catalog/deregister",
        "/v1/coordinate/update",
        "/v1/session/create",
        "/v1/txn",
    ],
)
@pytest.mark.parametrize("body", [b"{", b'"text"', b"[" * 100_000])
def test_malformed_json_is_a_bad_request(agent, path, body):
    """The client is told that its JSON is wrong."""
    answer = agent.http("PUT", path, body)
    assert answer.status == 400
    assert 0 < len(answer.text) < 500


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "text"),
    [
        ("GET", "/v1/kv/a?index=x", None, 400, "Invalid index"),
        ("GET", "/v1/kv/a?wait=soon", None, 400, "Invalid wait time"),
        ("GET", "/v1/kv/a?stale&consistent", None, 400, "Cannot specify ?stale"),
        ("GET", "/v1/kv/", None, 400, "Missing key name"),
        ("GET", "/v1/kv/a?dc=dc9", None, 500, "No path to datacenter"),
        ("GET", "/v1/catalog/nodes?filter=Node+%3D", None, 500, "no match found"),
        ("GET", "/v1/health/state/odd", None, 200, "[]"),
        ("GET", "/v1/nothing", None, 404, ""),
        ("DELETE", "/v1/catalog/nodes", None, 405, "method DELETE not allowed"),
        ("PUT", "/v1/kv/a?acquire=x", b"", 500, "UUID must be 36 characters"),
        ("PUT", "/v1/agent/service/register", {"Port": 1}, 400, "Missing service name"),
        ("PUT", "/v1/agent/check/register", {"Name": "c"}, 400, "Invalid check"),
        ("PUT", "/v1/agent/maintenance", None, 400, "Missing value for enable"),
        ("PUT", "/v1/session/create", {"TTL": "1s"}, 500, "must be between"),
        ("PUT", "/v1/txn", [{"KV": {"Verb": "x", "Key": "a"}}], 409, "unknown KV"),
        ("PUT", "/v1/txn", [{"KV": {"Verb": "get"}}] * 65, 413, "too many operations"),
    ],
)
def test_the_error_says_what_is_wrong(agent, method, target, body, status, text):
    """The words are Consul's, so that clients that look for them find them."""
    answer = agent.http(method, target, body)
    assert (answer.status, text in answer.text) == (status, True), answer.text
    if status == 405:
        assert answer.headers["allow"] == "OPTIONS,GET"


def test_what_nobody_knows_is_passed_over(agent):
    """Parameters of newer clients do no harm; fields are refused by name, as ever."""
    assert agent.http("GET", "/v1/catalog/nodes?peer=x&ui-v2=1").status == 200
    body = {"Name": "newer", "Locality": {"Region": "r"}}
    answer = agent.http("PUT", "/v1/agent/service/register", body)
    assert answer.status == 400
    assert 'unknown field "Locality"' in answer.text


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/v1/kv/large", 512 * 1024 + 1),
        ("/v1/txn", 512 * 1024 + 1),
        ("/v1/agent/service/register", 5 * 1024 * 1024),
    ],
)
def test_large_bodies_are_refused(agent, path, size):
    """What is beyond the limit is refused, and nothing of it is kept."""
    answer = agent.http("PUT", path, b"a" * size)
    assert answer.status == 413
    assert f"Request body({size} bytes) too large" in answer.text
    assert agent.http("GET", "/v1/kv/large").status == 404


# --- HTTP: bytes ----------------------------------------------------------------------


def exchange(agent, data, port=8500):
    """Send bytes, say that no more come, and return all that is answered."""
    with socket.create_connection((agent.address, port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            # Closed before all was sent.
            return b""


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\nHELLO\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 2_000_000,
    ],
)
def test_bytes_that_are_no_request(agent, data):
    """The connection is closed, after an error where there is somebody to tell."""
    answer = exchange(agent, data)
    assert answer == b"" or answer.split(b" ")[1] in (
        *(b"400", b"413", b"431", b"501", b"505"),
    )
    assert b"Traceback" not in answer


def test_requests_that_end_early(agent):
    """A client may go away at any point of its request."""
    whole = b"PUT /v1/kv/early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12345678"
    for length in range(len(whole) + 1):
        exchange(agent, whole[:length])
    assert agent.http("GET", "/v1/kv/early").status == 404


# --- DNS ------------------------------------------------------------------------------


def packets():
    """Return DNS messages that are wrong in many ways."""
    good = dns.message.make_query(NAME, "A", use_edns=0).to_wire()
    rng = random.Random(SEED)
    yield from (good[:length] for length in range(len(good)))
    yield from (rng.randbytes(rng.randrange(1, 600)) for _ in range(300))
    for _ in range(500):
        mutant = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            mutant[rng.randrange(2, len(mutant))] = rng.randrange(256)
        yield bytes(mutant)
    header = struct.Struct(">HHHHHH").pack
    # A name that points to itself, and counts that no message fulfils.
    yield header(1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"
    yield header(1, 0x0100, 65535, 65535, 65535, 65535) + good[12:]
    yield header(1, 0x0100, 0, 0, 0, 0)
    yield header(1, 0x0100, 1, 0, 0, 0) + b"\x3f" + b"a" * 63 + b"\xff" * 400


def test_dns_packets(agent):
    """Packets that are no question get an error or nothing, and hurt nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((agent.address, 8600))
        for number, packet in enumerate(packets()):
            client.send(packet)
            if number % 20 == 0:
                # Lets the agent keep up, and shows that it does.
                assert ask(agent).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("flags", "rcode"),
    [(0x2800, dns.rcode.NOTIMP), (0x0100, dns.rcode.FORMERR)],
)
def test_dns_questions_that_cannot_be_answered(agent, flags, rcode):
    """An opcode that is unknown, and a message without its question, are told apart."""
    data = struct.pack(">HHHHHH", 7, flags, 1, 0, 0, 0)
    if flags == 0x2800:
        data += dns.message.make_query(NAME, "A").to_wire()[12:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((agent.address, 8600))
        client.send(data)
        reply = client.recv(512)
    assert struct.unpack(">HH", reply[:4])[0] == 7
    assert reply[3] & 0x0F == rcode


@pytest.mark.parametrize(
    "data", [b"\0\0", b"\0", b"\xff\xffshort", b"\0\5hello", b"\0\2\0\0\0\2\0\0"]
)
def test_dns_over_tcp(agent, data):
    """Lengths that lie end the connection at most."""
    assert len(exchange(agent, data, 8600)) < 100


@pytest.mark.parametrize("port", [8300, 8301, 8302])
def test_ports_between_agents(agent, port):
    """Strangers get nothing from the ports that only agents talk to."""
    rng = random.Random(SEED)
    for first in (b"", b"\0", b"\1", b"\4", b"\5", b"\xff", b"\n"):
        for _ in range(5):
            exchange(agent, first + rng.randbytes(rng.randrange(500)), port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(200):
            packet = rng.randbytes(rng.randrange(1, 1400))
            client.sendto(packet, (agent.address, port))
    assert len(agent.http("GET", "/v1/agent/members").json) == 1


# --- configuration --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.json", b'{"server": tru', "invalid character"),
        ("a.json", b'{"server": "maybe"}', "server"),
        ("a.json", b'{"ports": {"http": "x"}}', "ports.http"),
        ("a.json", b'{"no_such_key": 1}', "invalid config key no_such_key"),
        ("a.json", b"[" * 100_000, ""),
        ("a.json", b"\xff\xfe", ""),
        ("a.hcl", b'services { name = "a" ', "expected closing RBRACE"),
        ("a.hcl", b"server = [", "unexpected token"),
        ("a.hcl", b"{" * 100_000, ""),
        ("a.hcl", b'check_update_interval = "soon"', "check_update_interval"),
    ],
)
def test_configuration_that_is_wrong(tmp_path, name, content, text):
    """The start ends with one clear line and exit code 1."""
    file = tmp_path / name
    file.write_bytes(content)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "consultwist.cli.main", "agent", "-bind=127.0.0.1"),
            *(f"-data-dir={tmp_path / 'data'}", f"-config-file={file}"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert said.startswith("==> ")
    assert text in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


def test_reload_of_a_wrong_configuration_changes_nothing(agent):
    """The old configuration stays in force."""
    file = agent.folder / "config.json"
    before = file.read_text()
    for content in ("{", '{"ports": 5}', json.dumps(agent.config | {"nope": 1})):
        file.write_text(content)
        answer = agent.http("PUT", "/v1/agent/reload")
        assert answer.status == 500
        assert 0 < len(answer.text) < 500
    file.write_text(before)
    assert agent.http("PUT", "/v1/agent/reload").status == 200
