"""Requests become entries of the log, large ones in chunks."""

import random

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from consultwist.errors import BadRequest, LeadershipLost
from consultwist.server.apply import RaftApply
from consultwist.state.chunking import CHUNK_SIZE, ChunkPlace
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.txn import TxnKVOp, TxnOp, TxnRequest
from consultwist.testing.deferred import failure_of, no_result_of, result_of


def counted(_):
    """Count nothing: what is counted is of no interest here."""


class Proposer:
    """Takes proposals, and answers as a test wants it."""

    def __init__(self):
        self.proposals = []
        self.answers = []

    def propose(self, data, extensions=b""):
        self.proposals.append((data, extensions))
        return self.answers.pop(0) if self.answers else succeed(None)


@pytest.fixture
def raft():
    return Proposer()


def _apply(raft, value=b"1"):
    request = KVSRequest(op="set", dir_ent=DirEntry(key="a", value=value))
    apply = RaftApply(raft, random.Random(1), counted)
    return request, apply(MessageType.KVS, request)


def test_a_command_is_a_type_byte_and_the_request(raft):
    """Nothing else, and no extensions."""
    raft.answers = [succeed(True)]
    request, done = _apply(raft)
    assert raft.proposals == [(b"\x02" + request.pack(), b"")]
    assert result_of(done) is True


def test_a_refusal_by_the_state_machine_fails_the_proposal(raft):
    """The error is the proposer's; the Raft node tells it as a failure."""
    refusal = BadRequest("no")
    raft.answers = [fail(refusal)]
    _, done = _apply(raft)
    assert failure_of(done) is refusal


def test_a_large_write_is_proposed_in_chunks(raft):
    """All at once, under one number; the last one's answer is the command's."""
    last: Deferred[object] = Deferred()
    raft.answers = [succeed(None), fail(LeadershipLost()), last]
    request, done = _apply(raft, b"x" * (2 * CHUNK_SIZE))
    assert [len(data) for data, _ in raft.proposals[:2]] == [CHUNK_SIZE] * 2
    assert b"".join(data for data, _ in raft.proposals) == b"\x02" + request.pack()
    places = [ChunkPlace.decode(extensions) for _, extensions in raft.proposals]
    assert [(p.sequence, p.count) for p in places] == [(0, 3), (1, 3), (2, 3)]
    assert len({p.operation for p in places}) == 1
    no_result_of(done)
    last.callback(True)
    assert result_of(done) is True


def test_a_write_of_just_the_chunk_size_is_one_entry(raft):
    """Only what is longer is cut."""
    overhead = 1 + len(KVSRequest(op="set", dir_ent=DirEntry(key="a")).pack())
    _apply(raft, b"x" * (CHUNK_SIZE - overhead - 4))
    (proposal,) = raft.proposals
    assert len(proposal[0]) == CHUNK_SIZE
    _apply(raft, b"x" * (CHUNK_SIZE - overhead - 3))
    assert len(raft.proposals) == 3


def test_other_commands_are_never_cut(raft):
    """Whatever their size: only writes of keys are chunked in Consul."""
    entry = DirEntry(key="a", value=b"x" * (2 * CHUNK_SIZE))
    operation = TxnOp(kv=TxnKVOp(verb="set", dir_ent=entry))
    RaftApply(raft, random.Random(1), counted)(
        MessageType.TXN, TxnRequest(ops=[operation])
    )
    assert len(raft.proposals) == 1
