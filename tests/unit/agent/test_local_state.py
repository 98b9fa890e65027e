"""The agent's local state."""

from consultwist.agent.local_state import LocalState
from consultwist.structs.catalog import HealthCheck, NodeService
from consultwist.testing.host import make_host


def make_state(interval_s=0.0, *, discard=False):
    """Return a state, its host, and the list that grows with each change."""
    host = make_host()
    changes = []
    state = LocalState(host, interval_s, discard, lambda: changes.append(1))
    return state, host, changes


def synced(state):
    """Mark everything as being in the catalog."""
    for service_id, entry in state.unsynced_services():
        state.service_synced(service_id, entry.service)
    for check_id, entry in state.unsynced_checks():
        state.check_synced(check_id, entry.check)


def test_a_registered_service_is_unsynced_until_the_catalog_has_it():
    """What was registered is to be written, once."""
    state, _, changes = make_state()
    service = NodeService(id="web", service="web")
    state.add_service(service, "secret")
    assert [key for key, _ in state.unsynced_services()] == ["web"]
    assert changes == [1]
    assert state.service_token("web") == "secret"
    state.service_synced("web", service)
    assert state.unsynced_services() == []


def test_a_change_during_a_write_stays_unsynced():
    """A service that changed while it was written is written again."""
    state, _, _ = make_state()
    old = NodeService(id="web", service="web", port=1)
    state.add_service(old)
    state.add_service(NodeService(id="web", service="web", port=2))
    state.service_synced("web", old)
    assert [key for key, _ in state.unsynced_services()] == ["web"]


def test_a_removed_service_is_gone_but_remembered_for_the_catalog():
    """Readers see no removed service; anti-entropy still does, until it followed."""
    state, _, _ = make_state()
    state.add_service(NodeService(id="web", service="web"))
    synced(state)
    assert state.remove_service("web")
    assert not state.remove_service("web")
    assert state.service("web") is None
    assert state.services() == {}
    ((key, entry),) = state.unsynced_services()
    assert entry.deleted
    state.service_synced(key, entry.service)
    assert state.service_entries() == []


def test_a_status_change_is_written_at_once():
    """Passing to critical cannot wait."""
    state, _, changes = make_state(interval_s=300)
    state.add_check(HealthCheck(check_id="c", status="passing"))
    synced(state)
    changes.clear()
    state.update_check("c", "critical", "down")
    assert changes == [1]
    assert [key for key, _ in state.unsynced_checks()] == ["c"]


def test_a_change_of_output_alone_is_written_late():
    """Outputs that change all the time do not keep the catalog busy."""
    state, host, changes = make_state(interval_s=300)
    state.add_check(HealthCheck(check_id="c", status="passing"))
    synced(state)
    changes.clear()
    state.update_check("c", "passing", "1 ms")
    state.update_check("c", "passing", "2 ms")
    assert state.check("c").output == "2 ms"
    host.reactor.advance(149)
    assert changes == []
    host.reactor.advance(302)
    assert changes == [1]
    assert [key for key, _ in state.unsynced_checks()] == ["c"]


def test_output_can_be_discarded():
    """With discard_check_output no output is kept."""
    state, _, _ = make_state(discard=True)
    state.add_check(HealthCheck(check_id="c", status="passing", output="x"))
    assert state.check("c").output == ""
    state.update_check("c", "critical", "y")
    assert state.check("c").output == ""


def test_how_long_a_check_is_critical():
    """The time counts from the moment the check turned critical."""
    state, host, _ = make_state()
    state.add_check(HealthCheck(check_id="c", status="passing"))
    assert state.critical_for("c") is None
    state.update_check("c", "critical", "")
    host.reactor.advance(5)
    state.update_check("c", "critical", "still")
    host.reactor.advance(5)
    assert state.critical_for("c") == 10
    state.update_check("c", "warning", "")
    assert state.critical_for("c") is None


def test_observers_see_every_change_until_they_stop():
    """Whoever watches is told, but not of outputs that change all the time."""
    state, _, _ = make_state(interval_s=300)
    seen = []
    stop = state.observe(lambda: seen.append(1))
    state.add_check(HealthCheck(check_id="c", status="passing"))
    synced(state)
    state.update_check("c", "passing", "other")
    assert seen == [1]
    state.update_check("c", "critical", "other")
    assert seen == [1, 1]
    stop()
    state.remove_check("c")
    assert seen == [1, 1]
