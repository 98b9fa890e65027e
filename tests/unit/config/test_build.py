"""Values that are worked out from several keys."""

import ipaddress

import pytest

from consultwist.config.build import Surroundings, build
from consultwist.config.debug import debug_config
from consultwist.config.load import load, parse_agent_flags
from consultwist.config.merge import merge_sources
from consultwist.config.network import InterfaceAddress
from consultwist.errors import ConfigError
from consultwist.testing.config import make_config


def interface(address):
    return InterfaceAddress("eth0", ipaddress.ip_interface(address), 0x1)


def build_with(*addresses, **values):
    surroundings = Surroundings(
        hostname=lambda: "vm",
        interfaces=lambda: [interface(address) for address in addresses],
        environment={},
    )
    flags = {"data_dir": "/data", **values}
    return build(merge_sources([], flags=flags), surroundings).config


def test_the_only_private_address_is_advertised():
    """An agent that binds to all addresses tells others its private one."""
    config = build_with("10.1.2.3/8", "8.8.4.4/24", "127.0.0.1/8")
    assert config.bind_addr == "0.0.0.0"
    assert config.advertise_addr_lan == "10.1.2.3"


def test_several_private_addresses_need_a_choice():
    """The agent does not guess."""
    with pytest.raises(ConfigError, match="Multiple private IPv4 addresses found"):
        build_with("10.1.2.3/8", "10.1.2.4/8")


def test_no_private_address():
    """The agent does not tell others an address of the internet by itself."""
    with pytest.raises(ConfigError, match="No private IPv4 address found"):
        build_with("8.8.4.4/24")


def test_disabled_ports_have_no_listeners():
    """-1 turns an interface off."""
    config = make_config(dev=True, ports={"http": -1, "dns": 0, "serf_wan": -1})
    assert config.http_addrs == config.dns_addrs == ()
    assert config.serf_bind_addr_wan is None


def test_unix_socket_beside_tcp():
    """HTTP may listen on both."""
    config = make_config(dev=True, addresses={"http": "127.0.0.2 unix:///run/c.sock"})
    assert [str(address) for address in config.http_addrs] == [
        "tcp://127.0.0.2:8500",
        "unix:///run/c.sock",
    ]


def test_server_and_client_differ_in_how_they_go():
    """A client leaves when terminated, a server does not."""
    client, server = make_config(data_dir="/data"), make_config(dev=True)
    assert (client.leave_on_term, client.skip_leave_on_int) == (True, False)
    assert (server.leave_on_term, server.skip_leave_on_int) == (False, True)


def test_newer_acl_keys_win_over_flat_ones():
    """A token given in both ways is taken from the section."""
    config = make_config(dev=True, acl_token="old", acl={"tokens": {"default": "new"}})
    assert config.acl_token == "new"


def with_check(text):
    """Return a development configuration that defines one check."""
    arguments = ["-dev", "-bind=127.0.0.1", "-hcl", f"check {{ {text} }}"]
    return load(parse_agent_flags(arguments)).config


def test_checks_of_later_releases_can_be_defined_in_files():
    """With our own expectations beside them; the rest has its default."""
    config = with_check("""
        name = "c" h2ping = "127.0.0.1:1" h2ping_use_tls = false interval = "10s"
        latency_warning = "2s" body_json = { "$.state" = "green" }
    """)
    (found,) = config.checks
    assert (found.h2ping, found.h2ping_use_tls) == ("127.0.0.1:1", False)
    assert (found.latency_warning, found.udp) == (2_000_000_000, "")
    assert found.body_json == {"$.state": "green"}


def test_what_checks_do_not_use_is_not_shown():
    """Definitions look as they do in the release that we follow."""
    config = with_check('name = "c" udp = "x:1" interval = "10s"')
    (shown,) = debug_config(config)["Checks"]
    assert shown["UDP"] == "x:1"
    assert "H2PING" not in shown
    assert "H2PingUseTLS" not in shown


def test_no_secret_in_the_repr():
    """A configuration in a traceback tells no tokens."""
    config = make_config(dev=True, acl_token="s3cret", encrypt="c2VjcmV0")
    assert "s3cret" not in repr(config)
    assert "c2VjcmV0" not in repr(config)


def test_cloud_credentials_are_not_shown():
    """Where to find servers is shown, how to ask the cloud for them is not."""
    config = make_config(
        dev=True, retry_join=["provider=x zone=a secret_access_key=q", "10.0.0.1"]
    )
    assert debug_config(config)["RetryJoinLAN"] == [
        "provider=x zone=a secret_access_key=hidden",
        "10.0.0.1",
    ]


def test_load_reads_flags_files_and_fragments(tmp_path):
    """The whole way from a command line to a configuration."""
    (tmp_path / "a.hcl").write_text('node_name = "from-file"\nrecursors = ["1.1.1.1"]')
    flags = parse_agent_flags(
        [
            *("-dev", "-bind=127.0.0.1", f"-config-dir={tmp_path}"),
            *("-hcl", 'domain = "example"', "-http-port=7777"),
        ]
    )
    config = load(flags).config
    assert (config.node_name, config.dns_domain) == ("from-file", "example")
    assert str(config.http_addrs[0]) == "tcp://127.0.0.1:7777"
    assert config.dev_mode


def test_broken_fragment_is_named():
    """The text says which of several -hcl flags is wrong."""
    flags = parse_agent_flags(["-dev", "-hcl", "ui = true", "-hcl", "x"])
    with pytest.raises(ConfigError, match=r"failed to parse flags-1\.hcl: At 1:3"):
        load(flags)


def test_introduction_token_comes_from_the_environment():
    """The variable counts where the file names no token."""
    surroundings = Surroundings(
        interfaces=list, environment={"CONSUL_INTRO_TOKEN": "jwt"}
    )
    merged = merge_sources([], dev=True)
    config = build(merged, surroundings, dev=True).config
    assert config.auto_config.intro_token == "jwt"
