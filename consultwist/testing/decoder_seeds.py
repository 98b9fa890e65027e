"""Where fuzzers of the decoders begin: the captured bytes among the test vectors."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection

from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.stream import seal
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.rpc.codec import encode_error, encode_request
from consultwist.server import archive
from consultwist.testing.decoders import record_classes
from consultwist.testing.gossip_decoders import GOSSIP_KEY
from consultwist.testing.state import snapshot_records
from consultwist.wire.msgpack import pack
from consultwist.yamux import frames

#: The lead byte of streams: in one piece, or cut into pieces of so many bytes.
_CUTS: Final = (b"\0", b"\1", b"\x11")


def seeds(name: str, vectors: Path) -> list[bytes]:
    """Return inputs that a decoder reads.

    Args:
        name: the decoder's name in `decoders.DECODERS`.
        vectors: the folder of the test vectors.
    """
    return sorted(set(_SEEDS[name](vectors)))


def _load(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _bodies(vectors: Path) -> Iterator[bytes]:
    """Yield msgpack of all protocols."""
    for call in _load(vectors / "rpc/methods.json"):
        for part in ("request_hex", "response_hex"):
            yield bytes.fromhex(call[part] or "")
    for command in _load(vectors / "fsm/commands.json"):
        yield bytes.fromhex(command["hex"])[1:]


def _numbers(*names: str) -> Iterator[tuple[int, str]]:
    """Yield the lead bytes that choose the classes with some names."""
    for number, cls in enumerate(record_classes()):
        if cls.__name__ in names:
            yield number, cls.__name__


def _records(vectors: Path) -> Iterator[bytes]:
    choices = len(record_classes())
    for number, body in enumerate(_bodies(vectors)):
        yield bytes((number % choices,)) + body
    commands = _load(vectors / "fsm/commands.json")
    for number, name in _numbers("RegisterRequest", "KVSRequest", "TxnRequest"):
        for command in commands:
            if name.startswith(command["name"]):
                yield bytes((number,)) + bytes.fromhex(command["hex"])[1:]


def _streams(vectors: Path) -> Iterator[bytes]:
    for number, body in enumerate(_bodies(vectors)):
        yield _CUTS[number % 3] + body


def _json(vectors: Path) -> Iterator[bytes]:
    known = {"service": "ServiceDefinition", "check": "CheckDefinition"}
    for case in _load(vectors / "http/body_errors.json")["cases"]:
        name = known.get(case["record"], "RegisterRequest")
        for number, _ in _numbers(name):
            yield bytes((number,)) + case["body"].encode("utf-8", "surrogatepass")
    for each in ("catalog", "session", "txn", "kv"):
        for request in _load(vectors / f"http/{each}.json"):
            body = request["request"].get("body")
            if body is not None:
                for number, _ in _numbers("RegisterRequest", "Session", "DirEntry"):
                    yield bytes((number,)) + json.dumps(body).encode()


def _filters(vectors: Path) -> Iterator[bytes]:
    for file in ("filter.json", "filter_errors.json"):
        for number, case in enumerate(_load(vectors / "http" / file)["cases"]):
            text = case["filter"].encode("utf-8", "surrogatepass")
            yield bytes((number % 4,)) + text


def _configs(vectors: Path) -> Iterator[bytes]:
    for case in _load(vectors / "config/texts.json")["cases"]:
        lead = b"\1" if case["format"] == "json" else b"\0"
        yield lead + case["text"].encode("utf-8", "surrogatepass")
    for case in _load(vectors / "config/rules.json")["cases"]:
        yield b"\1" + json.dumps(case["config"]).encode()


def _http(vectors: Path) -> Iterator[bytes]:
    for each in ("kv", "catalog", "health", "session", "event"):
        for number, case in enumerate(_load(vectors / f"http/{each}.json")):
            asked = case["request"]
            body = json.dumps(asked.get("raw_body") or asked.get("body")).encode()
            head = f"{asked['method']} {asked['path']} HTTP/1.1\r\nHost: h\r\n"
            sized = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
            coded = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk
            yield _CUTS[number % 3] + (coded if number % 2 else sized)
            yield _CUTS[number % 3] + (head + "\r\n").encode() + sized


def _responses(vectors: Path) -> Iterator[bytes]:
    replies = _load(vectors / "checks/probes.json")["replies"]
    for number, reply in enumerate(replies.values()):
        yield _CUTS[number % 3] + reply.encode("utf-8", "surrogatepass")


_HTTP2_REQUEST: Final = (
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "web"),
    (":path", "/"),
)


def _http2(_: Path) -> Iterator[bytes]:
    """Yield what a server of the same library writes."""
    config = H2Configuration(client_side=False)
    server = H2Connection(config=config)
    server.initiate_connection()
    client = H2Connection(config=H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, _HTTP2_REQUEST, end_stream=True)
    client.ping(b"consultw")
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200"), ("content-type", "text/plain")])
    server.send_data(1, b"hello")
    server.send_headers(1, [("grpc-status", "0")], end_stream=True)
    fine = server.data_to_send()
    server.close_connection()
    for cut in _CUTS:
        yield cut + fine + server.data_to_send()
        yield cut + fine[:60]


def _dns(vectors: Path) -> Iterator[bytes]:
    for query in _load(vectors / "dns/dns.json")["queries"]:
        result = query["result"] or {}
        for asked in result.get("question", ())[:1]:
            labels = asked[0].rstrip(".").encode("utf-8", "replace").split(b".")
            if all(0 < len(label) < 64 for label in labels):
                yield _dns_message(labels, len(result.get("answer", ())))


def _dns_message(labels: list[bytes], answers: int) -> bytes:
    """Return a message with a question, addresses that point to it, and options."""
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    head = b"\x12\x34\x85\x80\0\1" + bytes((0, answers, 0, 0, 0, 1))
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1"
    options = b"\0\0\x29\x10\0\0\0\0\0\0\x0b\0\x08\0\x07\0\1\x18\0\x0a\0\1"
    return head + name + b"\0\1\0\1" + answer * answers + options


def _frames(vectors: Path, transport: str) -> Iterator[bytes]:
    for frame in _load(vectors / "gossip/index.json")["frames"]:
        if frame["transport"] == transport:
            text = (vectors / "gossip" / frame["file"]).read_text(encoding="ascii")
            yield bytes.fromhex(text)


def _messages(vectors: Path) -> Iterator[bytes]:
    for message in _load(vectors / "gossip/messages.json")["messages"]:
        yield bytes.fromhex(message["hex"])


def _packets(vectors: Path) -> Iterator[bytes]:
    codec = PacketCodec(Keyring([GOSSIP_KEY], bytes))
    for frame in _frames(vectors, "udp"):
        yield b"\0" + frame
        yield b"\2" + codec.seal(frame)


def _gossip_streams(vectors: Path) -> Iterator[bytes]:
    codec = PacketCodec(Keyring([GOSSIP_KEY], bytes))
    for number, frame in enumerate(_frames(vectors, "tcp")):
        yield b"\0" + _CUTS[number % 3] + frame
        yield b"\2" + _CUTS[number % 3] + seal(codec, frame, is_dialing=True)


def _serf(vectors: Path) -> Iterator[bytes]:
    for message in _messages(vectors):
        if message[0] == 8:
            yield message[1:]


def _expressions(_: Path) -> Iterator[bytes]:
    patterns = ("^web-[0-9]+$", "(a|b)*c{2,5}?", r"[^x-z\d]\b.", "(?i:A+)|[[:alpha:]]")
    for pattern in patterns:
        yield f"{pattern}\nweb-12abcc".encode()


def _serf_snapshots(vectors: Path) -> Iterator[bytes]:
    yield (vectors / "gossip/serf-snapshot.txt").read_bytes()


def _raft(vectors: Path) -> Iterator[bytes]:
    for number, message in enumerate(_load(vectors / "raft/messages.json")):
        for part in ("request_hex", "response_hex"):
            yield _CUTS[number % 3] + bytes.fromhex(message[part] or "")


def _calls(vectors: Path) -> Iterator[bytes]:
    for number, call in enumerate(_load(vectors / "rpc/methods.json")):
        request = encode_request(number, call["method"], b"\x80")
        yield _CUTS[number % 3] + request + encode_error(number, call["method"], "no")
        yield _CUTS[number % 3] + bytes.fromhex(call["response_hex"] or "")


def _yamux(_: Path) -> Iterator[bytes]:
    opening = frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0)
    content = frames.encode(frames.DATA, 0, 1, 5) + b"hello"
    window = frames.encode(frames.WINDOW_UPDATE, frames.ACK, 2, 1024)
    ping = frames.encode(frames.PING, frames.SYN, 0, 7)
    closing = frames.encode(frames.DATA, frames.FIN, 1, 0)
    reset = frames.encode(frames.WINDOW_UPDATE, frames.RST, 2, 0)
    last = frames.encode(frames.GO_AWAY, 0, 0, 0)
    for cut in _CUTS:
        yield cut + opening + content + window + ping + closing + reset + last
        yield cut + opening + content * 20 + last


def _archives(vectors: Path) -> Iterator[bytes]:
    state = (vectors / "fsm/replay-2-state.bin").read_bytes()[:600]
    meta = SnapshotMeta(id="2-9-1", index=9, term=2, size=len(state))
    packed = b"".join(archive.pack(meta, [state], 0.0))
    for cut in _CUTS:
        yield b"\0" + cut + packed
        yield b"\1" + cut + gzip.decompress(packed)


def _configurations(vectors: Path) -> Iterator[bytes]:
    for one in _load(vectors / "raft/configurations.json"):
        yield bytes.fromhex(one["hex"])


def _snapshots(vectors: Path) -> Iterator[bytes]:
    """Yield the shortest: the header with each of the records of real snapshots."""
    header = pack({"LastIndex": 9})
    for number in (1, 2):
        content = (vectors / f"fsm/replay-{number}-state.bin").read_bytes()
        for kind, record in snapshot_records(content):
            yield b"\0" + header + bytes((kind,)) + record


def _commands(vectors: Path) -> Iterator[bytes]:
    for command in _load(vectors / "fsm/commands.json"):
        yield bytes.fromhex(command["hex"])
    for number in (1, 2):
        path = vectors / f"fsm/replay-{number}-log.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                content = bytes.fromhex(json.loads(line)["Data"] or "")
                if 0 < len(content) < 2048:
                    yield content


def _chunks(vectors: Path) -> Iterator[bytes]:
    places = []
    for entry in _load(vectors / "fsm/chunks.json")["entries"]:
        place = bytes.fromhex(entry["extensions_hex"])
        places.append(bytes((len(place),)) + place)
        part = {"Data": b"x", "NumChunks": 3, "OpNum": 5, "SequenceNum": 1, "Term": 2}
        yield pack({"ChunkMap": {5: [None, part, None]}})
    yield b"".join(places)


_SEEDS: Final[dict[str, Callable[[Path], Iterator[bytes]]]] = {
    "record": _records,
    "stream": _streams,
    "json": _json,
    "filter": _filters,
    "config": _configs,
    "http": _http,
    "response": _responses,
    "http2": _http2,
    "dns": _dns,
    "packet": _packets,
    "gossip-stream": _gossip_streams,
    "serf": _serf,
    "expression": _expressions,
    "serf-snapshot": _serf_snapshots,
    "raft": _raft,
    "rpc": _calls,
    "yamux": _yamux,
    "archive": _archives,
    "configuration": _configurations,
    "snapshot": _snapshots,
    "command": _commands,
    "chunks": _chunks,
}
