"""Registering services and checks with an agent."""

import json

import attrs
import pytest

from consultwist.agent.check_runners import CheckRunners
from consultwist.agent.local_state import LocalState
from consultwist.agent.registry import Registry
from consultwist.checks.alias import AliasCheck
from consultwist.checks.os_service import OSServiceCheck
from consultwist.checks.selection import CheckTypes
from consultwist.checks.tcp import TCPCheck
from consultwist.checks.ttl import TTLCheck
from consultwist.errors import BadRequest, ConsultwistError, NotFound
from consultwist.structs.catalog import (
    CheckType,
    ConnectProxyConfig,
    ServiceConnect,
    ServiceDefinition,
    Weights,
)
from consultwist.structs.check_definition import CheckDefinition
from consultwist.testing.config import make_config
from consultwist.testing.host import make_host

SECOND = 10**9


class World:
    """An agent's registry with what it writes to."""

    def __init__(self, data_dir="", **config):
        self.host = make_host()
        files = {"data_dir": str(data_dir)} if data_dir else {}
        self.config = make_config(dev=not data_dir, node_name="n1", **files, **config)
        self.state = LocalState(self.host, 0, False, lambda: None)
        self.checks = CheckRunners(
            self.host,
            self.config,
            CheckTypes([TTLCheck(), TCPCheck(), AliasCheck(), OSServiceCheck()]),
            self.state,
            rpc=None,
            reap=self.reap,
        )
        self.registry = Registry(self.host, self.config, self.state, self.checks)
        self.reaped = []

    def reap(self, service_id):
        self.reaped.append(service_id)

    def write_files(self):
        """Let what was registered reach the disk."""
        self.host.reactor.advance(0)

    def service(self, service_id):
        """Return a service that is there."""
        found = self.state.service(service_id)
        assert found is not None
        return found

    def check(self, check_id):
        """Return a check that is there."""
        found = self.state.check(check_id)
        assert found is not None
        return found


def ttl(seconds=10, **fields):
    """Return a TTL check."""
    return CheckType(ttl=seconds * SECOND, **fields)


def test_a_service_gets_its_defaults_and_its_check():
    """The id defaults to the name, weights to one, the check's id to the service's."""
    world = World()
    world.registry.register_service(ServiceDefinition(name="web", check=ttl()))
    service = world.service("web")
    assert (service.service, service.weights) == ("web", Weights(passing=1, warning=1))
    check = world.check("service:web")
    assert (check.name, check.status) == ("Service 'web' check", "critical")
    assert (check.service_id, check.type) == ("web", "ttl")


def test_several_checks_are_numbered():
    """The ids of a service's checks tell which is which."""
    world = World()
    definition = ServiceDefinition(name="web", checks=[ttl(), ttl()])
    world.registry.register_service(definition)
    assert list(world.state.checks()) == ["service:web:1", "service:web:2"]


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (ServiceDefinition(), "Missing service name"),
        (ServiceDefinition(name="x", address="0.0.0.0"), "Invalid service address"),
        (
            ServiceDefinition(name="x", weights=Weights(passing=0)),
            "Invalid Weights: Passing must be greater than 0",
        ),
        (
            ServiceDefinition(name="x", meta={"consul-a": "b"}),
            (
                "Invalid Service Meta: Couldn't load metadata pair ('consul-a', 'b'): "
                "Key prefix 'consul-' is reserved for internal use"
            ),
        ),
        (
            ServiceDefinition(name="x", check=CheckType(http="http://x")),
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            ServiceDefinition(name="x", kind="mesh-gateway"),
            "1 error occurred:\n\t* Port must be non-zero for a mesh-gateway\n\n",
        ),
    ],
)
def test_a_wrong_definition_registers_nothing(definition, text):
    """The error has Consul's text, and the agent is as it was."""
    world = World()
    with pytest.raises(BadRequest) as caught:
        world.registry.register_service(definition)
    assert str(caught.value) == text
    assert world.state.service_entries() == []


def test_a_refused_registration_removes_the_check_of_that_id():
    """As in Consul, which takes the old one away before it looks at the new one."""
    world = World()
    world.registry.register_check(CheckDefinition(name="x", ttl=SECOND))
    with pytest.raises(ConsultwistError, match="Scripts are disabled"):
        world.registry.register_check(
            CheckDefinition(name="x", script_args=["true"], interval=SECOND)
        )
    assert world.state.check("x") is None


def test_a_type_that_cannot_run_here_is_refused_and_leaves_nothing():
    """Checks of Windows services exist on Windows only."""
    world = World()
    with pytest.raises(ConsultwistError, match=r"^not implemented$"):
        world.registry.register_check(
            CheckDefinition(name="x", os_service="spooler", interval=SECOND)
        )
    assert world.state.checks() == {}


def test_scripts_are_refused_unless_the_agent_allows_them():
    """Whoever reaches the HTTP API may not run programs by default."""
    world = World()
    check = CheckType(script_args=["true"], interval=SECOND)
    with pytest.raises(ConsultwistError, match="Scripts are disabled"):
        world.registry.register_service(ServiceDefinition(name="x", check=check))
    assert world.state.service_entries() == []


def test_registering_again_keeps_what_is_known_of_a_check():
    """A service that registers itself at each start does not turn critical by it."""
    world = World()
    definition = ServiceDefinition(name="web", check=ttl())
    world.registry.register_service(definition)
    world.registry.update_ttl("service:web", "passing", "fine")
    world.registry.register_service(definition)
    assert world.check("service:web").status == "passing"


