"""Alias checks are as healthy as what they follow."""

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from consultwist.checks.alias import (
    AliasCheck,
    LocalAliasRunner,
    RemoteAliasRunner,
    judge,
)
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import (
    CheckType,
    HealthCheck,
    IndexedHealthChecks,
    IndexedNodeServices,
    NodeService,
    NodeServices,
)

MINUTE = 60 * 10**9


def row(status, service_id="web", name="c", output="", node="n1", check_id="c"):
    """Return a row of a check."""
    return HealthCheck(
        node=node,
        check_id=check_id,
        name=name,
        status=status,
        service_id=service_id,
        output=output,
    )


def alias(service="web", node=""):
    """Return the definition of an alias."""
    return CheckType(check_id="a", alias_service=service, alias_node=node)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ("passing", "No checks found.", False)),
        ([row("passing")], ("passing", "All checks passing.", True)),
        ([row("passing", "other")], ("passing", "No checks found.", False)),
        ([row("passing", "")], ("passing", "All checks passing.", False)),
        (
            [row("warning", output="w"), row("passing")],
            ("warning", 'Aliased check "c" failing: w', True),
        ),
        (
            [row("warning", output="w"), row("critical", output="x")],
            ("critical", 'Aliased check "c" failing: x', True),
        ),
        (
            [row("critical", "", name="disk"), row("passing")],
            ("critical", 'Aliased check "disk" failing: ', False),
        ),
    ],
)
def test_the_worst_check_decides(rows, expected):
    """Checks of the service and of its node count, those of others do not."""
    assert judge(alias(), rows) == expected


def test_only_checks_of_the_named_node_count():
    """Where a node is named, checks of other nodes are left out."""
    rows = [row("critical", node="n2"), row("passing", node="n3")]
    assert judge(alias(node="n3"), rows)[0] == "passing"


def test_the_type_chooses_by_node(host):
    """What is on this node is followed here, what is elsewhere by the servers."""
    check_type = AliasCheck()
    verifyObject(ICheckType, check_type)
    assert check_type.takes(alias())
    assert check_type.takes(CheckType(alias_node="n2"))
    assert not check_type.takes(CheckType(ttl=1))
    for node in ("", "n1"):
        runner = check_type.make_runner(alias(node=node), host)
        assert isinstance(runner, LocalAliasRunner)
    assert isinstance(check_type.make_runner(alias(node="n2"), host), RemoteAliasRunner)


def test_a_local_alias_reports_at_once_and_at_each_change(host):
    """The status is known at the start and follows in the next turn of the reactor."""
    host.checks = [row("passing")]
    LocalAliasRunner(alias(), host).start()
    assert host.reports == [("a", "passing", "All checks passing.")]
    host.checks = [row("critical", output="down")]
    host.watchers[0]()
    host.watchers[0]()
    host.reactor.advance(0)
    assert host.reports[1:] == [("a", "critical", 'Aliased check "c" failing: down')]


def test_a_local_alias_looks_again_each_minute(host):
    """A change that nobody told of is seen within a minute."""
    LocalAliasRunner(alias(), host).start()
    host.checks = [row("warning")]
    host.reactor.advance(60)
    assert host.reports[-1][1] == "warning"


def test_a_local_alias_of_nothing_is_critical(host):
    """A service that is not registered has Consul's words, the node as written."""
    host.checks = None
    LocalAliasRunner(alias("nope"), host).start()
    LocalAliasRunner(alias("nope", "n1"), host).start()
    assert [output for _, _, output in host.reports] == [
        "Service nope could not be found on node ",
        "Service nope could not be found on node n1",
    ]
    assert host.reports[0][1] == "critical"


def test_an_alias_of_its_own_node_does_not_follow_itself(host):
    """A check of the node that follows the node leaves itself out."""
    host.checks = [row("critical", "", check_id="a"), row("passing", "")]
    LocalAliasRunner(alias("", "n1"), host).start()
    assert host.reports == [("a", "passing", "All checks passing.")]


def test_aliases_of_each_other_do_not_grow_without_end(host):
    """The output is cut to its limit, so that two aliases come to rest."""
    host.checks = [row("critical", output="x" * 5000)]
    LocalAliasRunner(alias(), host).start()
    assert len(host.reports[0][2]) == 4096


