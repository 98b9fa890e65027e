"""Coordinates follow a real agent's, step by step."""

import json
import math
import random
from pathlib import Path

import pytest

from consultwist.errors import WireError
from consultwist.gossip.serf.coordinate import (
    Coordinate,
    CoordinateClient,
    decode_payload,
    distance_s,
    encode_payload,
    is_valid,
    origin,
)

VECTORS = json.loads(
    (Path(__file__).parents[3] / "vectors" / "gossip" / "coordinates.json").read_text()
)


def coordinate(fields):
    return Coordinate(
        vec=fields["Vec"],
        error=fields["Error"],
        adjustment=fields["Adjustment"],
        height=fields["Height"],
    )


def client():
    return CoordinateClient(random.Random(1))


def test_twelve_updates_agree_with_a_real_agent():
    """Every field of every step is the agent's, to the last bits of a float."""
    mine, peer = client(), coordinate(VECTORS["peer_coordinate"])
    assert mine.coordinate == coordinate(VECTORS["start"])
    for step in VECTORS["steps"]:
        mine.forget("peer")
        assert mine.update("peer", peer, step["rtt_effective_seconds"])
        after, found = coordinate(step["after"]), mine.coordinate
        for ours, theirs in zip(found.vec, after.vec, strict=True):
            assert ours == pytest.approx(theirs, abs=2.3e-16)
        assert found.error == pytest.approx(after.error, abs=2.3e-16)
        assert found.adjustment == pytest.approx(after.adjustment, abs=2.3e-16)
        assert found.height == pytest.approx(after.height, abs=2.3e-16)


def test_three_members_find_their_distances():
    """Estimated round trips come near the true ones."""
    rtts = {("a", "b"): 0.010, ("a", "c"): 0.050, ("b", "c"): 0.045}
    rng = random.Random(3)
    clients = {name: CoordinateClient(random.Random(name)) for name in "abc"}
    for _ in range(3000):
        pair = rng.choice(list(rtts))
        for me, other in (pair, pair[::-1]):
            clients[me].update(other, clients[other].coordinate, rtts[pair])
    for (a, b), rtt_s in rtts.items():
        found_s = distance_s(clients[a].coordinate, clients[b].coordinate)
        assert found_s == pytest.approx(rtt_s, rel=0.2)


def test_a_single_outlier_is_filtered():
    """The median of three samples ignores one bad measurement."""
    mine, peer = client(), coordinate(VECTORS["peer_coordinate"])
    for rtt_s in (0.05, 0.05):
        mine.update("peer", peer, rtt_s)
    assert mine._filtered("peer", 9.0) == 0.05
    mine.forget("peer")
    assert mine._filtered("peer", 9.0) == 9.0


@pytest.mark.parametrize(
    ("other", "rtt_s"),
    [
        (origin(), -0.1),
        (origin(), 10.1),
        (Coordinate(vec=[0.0] * 7), 0.1),
        (Coordinate(vec=None), 0.1),
        (Coordinate(vec=[math.nan] * 8), 0.1),
        (Coordinate(vec=[0.0] * 8, error=math.inf), 0.1),
    ],
)
def test_impossible_measurements_are_refused(other, rtt_s):
    """Negative times, other dimensions and numbers that are none change nothing."""
    mine = client()
    assert not mine.update("x", other, rtt_s)
    assert mine.coordinate == origin()


def test_a_hostile_coordinate_cannot_break_ours():
    """Numbers at the end of the scale reset us to the origin, at worst."""
    mine = client()
    for value in (1e308, -1e308, 5e-324):
        far = Coordinate(vec=[value] * 8, error=0.0, adjustment=value, height=value)
        mine.update("x", far, 0.01)
        assert is_valid(mine.coordinate)
    assert mine.resets >= 1


def test_distances_need_equal_dimensions():
    """Coordinates of another configuration have no distance to ours."""
    with pytest.raises(WireError, match="dimensions"):
        distance_s(origin(), Coordinate(vec=[0.0]))


def test_payloads_round_trip_and_foreign_ones_are_ignored():
    """Another version or another shape is not an error, just no coordinate."""
    mine = client()
    mine.update("p", coordinate(VECTORS["peer_coordinate"]), 0.02)
    payload = encode_payload(mine.coordinate)
    assert decode_payload(payload) == mine.coordinate
    assert decode_payload(b"\x02" + payload[1:]) is None
    assert decode_payload(b"") is None
    assert decode_payload(encode_payload(Coordinate(vec=[1.0]))) is None
    with pytest.raises(WireError):
        decode_payload(b"\x01\xc1")
