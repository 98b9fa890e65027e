"""What is built from the source installs, is found by twistd, and is complete."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from consultwist import __version__

pytestmark = pytest.mark.blackbox

ROOT = Path(__file__).parents[2]
BUILD_TIMEOUT_S = 180
COMMANDS = ("consul-server", "consul-client")

#: What a build needs of the source; the rest of a checkout may be large.
SOURCE = (
    *("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "Makefile"),
    *("consultwist", "twisted", "etc", "tests", "docs", "benchmarks", "newsfragments"),
    ".ci",
)


def run(*command, cwd=None):
    """Run a command that must succeed, and return what it printed."""
    # Nothing of the checkout may be found by accident.
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
        cwd=cwd,
        env=env,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source, so that builds leave nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc", "_build", "dropin.cache*")
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=left_out)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def build(source, kind, folder):
    """Build one kind of distribution with the backend itself; returns its file."""
    step = (
        f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    )
    run(sys.executable, "-c", step, cwd=source)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel."""
    return build(source, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    """The source distribution."""
    return build(source, "sdist", tmp_path_factory.mktemp("sdist"))


def environment(folder):
    """Make an environment that borrows the dependencies of this one, but not us.

    Path files inside of a folder that a path file names are not followed, so that an
    editable install of consultwist here is not seen there.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def install(programs, *what):
    """Install without a network into an environment."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    pip = (programs / "python", "-m", "pip", "install", "--ignore-installed")
    run(*pip, *options, *what)


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_installed_commands_are_found(kind, source, wheel, tmp_path):
    """Both installs give twistd its two commands, and the shell one."""
    programs = environment(tmp_path / "env")
    install(programs, *([wheel] if kind == "wheel" else ["--editable", source]))
    twistd = "from twisted.scripts.twistd import run; run()"
    shown = run(programs / "python", "-c", twistd, "--help", cwd=tmp_path)
    for command in COMMANDS:
        assert command in shown
    place = "import consultwist; print(consultwist.__file__)"
    found = Path(run(programs / "python", "-c", place, cwd=tmp_path).strip())
    assert found.is_relative_to(source if kind == "editable" else tmp_path)
    version = run(programs / "consultwist", "version", cwd=tmp_path)
    assert version.endswith(f"Consultwist v{__version__}\n")
    config = tmp_path / "config.json"
    config.write_text(f'{{"data_dir": "{tmp_path / "data"}"}}')
    shown = run(programs / "consultwist", "validate", config, cwd=tmp_path)
    assert shown == "Configuration is valid!\n"


def test_without_an_install_twistd_knows_no_command(tmp_path):
    """The other tests see what was installed, not what stands around."""
    programs = environment(tmp_path / "env")
    twistd = "from twisted.scripts.twistd import run; run()"
    shown = run(programs / "python", "-c", twistd, "--help", cwd=tmp_path)
    assert not any(command in shown for command in COMMANDS)


def test_wheel_has_what_runs_and_nothing_else(source, wheel):
    """Package, dropins and examples; no tests, nothing that is Twisted's."""
    names = set(zipfile.ZipFile(wheel).namelist())
    product = {
        str(path.relative_to(source))
        for folder in ("consultwist", "twisted")
        for path in (source / folder).rglob("*.py")
    }
    assert product <= names
    metadata = f"consultwist-{__version__}.dist-info/"
    data = f"consultwist-{__version__}.data/data/share/consultwist/"
    assert {
        "consultwist/py.typed",
        f"{metadata}licenses/LICENSE",
        f"{metadata}entry_points.txt",
        f"{data}etc/server.hcl",
        f"{data}etc/client.hcl",
        f"{data}etc/web.hcl",
        f"{data}systemd/consul-server.service",
        f"{data}systemd/consul-client.service",
    } <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"consultwist", "twisted", metadata[:-1], data.partition("/")[0]}
    assert not any(name.endswith(("twisted/__init__.py", ".pyc")) for name in names)
    assert "twisted/plugins/__init__.py" not in names


def test_source_distribution_can_be_tested(source, sdist):
    """It holds tests, documents and examples, not what was built or cached."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("tests", "docs", "etc", "benchmarks", "newsfragments"):
        wanted = {
            str(path.relative_to(source))
            for path in (source / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names, f"{folder}: {sorted(wanted - names)[:5]}"
    assert {"Makefile", "LICENSE", "README.md", ".ci/run", "setup.cfg"} <= names
    assert not [name for name in names if "dropin.cache" in name or "/_build/" in name]
