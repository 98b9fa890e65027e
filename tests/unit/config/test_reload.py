"""What a reload applies, and what waits."""

import attrs

from consultwist.config.reload import compare
from consultwist.testing.config import make_config


def test_reloadable_settings_are_taken_over():
    """Log level, node metadata, DNS settings and definitions apply at once."""
    old = make_config(dev=True)
    new = make_config(
        dev=True,
        log_level="warn",
        node_meta={"a": "b"},
        dns_config={"node_ttl": "5s"},
        recursors=["1.1.1.1"],
        services=[{"name": "web"}],
    )
    change = compare(old, new)
    assert change.config == new
    assert change.ignored == ()
    assert set(change.changed) == {
        *("logging", "node_meta", "dns_node_ttl", "dns_recursors", "services")
    }


def test_other_settings_stay_and_are_named():
    """Ports, names and paths keep their old value until the next start."""
    old = make_config(dev=True)
    new = make_config(dev=True, node_name="other", ports={"http": 9500}, log_json=True)
    change = compare(old, new)
    assert change.config == old
    assert change.ignored == (
        "http_addrs",
        "ports.http",
        "log_json",
        "node_name",
    )


def test_own_node_id_is_no_change():
    """The id that the agent found at its start is not in the files."""
    read = make_config(dev=True)
    running = attrs.evolve(read, node_id="11111111-2222-3333-4444-555555555555")
    change = compare(running, read)
    assert change.config == running
    assert change.changed == change.ignored == ()


def test_metric_filters_reload_without_the_sinks():
    """Of one group, some settings apply and others wait."""
    old = make_config(dev=True)
    new = make_config(
        dev=True, telemetry={"prefix_filter": ["-a"], "metrics_prefix": "x"}
    )
    change = compare(old, new)
    assert change.config.telemetry.blocked_prefixes == ("a",)
    assert change.config.telemetry.metrics_prefix == "consul"
    assert change.ignored == ("telemetry.metrics_prefix",)
