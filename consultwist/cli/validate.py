"""``consultwist validate``: check configuration files without starting an agent."""

from collections.abc import Sequence

from consultwist.cli.command import Command, Streams, read_flags
from consultwist.config.build import Surroundings, build
from consultwist.config.flags import Flag, FlagKind, FlagSet
from consultwist.config.merge import merge_sources, read_path
from consultwist.errors import ConfigError

_FLAGS = FlagSet(
    (
        Flag(
            "config-format",
            FlagKind.STRING,
            "Config files are in this format irrespective of their extension. "
            "Must be 'hcl' or 'json'",
            "string",
        ),
        Flag(
            "quiet",
            FlagKind.BOOL,
            "When given, a successful run will produce no output.",
        ),
    )
)


def run(argv: Sequence[str], streams: Streams) -> int:
    """Check the files and directories that are named, as one configuration."""
    parsed = read_flags(_FLAGS, argv, streams, help_page)
    if isinstance(parsed, int):
        return parsed
    if not parsed.arguments:
        print("Must specify at least one config file or directory", file=streams.stderr)
        return 1
    try:
        format_name = parsed.text("config-format")
        sources = [
            source
            for path in parsed.arguments
            for source in read_path(path, format_name)
        ]
        built = build(merge_sources(sources), Surroundings())
    except ConfigError as error:
        print(f"Config validation failed: {error}", file=streams.stderr)
        return 1
    for warning in built.warnings:
        print(warning, file=streams.stderr)
    if not parsed.is_set("quiet"):
        print("Configuration is valid!", file=streams.stdout)
    return 0


def help_page() -> str:
    """Return the help page of the command."""
    return (
        "Usage: consultwist validate [options] FILE_OR_DIRECTORY...\n\n"
        "  Reads the files and directories as `agent` would, together as one\n"
        "  configuration, and reports what is wrong. Fragments alone are refused,\n"
        "  since they would not start an agent either.\n\n"
        "  Returns 0 if the configuration is valid, or 1 if it is not.\n\n"
        + _FLAGS.help_sections({})
    )


COMMAND = Command("validate", "Validates configuration files", run, help_page)
