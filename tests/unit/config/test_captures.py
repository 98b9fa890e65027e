"""Whole configurations against what stock Consul said about them."""

import ipaddress
import json
import re
from pathlib import Path

import pytest

from consultwist.config.build import Surroundings, build
from consultwist.config.debug import debug_config
from consultwist.config.merge import Source, merge_sources
from consultwist.config.network import InterfaceAddress
from consultwist.errors import ConfigError

VECTORS = Path(__file__).parents[2] / "vectors" / "config"
ETH0 = InterfaceAddress("eth0", ipaddress.ip_interface("192.0.2.2/24"), 0x11043)
MACHINE = Surroundings(hostname=lambda: "vm", interfaces=lambda: [ETH0], environment={})


#: What a stock open-source build says of network segments, which work here.
OF_SEGMENTS = re.compile(
    r"Network segments are not supported|"
    r"segments?[^ ]* is a Consul Enterprise configuration"
)


def load(name):
    """Return the captured cases of a file, but for those about network segments."""
    cases = json.loads((VECTORS / name).read_text())["cases"]
    return [case for case in cases if not OF_SEGMENTS.search(json.dumps(case))]


def verdict(text, form):
    """Return exit code and text, as the validate command would give them."""
    try:
        built = build(merge_sources([Source("<file>", text, form)]), MACHINE)
    except ConfigError as error:
        return 1, f"Config validation failed: {error}".strip()
    return 0, "\n".join(built.warnings) or "Configuration is valid!"


@pytest.mark.parametrize(
    "case", load("texts.json"), ids=lambda case: case["text"][-40:]
)
def test_text_is_read_or_refused_as_consul_does(case):
    """HCL and JSON texts give the words and positions that users know."""
    assert verdict(case["text"], case["format"]) == (case["exit"], case["said"])


@pytest.mark.parametrize(
    "case", load("rules.json"), ids=lambda case: json.dumps(case["config"])[-60:]
)
def test_rules_are_those_of_consul(case):
    """Each mistake and each warning has Consul's text, and comes in its order."""
    said = verdict(json.dumps(case["config"]), "json")
    assert said == (case["exit"], case["said"])


@pytest.mark.parametrize(
    "case",
    [case for case in load("validate.json") if "config" in case],
    ids=lambda case: case["case"],
)
def test_validate_case(case, tmp_path):
    """The captured runs of the validate command give the same verdict."""
    (tmp_path / "afile").write_text("x")
    text = case["config"].replace("DATA", str(tmp_path / "data"))
    exit_code, said = verdict(
        text.replace("FILE", str(tmp_path / "afile")), case["format"]
    )
    expected = case["stderr"] or case["stdout"]
    assert (exit_code, said.replace(str(tmp_path), "<dir>")) == (
        case["exit"],
        expected,
    )


#: Only the owner of config entries knows these defaults.
ENTRY_DEFAULTS = ("CreateIndex", "ModifyIndex", "MeshGateway", "Expose")


@pytest.mark.parametrize("case", load("debug.json"), ids=lambda case: case["name"])
def test_debug_config_is_what_stock_shows(case):
    """/v1/agent/self shows the same names, values and defaults, secrets hidden."""
    source = Source("file", json.dumps(case["config"]), "json")
    built = build(merge_sources([source], dev=case["dev"]), MACHINE, dev=case["dev"])
    shown = json.loads(json.dumps(debug_config(built.config)))
    expected = case["debug"]
    # Stock makes up the id; here that happens when the agent is started.
    for config in (shown, expected):
        config["NodeID"] = ""
    for entry in expected["ConfigEntryBootstrap"]:
        for name in ENTRY_DEFAULTS:
            entry.pop(name, None)
    assert shown == expected


SERVER = {"server": True, "data_dir": "/data", "bind_addr": "127.0.0.1"}
CLIENT = {"data_dir": "/data", "bind_addr": "127.0.0.1"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SERVER | {"segments": [{"name": "a", "port": 8303}]}, ""),
        (CLIENT | {"segment": "a"}, ""),
        (
            CLIENT | {"segments": [{"name": "a", "port": 8303}]},
            "Segments can only be configured on server agents",
        ),
        (SERVER | {"segment": "a"}, "Segment option can only be set on client agents"),
        (
            SERVER | {"segments": [{"name": "", "port": 1}]},
            "Segment name cannot be blank",
        ),
        (
            SERVER | {"segments": [{"name": "a", "port": 1}] * 2},
            'Segment name "a" is used more than once',
        ),
        (
            SERVER | {"segments": [{"name": "a" * 65, "port": 1}]},
            "exceeds maximum length of 64",
        ),
        (
            SERVER
            | {"segments": [{"name": str(n), "port": 9000 + n} for n in range(65)]},
            "Cannot exceed network segment limit of 64",
        ),
    ],
)
def test_network_segments_are_open_here(config, said):
    """Servers configure them, clients are in one; names and numbers have limits."""
    exit_code, text = verdict(json.dumps(config), "json")
    assert exit_code == bool(said)
    assert said in text