def test_checks_that_are_defined_no_more_go_if_that_is_asked_for():
    """`replace-existing-checks` leaves only the checks of the new definition."""
    world = World()
    world.registry.register_service(ServiceDefinition(name="web", check=ttl()))
    world.registry.register_service(
        ServiceDefinition(name="web", check=ttl(check_id="other")), replace_checks=True
    )
    assert list(world.state.checks()) == ["other"]


def test_a_sidecar_comes_and_goes_with_its_service():
    """The proxy beside a service gets a free port and two checks."""
    world = World()
    sidecar = ServiceDefinition(proxy=ConnectProxyConfig())
    definition = ServiceDefinition(
        name="web", port=80, connect=ServiceConnect(sidecar_service=sidecar)
    )
    world.registry.register_service(definition)
    proxy = world.service("web-sidecar-proxy")
    assert (proxy.kind, proxy.port) == ("connect-proxy", 21000)
    assert proxy.proxy.destination_service_id == "web"
    assert [c.name for c in world.state.checks_of("web-sidecar-proxy")] == [
        "Connect Sidecar Listening",
        "Connect Sidecar Aliasing web",
    ]
    world.registry.deregister_service("web")
    assert world.state.services() == {}
    assert world.state.checks() == {}


def test_a_check_needs_the_service_that_it_names():
    """A check of a service that is not here is refused."""
    world = World()
    definition = CheckDefinition(name="c", service_id="nope", ttl=SECOND)
    with pytest.raises(ConsultwistError, match='ServiceID "nope" does not exist'):
        world.registry.register_check(definition)


def test_maintenance_is_a_critical_check():
    """Maintenance of node and service is shown and ended again."""
    world = World()
    world.registry.register_service(ServiceDefinition(name="web"))
    world.registry.node_maintenance(enable=True, reason="", token="")
    world.registry.service_maintenance("web", enable=True, reason="why", token="")
    node, service = world.state.checks().values()
    assert node.notes.startswith("Maintenance mode is enabled for this node")
    assert (service.check_id, service.notes) == ("_service_maintenance:web", "why")
    world.registry.node_maintenance(enable=False, reason="", token="")
    world.registry.service_maintenance("web", enable=False, reason="", token="")
    assert world.state.checks() == {}
    with pytest.raises(NotFound):
        world.registry.service_maintenance("no", enable=True, reason="", token="")


def test_a_service_that_is_critical_for_too_long_is_reaped():
    """deregister_critical_service_after counts from the moment of turning critical."""
    world = World()
    world.checks.startService()
    check = ttl(check_id="c", deregister_critical_service_after=90 * SECOND)
    world.registry.register_service(ServiceDefinition(name="web", check=check))
    world.host.reactor.pump([30] * 3)
    assert world.reaped == []
    world.host.reactor.pump([30])
    assert world.reaped == ["web"]
    world.checks.stopService()


def test_what_was_registered_is_there_after_a_restart(tmp_path):
    """Files in the data directory bring services and checks back, with TTL state."""
    world = World(tmp_path)
    definition = ServiceDefinition(
        name="web", tags=["a"], token="secret", check=ttl(30)
    )
    world.registry.register_service(definition)
    world.registry.register_check(CheckDefinition(name="mem", ttl=30 * SECOND))
    world.registry.update_ttl("service:web", "passing", "fine")
    world.write_files()
    again = World(tmp_path)
    again.registry.load([], [])
    assert again.service("web").tags == ["a"]
    assert again.state.service_token("web") == "secret"
    assert again.check("service:web").status == "passing"
    assert again.check("mem").status == "critical"
    assert {(p.stat().st_mode & 0o777) for p in tmp_path.rglob("*") if p.is_file()} == {
        0o600
    }


def test_the_configuration_wins_over_a_file(tmp_path):
    """A service that the configuration defines is not overwritten by an old file."""
    world = World(tmp_path)
    world.registry.register_service(ServiceDefinition(name="web", port=1))
    world.write_files()
    again = World(tmp_path)
    again.registry.load([ServiceDefinition(name="web", port=2)], [])
    assert again.service("web").port == 2
    again.write_files()
    assert list((tmp_path / "services").iterdir()) == []


def test_a_damaged_file_is_reported_and_the_others_load(tmp_path):
    """One broken file does not keep the agent from starting."""
    world = World(tmp_path)
    world.registry.register_service(ServiceDefinition(name="web"))
    world.write_files()
    (tmp_path / "services" / "broken").write_text("{")
    (tmp_path / "services" / "unfinished.tmp").write_text("{")
    again = World(tmp_path)
    again.registry.load([], [])
    assert list(again.state.services()) == ["web"]


def test_the_files_have_the_form_of_a_stock_agent(tmp_path):
    """An agent may take over the data directory of a stock one, and the other way."""
    world = World(tmp_path)
    world.registry.register_service(ServiceDefinition(name="web", port=80))
    world.write_files()
    (path,) = (tmp_path / "services").iterdir()
    assert path.name == "2567a5ec9705eb7ac2c984033e06189d"
    stored = json.loads(path.read_text())
    assert stored["Service"]["ID"] == "web"
    assert set(stored) == {"Token", "Service", "Source"}


def test_a_reload_follows_the_configuration():
    """What is defined no more goes, what is new comes, what came by HTTP stays."""
    world = World()
    old = [ServiceDefinition(name="a"), ServiceDefinition(name="b")]
    world.registry.load(old, [])
    world.registry.register_service(ServiceDefinition(name="http"))
    before = attrs.evolve(world.config, services=tuple(old))
    after = attrs.evolve(
        world.config,
        services=(ServiceDefinition(name="b", port=9), ServiceDefinition(name="c")),
    )
    world.registry.reload(before, after)
    assert sorted(world.state.services()) == ["b", "c", "http"]
    assert world.service("b").port == 9
