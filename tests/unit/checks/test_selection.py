"""Which plugin runs a definition."""

import pytest
from zope.interface import implementer

from consultwist.checks.http import HTTPCheck
from consultwist.checks.script import ScriptCheck
from consultwist.checks.selection import CheckTypes
from consultwist.checks.tcp import TCPCheck
from consultwist.checks.ttl import TTLCheck
from consultwist.errors import BadRequest, ConfigError
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from twisted.plugins import consultwist_checks


@implementer(ICheckType)
class AcmeCheck:
    """A type of a third party, for URLs with a scheme of its own."""

    kind = "acme"

    def takes(self, definition):
        """Take its own URLs."""
        return definition.http.startswith("acme:")

    def make_runner(self, definition, host):
        """Never called here."""
        raise AssertionError


def built_in():
    """Return the instances of the dropin."""
    values = vars(consultwist_checks).values()
    return [value for value in values if ICheckType.providedBy(value)]


def test_the_first_source_of_consuls_order_runs():
    """Of several sources the first of TTL, HTTP, TCP, gRPC, docker, script runs."""
    types = CheckTypes([ScriptCheck(), TCPCheck(), TTLCheck(), HTTPCheck()])
    assert types.kinds() == ["ttl", "http", "tcp", "script"]
    every = CheckType(ttl=1, http="http://x", tcp="x:1", script_args=["x"])
    assert types.find(every).kind == "ttl"
    two = CheckType(tcp="x:1", http="http://x", script_args=["x"])
    assert types.find(two).kind == "http"


def test_types_of_third_parties_are_asked_first():
    """A type that takes a special URL is not pre-empted by the HTTP check."""
    types = CheckTypes([HTTPCheck(), AcmeCheck()])
    assert types.find(CheckType(http="acme:x")).kind == "acme"
    assert types.find(CheckType(http="http://x")).kind == "http"


def test_two_plugins_of_a_kind_stop_the_start():
    """Two claims on one kind name both modules."""
    with pytest.raises(ConfigError) as caught:
        CheckTypes([HTTPCheck(), HTTPCheck()])
    assert str(caught.value).count("consultwist.checks.http") == 2


def test_what_no_plugin_takes_is_refused():
    """A definition without a type gets a clear error."""
    with pytest.raises(BadRequest) as caught:
        CheckTypes([HTTPCheck()]).find(CheckType(name="x", tcp="x:1"))
    assert "'x'" in str(caught.value)


def test_the_dropin_holds_the_built_in_types():
    """The built-in types come through the same door as all others."""
    kinds = set(CheckTypes(built_in()).kinds())
    assert kinds >= {"ttl", "http", "tcp", "script", "alias"}


def test_runners_are_made_by_the_type(host):
    """The runner of a definition is that of its type."""
    runner = CheckTypes(built_in()).make_runner(CheckType(ttl=10**9), host)
    runner.start()
    host.reactor.advance(1)
    assert host.reports[0][2] == "TTL expired"
