"""Federation states are stored by datacenter, deleted, saved and restored."""

import pytest

from consultwist.api.federation_state.table import FederationStateTable
from consultwist.errors import ConsultwistError
from consultwist.structs.federation_state import FederationState, FederationStateRequest
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import Replica

TABLE = "federation-states"


@pytest.fixture
def replica():
    """A state with nothing but this table."""
    return Replica(FederationStateTable())


def change(replica, operation, datacenter, *, index=0, primary=0):
    state = FederationState(datacenter=datacenter, primary_modify_index=primary)
    request = FederationStateRequest(op=operation, state=state)
    return replica.apply(MessageType.FEDERATION_STATE, request, index)


def test_a_state_is_stored_and_replaced(replica):
    """It keeps the index of its making; the case of the name does not count."""
    assert change(replica, "upsert", "dc2", index=5) is True
    assert change(replica, "upsert", "DC2", index=9) is True
    (row,) = replica.rows(TABLE)
    assert (row.datacenter, row.create_index, row.modify_index) == ("DC2", 5, 9)
    assert replica.index_rows() == {TABLE: 9}


def test_a_copy_keeps_the_index_of_the_primary_datacenter(replica):
    """Where none is told this datacenter is the primary one."""
    change(replica, "upsert", "dc1", index=5)
    change(replica, "upsert", "dc2", index=6, primary=77)
    assert [row.primary_modify_index for row in replica.rows(TABLE)] == [5, 77]


def test_a_state_is_deleted_once(replica):
    """Deleting what is not there changes nothing, the index neither."""
    change(replica, "upsert", "dc2", index=5)
    assert change(replica, "delete", "dc2", index=6) is None
    change(replica, "delete", "dc2", index=7)
    assert replica.rows(TABLE) == []
    assert replica.index_rows() == {TABLE: 6}


@pytest.mark.parametrize(("operation", "datacenter"), [("upsert", ""), ("x", "dc2")])
def test_senseless_commands_are_refused(replica, operation, datacenter):
    """Without a datacenter or a known operation nothing is changed."""
    with pytest.raises(ConsultwistError):
        change(replica, operation, datacenter)
    assert replica.rows(TABLE) == []


def test_states_survive_a_snapshot(replica):
    """They come back as they were, with the index of the table."""
    change(replica, "upsert", "dc2", index=5, primary=3)
    fresh = Replica(FederationStateTable())
    fresh.restore(replica.snapshot())
    assert fresh.rows(TABLE) == replica.rows(TABLE)
    assert fresh.index_rows() == replica.index_rows()
