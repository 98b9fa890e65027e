"""TLS between agents: who is let in, and whom a client believes."""

from pathlib import Path
from typing import Any

import pytest
from twisted.python.failure import Failure

from consultwist.errors import CallInterrupted, ConfigError, ServerUnreachable
from consultwist.rpc.security import Security
from consultwist.testing.certificates import TestAuthority
from consultwist.testing.deferred import failure_of, result_of
from tests.unit.rpc.world import World, settings

NAME = "server.dc1.consul"


@pytest.fixture
def authority(tmp_path):
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def stranger(tmp_path):
    return TestAuthority(tmp_path / "other", "Another CA")


def outcome(server, client):
    """Call a method; returns the reply, or that it was refused."""
    world = World(server=settings(**server), client=settings(**client))
    results: list[Any] = []
    world.say("hello").addBoth(results.append)
    world.run(20)
    (result,) = results
    if isinstance(result, Failure):
        # With TLS 1.3 a client learns only later that its certificate is no good.
        result.trap(ServerUnreachable, CallInterrupted)
        return "refused"
    return result


def test_outgoing_connections_are_encrypted(authority):
    """Without a certificate of the client's, where none is wanted."""
    server = authority.issue("server", NAME)
    client = {"verify_outgoing": True, "ca_file": authority.ca_file}
    assert outcome(server, client) == b"hello"


def test_a_server_of_a_stranger_is_not_believed(authority, stranger):
    """Its certificate is not from an authority that the client knows."""
    client = {"verify_outgoing": True, "ca_file": authority.ca_file}
    assert outcome(stranger.issue("server", NAME), client) == "refused"


@pytest.mark.parametrize(
    ("name", "answer"),
    [(NAME, b"hello"), ("server.dc2.consul", "refused"), ("dc1.consul", "refused")],
)
def test_the_name_of_a_server_is_checked_where_that_is_wanted(authority, name, answer):
    """It must be a server of the datacenter that is asked."""
    client = {"verify_outgoing": True, "ca_file": authority.ca_file}
    server = authority.issue("server", name)
    assert outcome(server, client) == b"hello"
    assert outcome(server, client | {"verify_server_hostname": True}) == answer


@pytest.mark.parametrize("setting", ["verify_incoming", "verify_incoming_rpc"])
def test_clients_prove_who_they_are_where_that_is_wanted(authority, stranger, setting):
    """By a certificate of an authority that the server knows."""
    server = authority.issue("server", NAME) | {setting: True}
    out = {"verify_outgoing": True}
    assert outcome(server, out | authority.issue("client", "c")) == b"hello"
    assert outcome(server, out | {"ca_file": authority.ca_file}) == "refused"
    mixed = stranger.issue("client", "c") | {"ca_file": authority.ca_file}
    assert outcome(server, out | mixed) == "refused"


def test_plain_connections_are_refused_where_tls_is_required(authority):
    """Whatever the first byte is."""
    server = authority.issue("server", NAME) | {"verify_incoming": True}
    world = World(server=settings(**server))
    for byte in (0, 1, 4, 5):
        assert world.dial(bytes([byte])).is_lost
    assert not world.dial(b"\x03").is_lost


def test_plain_connections_are_taken_where_tls_is_not_required(authority):
    """Beside those with TLS: a cluster changes over agent by agent."""
    assert outcome(authority.issue("server", NAME), {}) == b"hello"


def test_authorities_may_lie_in_a_folder(authority, stranger, tmp_path):
    """All of its files count."""
    folder = tmp_path / "all"
    folder.mkdir()
    for number, each in enumerate((authority, stranger)):
        text = Path(each.ca_file).read_text()
        (folder / f"{number}.pem").write_text(text)
    client = {"verify_outgoing": True, "ca_path": str(folder)}
    for each in (authority, stranger):
        assert outcome(each.issue("server", NAME), client) == b"hello"


def test_versions_below_the_least_are_refused(authority):
    """A client that speaks only newer ones does not talk to an older server."""
    suites = {"tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)}
    server = authority.issue("server", NAME)
    client = {"verify_outgoing": True, "ca_file": authority.ca_file}
    newest = {"tls_min_version": "tls13"}
    assert outcome(server | suites, client | newest) == b"hello"
    assert outcome(server | newest, client | suites) == b"hello"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ca_file": "/nonexistent"},
        {"cert_file": "/nonexistent", "key_file": "/nonexistent"},
        {"verify_outgoing": True, "tls_min_version": "ssl3"},
        {"verify_outgoing": True, "tls_cipher_suites": ("NULL",)},
    ],
)
def test_settings_that_are_no_use_are_refused_at_the_start(wrong):
    """With a text that says what is wrong."""
    world = World()
    with pytest.raises(ConfigError):
        Security(settings(**wrong), world.clock)


def test_a_certificate_that_verifies_nobody_is_refused(authority):
    """Clients' certificates cannot be checked without an authority."""
    files = authority.issue("server", NAME) | {"ca_file": "", "verify_incoming": True}
    with pytest.raises(ConfigError, match="no CA certificate"):
        Security(settings(**files), World().clock)


def test_a_reload_changes_new_connections_and_keeps_old_ones(authority, stranger):
    """A call that is under way ends well after the certificates changed."""
    files = authority.issue("server", NAME)
    client = settings(verify_outgoing=True, ca_file=authority.ca_file)
    world = World(server=settings(**files), client=client)
    waiting = world.say("wait")
    world.run(5)
    world.server_security.reconfigure(settings(**stranger.issue("server", NAME)))
    with pytest.raises(ConfigError):
        world.server_security.reconfigure(settings(ca_file="/nonexistent"))
    world.waiting[0].callback("done")
    world.run()
    assert result_of(waiting) == b"done"
    world.pool.close()
    fresh = World(server=settings(**files), client=client)
    fresh.server_security.reconfigure(settings(**stranger.issue("server", NAME)))
    called = fresh.say("x")
    fresh.run(20)
    failure_of(called, ServerUnreachable)