def test_a_stopped_local_alias_is_quiet(host):
    """Nothing is watched and no timer is left."""
    runner = LocalAliasRunner(alias(), host)
    runner.start()
    runner.stop()
    assert host.watchers == []
    assert host.reactor.getDelayedCalls() == []


def checks_answer(index, *rows):
    """Return the servers' answer about the checks of a node."""
    return IndexedHealthChecks(index=index, health_checks=list(rows))


def services_answer(*ids):
    """Return the servers' answer about the services of a node."""
    services = {number: NodeService(id=number) for number in ids}
    return IndexedNodeServices(node_services=NodeServices(services=services))


def start_remote(host, answers, **fields):
    """Start an alias of another node; its last query waits for ever."""
    host.answers = [*answers, Deferred()]
    runner = RemoteAliasRunner(alias(node="n2", **fields), host)
    runner.start()
    return runner


def test_a_remote_alias_blocks_on_the_checks_of_the_node(host):
    """The first query answers at once, later ones wait for a change."""
    start_remote(host, [checks_answer(0, row("passing", node="n2"))])
    assert host.reports == [("a", "passing", "All checks passing.")]
    (_, first), (_, second) = host.requests
    assert [method for method, _ in host.requests] == ["Health.NodeChecks"] * 2
    assert (first.node, first.datacenter) == ("n2", "dc1")
    assert first.token == "token of a"
    assert first.allow_stale
    assert first.min_query_index == 0
    # Index 0 would not block and keep both agent and servers busy.
    assert second.min_query_index == 1
    assert second.max_query_time == MINUTE


def test_a_remote_alias_of_a_service_without_checks_asks_whether_it_exists(host):
    """Without checks the service must at least be registered."""
    start_remote(host, [checks_answer(7), services_answer("web")])
    assert host.reports == [("a", "passing", "No checks found.")]
    start_remote(host, [checks_answer(7), services_answer("other")])
    assert host.reports[-1] == (
        "a",
        "critical",
        "Service web could not be found on node n2",
    )


def test_a_remote_alias_of_a_node_alone_follows_the_node(host):
    """An alias that names no service works; stock 1.8.7 crashes on it."""
    start_remote(host, [checks_answer(7, row("warning", "", node="n2"))], service="")
    start_remote(host, [checks_answer(7)], service="")
    assert [status for _, status, _ in host.reports] == ["warning", "passing"]


def test_a_remote_alias_reports_the_second_failure_and_backs_off(host):
    """One failure is forgiven, the second is critical, then the queries slow down."""
    errors = [RuntimeError("No cluster leader")] * 6
    start_remote(host, [*errors, checks_answer(3, row("passing", node="n2"))])
    for _ in range(4):
        host.reactor.advance(0)
    assert [output for _, _, output in host.reports] == [
        "Failure checking aliased node or service: No cluster leader"
    ] * 3
    assert len(host.requests) == 4
    for pause in (2, 4, 8):
        host.reactor.advance(pause - 0.1)
        before = len(host.requests)
        host.reactor.advance(0.1)
        assert len(host.requests) > before
        host.reactor.advance(0)
    assert host.reports[-1] == ("a", "passing", "All checks passing.")


def test_a_service_that_nobody_answers_for_is_assumed_to_exist(host):
    """Where the servers do not say whether it exists, its checks decide."""
    errors = [RuntimeError("x")] * 4
    start_remote(host, [checks_answer(3), *errors])
    for pause in (1, 2, 3, 4):
        assert host.reports == []
        host.reactor.advance(pause)
    assert host.reports == [("a", "passing", "No checks found.")]


def test_a_query_that_is_never_answered_counts_as_a_failure(host):
    """The agent waits for a server, but not for ever."""
    host.answers = [Deferred(), Deferred(), Deferred()]
    RemoteAliasRunner(alias(node="n2"), host).start()
    host.reactor.advance(75)
    host.reactor.advance(0)
    host.reactor.advance(75)
    assert host.reports[0][1] == "critical"


def test_a_stopped_remote_alias_is_quiet(host):
    """The query under way is given up, no timer is left."""
    runner = start_remote(host, [])
    runner.stop()
    host.reactor.advance(300)
    assert host.reports == []
    assert host.reactor.getDelayedCalls() == []
