"""What checks may expect beyond Consul's rules."""

import json

import attrs
import msgspec
import pytest
from twisted.internet.defer import Deferred

from consultwist.checks.definition import validate
from consultwist.checks.expectations import BODY_MAX_BYTES, BodyKeeper, value_at
from consultwist.checks.http import HTTPProbe
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.errors import BadRequest
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import result_of
from tests.unit.checks.network import Network

SECOND = 10**9
URL = "http://127.76.0.9:7601/state"
BODY = json.dumps({"state": "green", "db": [{"lag": 3, "main": True}], "none": None})


def ask(host, status="200 OK", body=BODY, **fields):
    """Run an HTTP check whose server gives one answer."""
    reply = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    network = Network(
        host.reactor,
        {
            "/state": reply.encode(),
            "/away": b"HTTP/1.1 302 Found\r\nLocation: /state\r\n"
            b"Content-Length: 0\r\n\r\n",
        },
    )
    definition = CheckType(http=URL, output_max_size=4096, timeout=SECOND)
    outcome = HTTPProbe(msgspec.structs.replace(definition, **fields), host).run()
    network.serve()
    host.reactor.advance(1)
    return result_of(outcome)


@pytest.mark.parametrize(
    ("status", "expected", "result"),
    [
        ("404 Not Found", ["404"], PASSING),
        ("204 No Content", ["200-299"], PASSING),
        ("200 OK", ["201", "300-399"], CRITICAL),
        ("429 Too Many Requests", ["200"], CRITICAL),
        ("429 Too Many Requests", ["429"], PASSING),
    ],
)
def test_expected_status_codes_take_the_place_of_the_rule(
    host, status, expected, result
):
    """Those listed pass, any other is critical."""
    assert ask(host, status, "", expected_status=expected).status == result


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"body_match": "gr[ae]+n"}, ""),
        ({"body_match": "red|blue"}, "the body does not match 'red|blue'"),
        ({"body_json": {"$.state": "green", "$.db[0].lag": "3"}}, ""),
        ({"body_json": {"$.db[0].main": "true", "$.none": "null"}}, ""),
        (
            {"body_json": {"$.state": "red"}},
            "the body has 'green' at $.state, not 'red'",
        ),
        (
            {"body_json": {"$.db[1].lag": "3"}},
            "the body has nothing at $.db[1].lag, not '3'",
        ),
    ],
)
def test_a_body_must_hold_what_is_expected(host, fields, fault):
    """A body that does not is critical, and the output says why."""
    found = ask(host, **fields)
    assert found.status == (CRITICAL if fault else PASSING)
    if fault:
        assert found.output.startswith(f"{fault}: HTTP GET {URL}: 200 OK Output: ")


def test_a_body_that_is_no_json_has_no_values(host):
    """It is critical without a look at paths."""
    found = ask(host, body="<html>", body_json={"$.state": "green"})
    assert found.output.startswith("the body is not JSON: ")


def test_a_bad_status_needs_no_look_into_the_body(host):
    """The output is Consul's."""
    found = ask(host, "500 Internal Server Error", body_match="red")
    assert found.status == CRITICAL
    assert found.output.startswith("HTTP GET")


def test_redirects_can_be_taken_for_the_answer(host):
    """Disabled redirects are not followed, so they fail unless they are expected."""
    away = "http://127.76.0.9:7601/away"
    assert ask(host, http=away).status == PASSING
    assert ask(host, http=away, disable_redirects=True).status == CRITICAL
    expected = ask(host, http=away, disable_redirects=True, expected_status=["302"])
    assert expected.status == PASSING


def test_only_the_beginning_of_a_body_is_looked_into():
    """A body without end fills no memory; its tail is shown as ever."""
    keeper = BodyKeeper(4)
    for _ in range(3):
        keeper.add(b"x" * (BODY_MAX_BYTES // 2) + b"end.")
    assert len(keeper.head()) == BODY_MAX_BYTES
    assert keeper.text() == "end."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"expected_status": ["2xx"]}, "ExpectedStatus has an invalid status code"),
        ({"expected_status": ["200"] * 65}, "at most 64 conditions"),
        ({"body_match": "("}, "error parsing regexp"),
        ({"body_json": {"state": "x"}}, "BodyJSON has an invalid path 'state'"),
        (
            {"failures_before_warning": 3, "failures_before_critical": 2},
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
        (
            {"failures_before_warning": 1},
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
    ],
)
def test_conditions_that_make_no_sense_are_refused(fields, text):
    """When the check is registered, not when it runs."""
    with pytest.raises(BadRequest, match=text):
        validate(CheckType(http=URL, interval=SECOND, **fields))


@pytest.mark.parametrize("field", ["udp", "h2ping", "os_service"])
def test_later_types_need_an_interval_too(field):
    """In the words of the releases that have them."""
    with pytest.raises(BadRequest) as caught:
        validate(msgspec.structs.replace(CheckType(), **{field: "x"}))
    assert str(caught.value) == (
        "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    )


def test_values_are_found_by_path():
    """Names and numbers of elements; nothing where a step leads nowhere."""
    document = {"a": [{"b": 1.5}], "c": {}}
    assert value_at(document, "$.a[0].b") == "1.5"
    assert value_at(document, "$.c") == "{}"
    assert value_at(document, "$.a.b") is None
    assert value_at(document, "$[0]") is None
    assert value_at("text", "$") == "text"


class SlowProbe:
    """A probe that takes as long as the test lets it."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.running: Deferred[Outcome] = Deferred()

    def run(self):
        return self.running


def report_of(host, outcome, took_s, **fields):
    """Return what a runner reports of a run that took so long."""
    probe = SlowProbe(outcome)
    definition = CheckType(check_id="c", interval=SECOND, **fields)
    runner = IntervalRunner(definition, host, probe.run)
    runner.start()
    host.reactor.advance(1)
    host.reactor.advance(took_s)
    probe.running.callback(outcome)
    runner.stop()
    return host.reports[-1][1:]


def test_a_run_that_takes_too_long_is_a_warning(host):
    """Any type of check can be given a threshold; the output says what happened."""
    outcome = Outcome(PASSING, "fine")
    assert report_of(host, outcome, 0.5, latency_warning=2 * SECOND)[0] == PASSING
    status, output = report_of(host, outcome, 3, latency_warning=2 * SECOND)
    assert status == "warning"
    assert output.endswith("more than 2s: fine")
    failed = attrs.evolve(outcome, status=CRITICAL)
    assert report_of(host, failed, 3, latency_warning=2 * SECOND)[0] == CRITICAL


def test_without_a_threshold_an_old_certificate_is_no_warning(host):
    """Who skips verification does not mind."""
    outcome = Outcome(PASSING, "fine", certificate_end=host.clock.wall() - 1)
    assert report_of(host, outcome, 0) == (PASSING, "fine")


def test_a_certificate_about_to_expire_is_a_warning(host):
    """From so long before its end on."""
    day_s = 86400
    outcome = Outcome(PASSING, "fine", certificate_end=host.clock.wall() + 10 * day_s)
    for days, status in ((9, PASSING), (11, "warning"), (0, PASSING)):
        warning = days * day_s * SECOND
        found = report_of(host, outcome, 0, certificate_expiry_warning=warning)
        assert found[0] == status
    assert "certificate expires in 239h59m" in host.reports[-2][2]
