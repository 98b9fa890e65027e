"""Every captured message of real servers, and a captured replication to a follower."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from consultwist.raft import messages
from consultwist.raft.actions import PersistEntries, Reply, ReplyAfterPersist
from consultwist.raft.codec import (
    RequestDecoder,
    ResponseDecoder,
    SnapshotBytes,
    encode_request,
    encode_response,
)
from consultwist.raft.configuration import Configuration
from consultwist.raft.core import Raft
from consultwist.raft.messages import Request
from consultwist.raft.settings import RaftSettings
from consultwist.raft.state import Recovered
from consultwist.wire import msgpack

VECTORS = Path(__file__).parents[2] / "vectors" / "raft"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


MESSAGES = load("messages.json")
CONFIGURATIONS = load("configurations.json")


def decode_request(content: bytes) -> Request:
    request, *rest = RequestDecoder().feed(content)
    assert isinstance(request, Request)
    assert all(isinstance(item, SnapshotBytes) for item in rest)
    return request


@pytest.mark.parametrize("vector", MESSAGES, ids=lambda v: v["id"])
def test_a_captured_request_decodes_and_encodes_to_the_same_bytes(vector: Any) -> None:
    """What a real server sent, or accepted, is what we would send."""
    content = bytes.fromhex(vector["request_hex"])
    request = decode_request(content)
    assert type(request).__name__ == vector["rpc"]
    assert encode_request(request) == content
    for name, value in vector["request"].items():
        if isinstance(value, (int, bool)):
            assert request.to_raw()[name] == value


@pytest.mark.parametrize("vector", MESSAGES, ids=lambda v: v["id"])
def test_a_captured_response_decodes_and_encodes_to_the_same_bytes(vector: Any) -> None:
    """An error text and nil, or no error and the structure of the request's kind."""
    content = bytes.fromhex(vector["response_hex"])
    ((error, raw),) = ResponseDecoder().feed(content)
    assert error == vector["response_error"]
    if error:
        assert encode_response(None, error) == content
        return
    response = getattr(messages, vector["rpc"]).response.from_raw(raw)
    assert encode_response(response) == content


@pytest.mark.parametrize("vector", CONFIGURATIONS, ids=lambda v: v["id"])
def test_a_captured_configuration_encodes_to_the_same_bytes(vector: Any) -> None:
    """Configurations, and the lists of voters' addresses for old receivers."""
    content = bytes.fromhex(vector["hex"])
    if vector["id"].startswith("peers-"):
        addresses = [address.decode() for address in msgpack.unpack(content)]
        assert addresses == vector["decoded"]
        return
    configuration = Configuration.unpack(content)
    assert configuration.pack() == content
    shown = [
        {"Address": s.address, "ID": s.id, "Suffrage": s.suffrage}
        for s in configuration.servers
    ]
    assert shown == vector["decoded"]["Servers"]


@pytest.mark.parametrize(
    "name",
    ["install-snapshot-after-restore", "install-snapshot-to-lagging-member"],
)
def test_the_voters_of_a_snapshot_are_those_of_its_configuration(name: str) -> None:
    """The deprecated list of peers follows from the configuration."""
    (vector,) = [v for v in MESSAGES if v["id"] == name]
    request = decode_request(bytes.fromhex(vector["request_hex"]))
    assert isinstance(request, messages.InstallSnapshot)
    configuration = Configuration.unpack(request.configuration)
    assert configuration.pack_peers() == request.peers


def test_a_follower_answers_a_captured_leader_and_holds_its_log() -> None:
    """The replay of a real leader's messages ends in its log, entry by entry.

    Where the capture's answers differ it is in the last index: they told it as it was
    after the append, real servers and ours as it was before.
    """
    lines = (VECTORS / "follower-replay.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    raft = Raft(
        "33333333-0000-4000-8000-000000000050",
        "127.0.30.50:8300",
        RaftSettings(),
        random.Random(1),
        Recovered(),
        lambda *_: [],
        0.0,
    )
    expected: dict[int, tuple[int, int]] = {}
    for step in steps:
        before = raft.state.log.last_index
        answer = replay(raft, bytes.fromhex(step["request_hex"]))
        ((_, raw),) = ResponseDecoder().feed(bytes.fromhex(step["response_hex"]))
        captured = messages.AppendEntriesResponse.from_raw(raw)
        assert (answer.success, answer.term, answer.no_retry_backoff) == (
            captured.success,
            captured.term,
            captured.no_retry_backoff,
        )
        assert answer.last_log == before
        expected.update((i, (term, kind)) for i, term, kind in step["entries"])
    log = raft.state.log
    assert log.last_index == max(expected)
    held = {e.index: (e.term, e.type) for e in log.entries(1, log.last_index, 1 << 30)}
    assert held == expected
    assert log.commit_index == min(steps[-1]["commit"], log.last_index)


def replay(raft: Raft, content: bytes) -> messages.AppendEntriesResponse:
    """Let the follower take a request; return its answer."""
    raft.receive(decode_request(content), "source", 1.0)
    answers = []
    for action in raft.take_actions():
        if isinstance(action, PersistEntries):
            raft.persisted(action.sequence, 1.0)
        elif isinstance(action, (Reply, ReplyAfterPersist)):
            answers.append(action.response)
    (answer,) = answers
    assert isinstance(answer, messages.AppendEntriesResponse)
    return answer
