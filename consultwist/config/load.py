"""Command line in, checked configuration out."""

from collections.abc import Sequence

from consultwist.config.agent_flags import AGENT_FLAGS, CONFIG_PATHS, flag_values
from consultwist.config.build import Built, Surroundings, build
from consultwist.config.flags import ParsedFlags
from consultwist.config.merge import Source, merge_sources, read_path


def parse_agent_flags(argv: Sequence[str]) -> ParsedFlags:
    """Return the flags of an ``agent`` command line.

    Raises:
        ConfigError: with Go's text, where the flags are wrong.
    """
    return AGENT_FLAGS.parse(argv)


def load(flags: ParsedFlags, surroundings: Surroundings | None = None) -> Built:
    """Read all files and fragments that the flags name, and build from them.

    Call it again with the same flags to reload.

    Raises:
        ConfigError: where there is a mistake; the text is for the user.
    """
    format_name = flags.text("config-format")
    files = [
        source
        for path in flags.values.get(CONFIG_PATHS, ())
        for source in read_path(path, format_name)
    ]
    dev = flags.is_set("dev")
    merged = merge_sources(
        files,
        [
            Source(f"flags-{number}.hcl", text, "hcl")
            for number, text in enumerate(flags.values.get("hcl", ()))
        ],
        flags=flag_values(flags),
        dev=dev,
    )
    return build(merged, surroundings or Surroundings(), dev=dev)
