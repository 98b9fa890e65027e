"""Definitions are refused, completed and turned into rows as Consul does."""

from types import SimpleNamespace

import pytest

from consultwist.checks.definition import (
    is_status,
    kind_of,
    node_check_row,
    require_scripts,
    service_check_row,
    validate,
    with_limits,
)
from consultwist.errors import BadRequest, ConsultwistError
from consultwist.structs.catalog import CheckType, NodeService
from consultwist.structs.check_definition import CheckDefinition

S = 1_000_000_000

#: The texts were captured from 1.8.7, all but that of alias with interval.
REFUSED = [
    ({}, "TTL must be > 0 for TTL checks"),
    ({"interval": 10 * S}, "TTL must be > 0 for TTL checks"),
    ({"ttl": -S}, "TTL must be > 0 for TTL checks"),
    ({"http": "http://x"}, "Interval must be > 0 for Script, HTTP, or TCP checks"),
    (
        {"http": "http://x", "interval": -S},
        "Interval must be > 0 for Script, HTTP, or TCP checks",
    ),
    (
        {"http": "http://x", "ttl": 5 * S},
        "Interval must be > 0 for Script, HTTP, or TCP checks",
    ),
    ({"tcp": "x:1"}, "Interval must be > 0 for Script, HTTP, or TCP checks"),
    ({"grpc": "x:1"}, "Interval must be > 0 for Script, HTTP, or TCP checks"),
    (
        {"script_args": ["true"]},
        "Interval must be > 0 for Script, HTTP, or TCP checks",
    ),
    (
        {"alias_service": "web", "interval": S, "ttl": S},
        "Interval and TTL cannot both be specified",
    ),
    (
        {"alias_service": "web", "http": "http://x", "interval": S},
        "Interval cannot be set for Alias checks",
    ),
    ({"alias_node": "n", "ttl": S}, "TTL must be not be set for Alias checks"),
    ({"ttl": 10 * S, "output_max_size": -5}, "MaxOutputMaxSize must be positive"),
]

