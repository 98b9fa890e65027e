"""The HTTP listeners from outside: TCP, unix sockets and TLS, in a real process."""

import datetime as dt
import http.client
import ipaddress
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consultwist.testing.processes import free_address

pytestmark = pytest.mark.blackbox

_READY_S = 20.0
_POLL_S = 0.05
_SERVER = """
import json, sys
from types import SimpleNamespace
import attrs
from twisted.internet import reactor
from consultwist.clock import SystemClock
from consultwist.config.runtime import ListenAddress
from consultwist.http.interface import HTTPInterface
from consultwist.http.messages import Response, stream_of
from consultwist.http.router import collect_routes, route
from consultwist.testing.http import HTTPAgent, HTTPSettings

class Endpoints:
    @route("GET", "/v1/client")
    def client(self, request):
        return request.client

    @route("PUT", "/v1/body")
    def body(self, request):
        return Response(request.body, content_type="application/octet-stream")

    @route("GET", "/v1/big")
    def big(self, request):
        return stream_of((bytes(65536) for _ in range(200)), "application/x-gzip")

class Plugin:
    name = "test"
    def routes(self, agent):
        return collect_routes(Endpoints())

given = json.loads(sys.argv[1])
config = SimpleNamespace(**attrs.asdict(HTTPSettings(), recurse=False), **given)
config.http_max_conns_per_client = 5
config.http_addrs = [ListenAddress(*one) for one in given["http_addrs"]]
config.https_addrs = [ListenAddress(*one) for one in given["https_addrs"]]
agent = HTTPAgent(config)
agent.reactor, agent.clock = reactor, SystemClock()
agent.plugins = SimpleNamespace(http_endpoints=[Plugin()])
service = HTTPInterface().make_service(agent)
reactor.callWhenRunning(service.startService)
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Start a server; yield its address, its socket and its certificate."""
    folder = tmp_path_factory.mktemp("http")
    address = free_address(8500, 8501)
    certificate = _certificate(folder, address)
    path = folder / "http.sock"
    config = {
        "http_addrs": [["tcp", address, 8500], ["unix", str(path), 0]],
        "https_addrs": [["tcp", address, 8501]],
        "cert_file": str(certificate),
        "key_file": str(folder / "key.pem"),
        "ca_file": "",
        "ca_path": "",
        "verify_incoming": False,
        "verify_incoming_https": False,
        "tls_min_version": "tls13",
        "tls_cipher_suites": [],
        "tls_prefer_server_cipher_suites": False,
        "unix_socket_mode": "600",
        "unix_socket_user": str(os.getuid()),
        "unix_socket_group": "",
    }
    process = subprocess.Popen([sys.executable, "-c", _SERVER, json.dumps(config)])
    try:
        _await_port(address, 8501)
        yield address, path, certificate
    finally:
        process.terminate()
        process.wait(_READY_S)


def _certificate(folder, address):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    alternative = x509.IPAddress(ipaddress.ip_address(address))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([alternative]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem"


def _await_port(address, port):
    for _ in range(int(_READY_S / _POLL_S)):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    pytest.fail("the server did not start")


def _fetch(connection, method="GET", path="/v1/client", body=None):
    connection.request(method, path, body)
    return connection.getresponse().read()


def test_tcp_is_served(server):
    """Requests over one connection are answered; large bodies come back whole."""
    address, _, _ = server
    connection = http.client.HTTPConnection(address, 8500, timeout=10)
    for _ in range(3):
        assert json.loads(_fetch(connection)).startswith("127.")
    body = os.urandom(3_000_000)
    assert _fetch(connection, "PUT", "/v1/body", body) == body
    assert len(_fetch(connection, path="/v1/big")) == 200 * 65536
    connection.close()


def test_a_refused_body_leaves_the_answer_readable(server):
    """A client that sends far too much still gets to read why."""
    address, _, _ = server
    with socket.create_connection((address, 8500), timeout=10) as client:
        client.sendall(
            b"PUT /v1/body HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n"
        )
        client.sendall(b"a" * 1_000_000)
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"max size: 4194304 bytes.")


def test_unix_sockets_are_served(server):
    """The socket has the configured mode, and its clients have no address."""
    _, path, _ = server
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    for _ in range(8):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"GET /v1/client HTTP/1.0\r\n\r\n")
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.endswith(b'""')


def test_tls_is_served(server):
    """HTTPS answers with the configured certificate, over a kept connection."""
    address, _, certificate = server
    context = ssl.create_default_context(cafile=str(certificate))
    connection = http.client.HTTPSConnection(address, 8501, timeout=10, context=context)
    for _ in range(3):
        assert _fetch(connection).startswith(b'"127.')
    body = os.urandom(1_000_000)
    assert _fetch(connection, "PUT", "/v1/body", body) == body
    assert len(_fetch(connection, path="/v1/big")) == 200 * 65536
    connection.close()


def test_old_tls_is_refused(server):
    """Versions below the configured one do not get through the handshake."""
    address, _, _ = server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((address, 8501), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname=address)


def test_clients_have_a_limit_of_connections(server):
    """Connections over the limit are closed without an answer."""
    address, _, _ = server
    clients = [socket.create_connection((address, 8500), timeout=10) for _ in range(8)]
    try:
        answers = [_answer(client) for client in clients]
    finally:
        for client in clients:
            client.close()
    served = [answer for answer in answers if answer]
    # Connections of earlier tests may still be about to close.
    assert 1 <= len(served) <= 5
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in served)


def _answer(client):
    try:
        client.sendall(b"GET /v1/client HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(65536)
    except ConnectionError:
        return b""
