"""TTL checks expire without news, and survive a restart of the agent."""

import pytest
from zope.interface.verify import verifyObject

from consultwist.checks.ttl import (
    TTLCheck,
    TTLState,
    TTLStateFiles,
    update_ttl,
)
from consultwist.errors import ConsultwistError
from consultwist.interfaces import ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

FIVE_S = 5_000_000_000


def make_runner(host, output_max_size=4096):
    """Make a runner of a check that lives five seconds."""
    definition = CheckType(check_id="t", ttl=FIVE_S, output_max_size=output_max_size)
    check_type = TTLCheck()
    verifyObject(ICheckType, check_type)
    assert check_type.takes(definition)
    runner = check_type.make_runner(definition, host)
    verifyObject(ICheckRunner, runner)
    return runner


def test_a_check_without_news_expires_once(host):
    """A check that is never updated turns critical after its TTL, once."""
    make_runner(host).start()
    host.reactor.advance(4.9)
    assert host.reports == []
    host.reactor.advance(0.1)
    host.reactor.advance(60)
    assert host.reports == [("t", "critical", "TTL expired")]


def test_an_update_begins_the_ttl_anew(host):
    """Each update gives the application a whole TTL until its next word."""
    runner = make_runner(host)
    runner.start()
    host.reactor.advance(4)
    assert runner.update("passing", "here") == "here"
    host.reactor.advance(4.9)
    assert host.reports == [("t", "passing", "here")]
    host.reactor.advance(0.1)
    assert host.reports[-1] == (
        "t",
        "critical",
        "TTL expired (last output before timeout follows): here",
    )


def test_an_expired_check_comes_back(host):
    """An update after the expiry makes the check pass again."""
    runner = make_runner(host)
    runner.start()
    host.reactor.advance(5)
    runner.update("passing", "")
    assert host.reports[-1] == ("t", "passing", "")
    host.reactor.advance(5)
    assert host.reports[-1] == ("t", "critical", "TTL expired")


def test_a_stopped_check_does_not_expire(host):
    """A deregistered check says nothing more."""
    runner = make_runner(host)
    runner.start()
    runner.stop()
    host.reactor.advance(60)
    assert host.reports == []


def test_a_long_output_keeps_its_head(host):
    """An update keeps the first bytes of its output and says how many it had."""
    runner = make_runner(host)
    runner.start()
    kept = runner.update("warning", "y" * 5000)
    assert kept == "y" * 4096 + " ... (captured 4096 of 5000 bytes)"
    assert host.reports == [("t", "warning", kept)]


def test_only_ttl_checks_can_be_updated(host):
    """Updating a check that is unknown or of another type fails with Consul's text."""
    runner = make_runner(host)
    runner.start()
    assert update_ttl({"t": runner}, "t", "passing", "ok") == (runner, "ok")
    for check_id in ("nope", "other", ""):
        with pytest.raises(ConsultwistError) as caught:
            update_ttl({"t": runner, "other": object()}, check_id, "passing", "")
        assert str(caught.value) == f'CheckID "{check_id}" does not have associated TTL'
        assert caught.value.status == 500


def test_a_state_is_restored_until_it_expires(tmp_path):
    """What was saved comes back after a restart, but not once it has expired."""
    files = TTLStateFiles(str(tmp_path))
    state = TTLState(check_id="a/b", status="passing", output="o\udcff", expires=1000)
    files.save(state)
    restored = files.load("a/b", 999.9)
    assert restored is not None
    assert (restored.status, restored.expires) == ("passing", 1000)
    assert files.load("other", 0) is None
    assert files.load("a/b", 1000.0) is None
    assert list((tmp_path / "checks" / "state").iterdir()) == []


def test_a_state_file_has_the_name_and_fields_of_consuls(tmp_path):
    """The file is named by the MD5 of the id and holds Consul's JSON."""
    TTLStateFiles(str(tmp_path)).save(TTLState(check_id="web", status="warning"))
    path = tmp_path / "checks" / "state" / "2567a5ec9705eb7ac2c984033e06189d"
    text = '{"CheckID":"web","Status":"warning","Output":"","Expires":0}'
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"Expires":[]}', b"\xff"])
def test_a_damaged_state_file_is_removed(tmp_path, content):
    """A file that does not decode is forgotten instead of stopping the agent."""
    files = TTLStateFiles(str(tmp_path))
    files.save(TTLState(check_id="web", expires=10))
    path = next((tmp_path / "checks" / "state").iterdir())
    path.write_bytes(content)
    assert files.load("web", 0) is None
    assert not path.exists()


def test_a_removed_state_is_gone(tmp_path):
    """A deregistered check leaves no state; removing it twice does no harm."""
    files = TTLStateFiles(str(tmp_path))
    files.save(TTLState(check_id="web", expires=10))
    files.remove("web")
    files.remove("web")
    assert files.load("web", 0) is None