ACCEPTED = [
    ({"ttl": S}, "ttl"),
    ({"http": "http://x", "interval": S}, "http"),
    ({"tcp": "x:1", "interval": S}, "tcp"),
    ({"grpc": "x:1", "interval": S}, "grpc"),
    ({"script_args": ["true"], "interval": S}, "script"),
    (
        {"script_args": ["true"], "interval": S, "docker_container_id": "abc"},
        "docker",
    ),
    ({"alias_service": "web"}, "alias"),
    ({"alias_node": "n"}, "alias"),
    # Two sources are accepted; what is shown is not always what runs.
    ({"grpc": "x:1", "http": "http://x", "interval": S}, "grpc"),
    ({"http": "http://x", "tcp": "x:1", "interval": S}, "http"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_senseless_definitions_are_refused_in_consuls_words(fields, text):
    """A definition that cannot run is refused with the text of Consul."""
    with pytest.raises(BadRequest) as caught:
        validate(CheckType(**fields))
    assert str(caught.value) == text


@pytest.mark.parametrize(("fields", "kind"), ACCEPTED)
def test_sensible_definitions_have_a_kind(fields, kind):
    """A definition that runs is accepted, and shown under its kind."""
    definition = CheckType(**fields)
    validate(definition)
    assert kind_of(definition) == kind


def test_a_definition_of_nothing_has_no_kind():
    """What says nothing is of no kind."""
    assert kind_of(CheckType()) == ""


@pytest.mark.parametrize("status", ["passing", "warning", "critical"])
def test_the_three_statuses(status):
    """A check has one of three statuses."""
    assert is_status(status)


@pytest.mark.parametrize("status", ["", "maintenance", "any", "Passing"])
def test_what_is_no_status(status):
    """Aggregates and other words are no status of a check."""
    assert not is_status(status)


def test_short_times_are_raised(host):
    """Intervals begin at a second, the reaping of a service at a minute."""
    definition = CheckType(
        check_id="c", tcp="x:1", interval=1, deregister_critical_service_after=1
    )
    limited = with_limits(definition, host.config)
    assert limited.interval == S
    assert limited.deregister_critical_service_after == 60 * S


def test_what_is_long_enough_stays(host):
    """Times above the least, and the absence of reaping, stay as they are."""
    definition = CheckType(check_id="c", tcp="x:1", interval=2 * S)
    limited = with_limits(definition, host.config)
    assert limited.interval == 2 * S
    assert limited.deregister_critical_service_after == 0


def test_a_ttl_gets_no_interval(host):
    """Only what probes has a least interval."""
    assert with_limits(CheckType(name="c", ttl=1), host.config).interval == 0


@pytest.mark.parametrize(
    ("asked", "cap", "kept"),
    [(0, 4096, 4096), (10, 4096, 10), (9000, 4096, 4096), (0, 100, 100), (5, 0, 1)],
)
def test_the_output_size_is_the_smaller_of_check_and_agent(host, asked, cap, kept):
    """A check may lower the agent's limit and never raise it."""
    host.config = SimpleNamespace(**vars(host.config) | {"check_output_max_size": cap})
    definition = CheckType(check_id="c", ttl=S, output_max_size=asked)
    assert with_limits(definition, host.config).output_max_size == kept


def test_the_id_comes_from_the_name(host):
    """A check without an id has its name for one."""
    limited = with_limits(CheckType(name="mem", ttl=S), host.config)
    assert limited.check_id == "mem"


def test_scripts_need_an_opt_in(host):
    """Scripts run only where the agent says so; remote ones need the wider word."""
    script = CheckType(script_args=["true"])
    with pytest.raises(ConsultwistError) as caught:
        require_scripts(script, host.config, remote=True)
    assert caught.value.status == 500
    assert str(caught.value) == (
        "Scripts are disabled on this agent from remote calls; "
        "to enable, configure 'enable_script_checks' to true"
    )
    with pytest.raises(ConsultwistError) as caught:
        require_scripts(script, host.config, remote=False)
    assert str(caught.value) == (
        "Scripts are disabled on this agent; to enable, configure "
        "'enable_script_checks' or 'enable_local_script_checks' to true"
    )
    require_scripts(CheckType(http="x"), host.config, remote=True)
    host.config.enable_local_script_checks = True
    require_scripts(script, host.config, remote=False)
    with pytest.raises(ConsultwistError):
        require_scripts(script, host.config, remote=True)
    host.config.enable_remote_script_checks = True
    require_scripts(script, host.config, remote=True)


def test_a_row_of_a_definition_that_stands_for_itself():
    """It begins critical, under its name, and without a type."""
    row = node_check_row(CheckDefinition(name="mem", notes="free", ttl=S), "n1")
    assert (row.node, row.check_id, row.name) == ("n1", "mem", "mem")
    assert (row.status, row.notes, row.type) == ("critical", "free", "")
    given = node_check_row(CheckDefinition(id="i", name="m", status="passing"), "n1")
    assert (given.check_id, given.status) == ("i", "passing")


@pytest.mark.parametrize(
    ("count", "check_id"), [(1, "service:web-1"), (3, "service:web-1:2")]
)
def test_a_row_of_a_check_inside_a_service(count, check_id):
    """Its id and name come of the service where it has none."""
    service = NodeService(id="web-1", service="web", tags=["a"])
    row = service_check_row(CheckType(ttl=S), service, "n1", number=2, count=count)
    assert row.check_id == check_id
    assert row.name == "Service 'web' check"
    assert (row.service_id, row.service_name, row.service_tags) == (
        "web-1",
        "web",
        ["a"],
    )
    assert (row.type, row.status) == ("ttl", "critical")


def test_a_check_inside_a_service_keeps_its_own_id_and_name():
    """What the user wrote goes before what could be derived."""
    definition = CheckType(check_id="mine", name="alive", ttl=S, status="warning")
    service = NodeService(id="web-1", service="web")
    row = service_check_row(definition, service, "n1", number=1, count=1)
    assert (row.check_id, row.name, row.status) == ("mine", "alive", "warning")
