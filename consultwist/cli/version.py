"""``consultwist version``: which release this is, and which Consul it stands in for.

Programs that start an agent look for ``Consul v1.8.7`` in the first line; therefore it
stands there, and our own name follows on the third.
"""

import json
from collections.abc import Sequence

import consultwist
from consultwist.cli.command import Command, Streams, read_flags
from consultwist.config.flags import Flag, FlagKind, FlagSet
from consultwist.config.keys import CONSUL_VERSION

#: The versions of the protocol between agents: the one spoken, and the range known.
PROTOCOL_DEFAULT, PROTOCOL_MIN, PROTOCOL_MAX = 2, 2, 3

_FLAGS = FlagSet(
    (Flag("format", FlagKind.STRING, "Output: pretty or json.", "string", "pretty"),)
)


def run(argv: Sequence[str], streams: Streams) -> int:
    """Print the version."""
    parsed = read_flags(_FLAGS, argv, streams, help_page)
    if isinstance(parsed, int):
        return parsed
    form = parsed.text("format", "pretty")
    if form not in ("pretty", "json"):
        print(f"Unknown format: {form}", file=streams.stderr)
        return 1
    print(_pretty() if form == "pretty" else _json(), file=streams.stdout)
    return 0


def _pretty() -> str:
    return (
        f"Consul v{CONSUL_VERSION}\n"
        f"Protocol {PROTOCOL_DEFAULT} spoken by default, "
        f"understands {PROTOCOL_MIN} to {PROTOCOL_MAX} "
        "(agent will automatically use protocol >2 "
        "when speaking to compatible agents)\n"
        f"Consultwist v{consultwist.__version__}"
    )


def _json() -> str:
    figures = {
        "Version": CONSUL_VERSION,
        "Revision": "",
        "Prerelease": "",
        "RPC": {
            "Default": PROTOCOL_DEFAULT,
            "Min": PROTOCOL_MIN,
            "Max": PROTOCOL_MAX,
        },
        "Consultwist": consultwist.__version__,
    }
    return json.dumps(figures, indent=3)


def help_page() -> str:
    """Return the help page of the command."""
    return "Usage: consultwist version [options]\n\n" + _FLAGS.help_sections({})


COMMAND = Command("version", "Prints the version", run, help_page)
