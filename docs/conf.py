"""How Sphinx builds the documentation; warnings are errors (``make docs``)."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402 - stands beside this file

import consultwist  # noqa: E402 - from this checkout

project = "consultwist"
author = "the authors of consultwist"
release = version = consultwist.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build", "generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Examples show terminals and configuration that no lexer knows.
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "text"
html_theme = "alabaster"
html_theme_options = {
    "description": "Service discovery, checks and keys on Twisted",
    "fixed_sidebar": True,
}

generate.write_all(HERE / "generated")
