"""Mistakes that are found only when an agent is started, as captured."""

import json
from pathlib import Path

import attrs
import pytest

from consultwist.config.flags import ParsedFlags
from consultwist.errors import ConfigError
from consultwist.tap.build import prepare
from consultwist.tap.prestart import check_before_start
from consultwist.tap.start_checks import check_start
from consultwist.testing.config import make_config

VECTORS = Path(__file__).parents[2] / "vectors" / "config" / "start.json"
#: Found by the parts that listen, not by looking at the configuration.
OTHERS = ("address not local",)
STARTING = 'agent: Error starting agent: error="'

FAILING = [
    case
    for case in json.loads(VECTORS.read_text())["cases"]
    if case["exit"] == 1 and case["case"] not in OTHERS
]


def start(config, tmp_path):
    """Return what an agent says until it gives up, in the form of the captures."""
    said = []
    text = json.dumps(config).replace("<dir>", str(tmp_path))
    file = tmp_path / "c.json"
    file.write_text(text.replace("<base>", str(tmp_path)))
    flags = ParsedFlags({"config paths": [str(file)]})
    try:
        prepared = prepare(flags)
    except ConfigError as error:
        return [f"==> {error}"]
    said += [f"[WARN]  agent: {text}" for text in prepared.warnings]
    said += [f"[WARN]  agent.auto_config: {text}" for text in prepared.warnings]
    try:
        check_start(prepared.config, lambda text: said.append(f"[WARN]  agent: {text}"))
    except ConfigError as error:
        said.append(f'[ERROR] {STARTING}{error}"')
    finally:
        prepared.release()
    return said


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case["case"])
def test_start_that_fails(case, tmp_path):
    """The warnings and the error are those of stock."""
    expected = [text for text in case["messages"] if "Starting" not in text]
    expected = [text for text in expected if "Log data" not in text]
    assert start(case["config"], tmp_path) == expected


def test_key_and_certificate_must_belong_together(tmp_path):
    """Files that are no key pair are refused before anything starts."""
    file = tmp_path / "x.pem"
    file.write_text("nonsense")
    config = make_config(dev=True, cert_file=str(file), key_file=str(file))
    with pytest.raises(ConfigError, match="Failed to load cert/key pair: tls: "):
        check_before_start(config)


def test_directory_without_authorities(tmp_path):
    """An empty directory holds no authority to trust."""
    config = make_config(dev=True, ca_path=str(tmp_path), verify_outgoing=True)
    with pytest.raises(ConfigError, match="no CA certificate provided"):
        check_before_start(config)


def test_incoming_needs_a_certificate_of_our_own(tmp_path):
    """Who asks others for certificates must show one."""
    config = attrs.evolve(make_config(dev=True), verify_incoming=True)
    with pytest.raises(ConfigError, match="no CA certificates were provided"):
        check_before_start(config)


def test_pid_file_is_written_and_removed(tmp_path):
    """The file is there while the agent is."""
    pid_file = tmp_path / "pid"
    flags = ParsedFlags({"dev": True, "bind": "127.0.0.1", "pid-file": str(pid_file)})
    prepared = prepare(flags)
    prepared.write_pid_file()
    assert pid_file.read_text().strip().isdigit()
    prepared.release()
    assert not pid_file.exists()


def test_pid_file_that_cannot_be_written(tmp_path):
    """A mistake in its path is told."""
    flags = ParsedFlags(
        {"dev": True, "bind": "127.0.0.1", "pid-file": str(tmp_path / "a" / "pid")}
    )
    with pytest.raises(ConfigError, match="Could not open pid file"):
        prepare(flags).write_pid_file()


def test_reload_keeps_the_node_id():
    """The id that was made up at the start is in force until the end."""
    prepared = prepare(ParsedFlags({"dev": True, "bind": "127.0.0.1"}))
    assert prepared.read_config().node_id == prepared.config.node_id != ""


def test_given_node_id_is_taken():
    """In lower case, as Consul keeps it."""
    node_id = "98D82002-3535-F566-6F3F-5DCB802FB11C"
    prepared = prepare(
        ParsedFlags({"dev": True, "bind": "127.0.0.1", "node-id": node_id})
    )
    assert prepared.config.node_id == node_id.lower()
