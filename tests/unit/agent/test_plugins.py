"""Discovery of plugins."""

import attrs
import pytest
from zope.interface import directlyProvides

from consultwist.agent.plugins import BUILT_IN, discover
from consultwist.errors import ConfigError
from consultwist.interfaces import IAgentInterface, ICheckType, IDNSForm, IStateTable


class _Interface:
    """A plugin with a name."""

    def __init__(self, name):
        directlyProvides(self, IAgentInterface)
        self.name = name


class _Check:
    """A plugin with a kind."""

    def __init__(self, kind):
        directlyProvides(self, ICheckType)
        self.kind = kind


class _Form:
    """A plugin with labels."""

    def __init__(self, name, *labels):
        directlyProvides(self, IDNSForm)
        self.name = name
        self.labels = labels


class _Table:
    """A plugin with commands."""

    def __init__(self, name, *types):
        directlyProvides(self, IStateTable)
        self.name = name
        self._types = types

    def commands(self):
        return dict.fromkeys(self._types)


def _discover(*plugins, built_in=None):
    return discover(
        lambda interface: [p for p in plugins if interface.providedBy(p)],
        built_in or {},
    )


def test_plugins_are_sorted_by_name():
    """The order of discovery does not matter."""
    found = _discover(_Interface("b"), _Check("x"), _Interface("a"), _Check("c"))
    assert [plugin.name for plugin in found.interfaces] == ["a", "b"]
    assert [plugin.kind for plugin in found.check_types] == ["c", "x"]
    assert found.state_tables == ()


@pytest.mark.parametrize(
    ("plugins", "claim"),
    [
        ((_Interface("a"), _Interface("a")), "the name 'a'"),
        ((_Check("a"), _Check("a")), "the name 'a'"),
        ((_Form("a", "x", "y"), _Form("b", "y")), "the label 'y'"),
        ((_Table("a", 1, 2), _Table("b", 2)), "the command 2"),
    ],
)
def test_two_claims_stop_the_start(plugins, claim):
    """The error names what is claimed, and both modules."""
    with pytest.raises(ConfigError, match=claim) as refusal:
        _discover(*plugins)
    assert str(refusal.value).count(__name__) == 2


def test_a_missing_built_in_stops_the_start():
    """Twisted only logs a dropin that fails to import; for ours that is fatal."""
    with pytest.raises(ConfigError, match="IAgentInterface did not load: dns, http"):
        _discover(
            _Interface("other"),
            built_in={IAgentInterface: frozenset(("http", "dns", "other"))},
        )


def test_all_built_in_plugins_load():
    """What is listed as built in is found, and every dropin of ours is listed."""
    found = discover()
    listed = {name for names in BUILT_IN.values() for name in names}
    groups = [getattr(found, field.name) for field in attrs.fields(type(found))]
    ours = {
        getattr(plugin, "kind", None) or plugin.name
        for group in groups
        for plugin in group
        if type(plugin).__module__.startswith("consultwist.")
    }
    assert ours == listed
