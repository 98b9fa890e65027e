"""A world for each test of RPC."""

import pytest

from tests.unit.rpc.world import World


@pytest.fixture
def world() -> World:
    """A server and a client without TLS."""
    return World()
