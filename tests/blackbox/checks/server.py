"""HTTP servers to check: plain and, where certificates are given, with TLS.

Reads ``{"address": ..., "tls": {name: {"cert": ..., "key": ..., "client_ca": ...}}}``
from standard input, prints ``{name: port}`` and serves until standard input ends. The
names ``plain``, ``closed`` (nobody listens) and those of `CANNED` are always there.
"""

import json
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Servers that answer everything with the same bytes.
CANNED = {"silent": b"", "refusing": b"HTTP/1.0 400 Bad Request\r\n\r\nno"}


class Answers(BaseHTTPRequestHandler):
    """What the captured checks were answered with."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        body = b"ok body"
        if path == "/slow":
            time.sleep(3)
        elif path == "/big":
            body = b"z" * 6000
        elif path == "/echo":
            lines = f"{self.requestline}\r\n{self.headers}"
            body = lines.encode() + self.rfile.read(
                int(self.headers.get("Content-Length", "0"))
            )
        code = int(path[1:]) if path[1:].isdigit() else 200
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/ok")
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if code != 204:
            self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - names of the standard library

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server whose handshakes do not hold up other connections."""

    daemon_threads = True

    def __init__(self, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__((address, 0), Answers)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away."""


def make_context(files: dict[str, str]) -> ssl.SSLContext:
    """Make the context of a server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])
    if "client_ca" in files:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files["client_ca"])
    return context


def answer_with(listener: socket.socket, answer: bytes) -> None:
    """Answer whatever comes with the same bytes, and close."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)


def main() -> None:
    """Serve what standard input asks for."""
    asked = json.loads(sys.stdin.readline())
    address = asked["address"]
    contexts: dict[str, ssl.SSLContext | None] = {"plain": None}
    for name, files in asked.get("tls", {}).items():
        contexts[name] = make_context(files)
    ports = {}
    for name, context in contexts.items():
        server = Server(address, context)
        ports[name] = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, answer in CANNED.items():
        listener = socket.create_server((address, 0))
        ports[name] = listener.getsockname()[1]
        threading.Thread(
            target=answer_with, args=(listener, answer), daemon=True
        ).start()
    closed = socket.create_server((address, 0))
    ports["closed"] = closed.getsockname()[1]
    closed.close()
    print(json.dumps(ports), flush=True)  # noqa: T201 - the answer to the test
    sys.stdin.read()


if __name__ == "__main__":
    main()
