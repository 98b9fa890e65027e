"""The commands, as a shell sees them."""

import io
import json
from pathlib import Path

import pytest

import consultwist
from consultwist.cli.command import Streams
from consultwist.cli.main import main
from consultwist.config.load import load, parse_agent_flags

ROOT = Path(__file__).parents[3]


def run(*argv):
    """Return exit code, standard output and standard error of a command."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(argv, Streams(io.StringIO(), stdout, stderr))
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.parametrize("argv", [(), ("bogus",), ("-zz",)])
def test_unknown_command_shows_what_there_is(argv):
    """Exit code 127, and the list on standard error."""
    code, out, err = run(*argv)
    assert (code, out) == (127, "")
    assert "Available commands are:\n    agent " in err


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help_is_no_mistake(word):
    """Asked for, the list comes on standard output."""
    code, out, err = run(word)
    assert (code, err) == (0, "")
    assert "    validate " in out


@pytest.mark.parametrize("name", ["agent", "validate", "version"])
def test_each_command_has_a_help_page(name):
    """The page is shown for -h and for help."""
    page = run(name, "-h")
    assert page == run("help", name)
    assert page[0] == 0
    assert page[1].startswith(f"Usage: consultwist {name}")


@pytest.mark.parametrize("argv", [("version",), ("-v",), ("--version",)])
def test_version_names_the_release_first(argv):
    """Programs look for the release of Consul in the first line."""
    code, out, _ = run(*argv)
    lines = out.splitlines()
    assert (code, lines[0]) == (0, "Consul v1.8.7")
    assert lines[-1] == f"Consultwist v{consultwist.__version__}"


def test_version_as_json():
    """The figures for programs."""
    code, out, _ = run("version", "-format=json")
    assert code == 0
    assert json.loads(out)["RPC"] == {"Default": 2, "Min": 2, "Max": 3}


def test_version_in_an_unknown_format():
    """Another format is a mistake."""
    assert run("version", "-format=x") == (1, "", "Unknown format: x\n")


def test_validate_without_files():
    """There must be something to check."""
    said = "Must specify at least one config file or directory\n"
    assert run("validate") == (1, "", said)


def test_validate_with_a_wrong_flag():
    """Go's text, the list of flags, and the text again."""
    code, out, err = run("validate", "-zz")
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == err.splitlines()[-1]
    assert err.startswith(
        "flag provided but not defined: -zz\nUsage:\n  -config-format"
    )


def test_validate_a_good_file(tmp_path):
    """Warnings go to standard error; the verdict is the exit code."""
    file = tmp_path / "c.hcl"
    file.write_text('data_dir = "/data"\nbind_addr = "127.0.0.1"\nnode_name = "a b"')
    code, out, err = run("validate", str(file))
    assert (code, out) == (0, "Configuration is valid!\n")
    assert err.startswith('Node name "a b" will not be discoverable')
    assert run("validate", "-quiet", str(file))[1] == ""


def test_validate_a_bad_file(tmp_path):
    """The mistake is named after the verdict."""
    file = tmp_path / "c.json"
    file.write_text('{"bogus": 1}')
    code, out, err = run("validate", str(file))
    assert (code, out) == (1, "")
    assert err.startswith(f"Config validation failed: failed to parse {file}: 1 error")


def test_agent_with_a_wrong_flag():
    """As Go's flags, and the agent's own line last."""
    code, _, err = run("agent", "-bogus")
    assert code == 1
    assert err.splitlines()[0] == "flag provided but not defined: -bogus"
    assert err.splitlines()[-1] == (
        "==> error parsing flags: flag provided but not defined: -bogus"
    )


def test_agent_with_extra_arguments():
    """The agent takes flags only."""
    said = "==> Unexpected extra arguments: [extra more]\n"
    assert run("agent", "-dev", "extra", "more") == (1, "", said)


def test_agent_with_a_broken_configuration():
    """One clear line before anything is started."""
    assert run("agent", "-bind=127.0.0.1") == (1, "", "==> data_dir cannot be empty\n")


@pytest.mark.parametrize("mode", ["server", "client"])
def test_example_configurations_are_valid(mode):
    """What we give people to begin with works."""
    file = ROOT / "etc" / "consultwist" / f"{mode}.hcl"
    flags = parse_agent_flags([f"-config-file={file}", "-hcl", 'bind_addr="127.0.0.1"'])
    assert load(flags).config.server_mode == (mode == "server")
