"""Several sources, one configuration: what wins, and what adds up.

Later sources win over earlier ones: scalars replace, sections merge key by key, lists
are appended, maps are merged name by name. The order of the sources is: defaults,
list flags, files and directories, other flags, ``-hcl`` texts, fixed values.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from consultwist.config import hcl, json_text
from consultwist.config.decode import Decoded, decode
from consultwist.config.definition_keys import DEFINITION_KEYS
from consultwist.config.keys import AGENT_KEYS
from consultwist.config.newer_keys import NEWER_KEYS
from consultwist.config.schema import Kind, nested_defaults, tree
from consultwist.errors import ConfigError
from consultwist.structs.service_rules import error_list

FORMATS = ("hcl", "json")

#: Old keys that are read and mean nothing any more.
_IGNORED = ("acl_enforce_version_8",)

#: Every key that a file may hold, in the order of the reference.
AGENT_AND_DEFINITION_KEYS = (*AGENT_KEYS, *DEFINITION_KEYS, *NEWER_KEYS)

_ROOT = tree(AGENT_AND_DEFINITION_KEYS)
_KEYS = {key.path: key for key in AGENT_AND_DEFINITION_KEYS}
_FIXED = tuple(key for key in AGENT_KEYS if key.fixed)
_DEFAULTS = tuple(key for key in AGENT_KEYS if not key.fixed)


@attrs.frozen
class Source:
    """A configuration text with the name that errors show, and its format."""

    name: str
    text: str
    format: str


@attrs.define
class Merged:
    """The merged values of all sources.

    Attributes:
        values: nested as the keys are.
        warnings: what the sources made us say, in order.
    """

    values: dict[str, Any]
    warnings: list[str] = attrs.Factory(list)

    def get(self, path: str) -> Any:
        """Return the value of a key; None where nobody set it."""
        value: Any = self.values
        for name in path.split("."):
            value = value.get(name)
            if value is None:
                return None
        return value

    def value(self, path: str) -> Any:
        """Return the value of a key, or the zero value of its type."""
        value = self.get(path)
        return _KEYS[path].zero if value is None else value

    def kind(self, path: str) -> Kind:
        """Return the type of a key."""
        return _KEYS[path].kind


def merge_sources(
    files: Sequence[Source],
    fragments: Sequence[Source] = (),
    *,
    flags: dict[str, Any] | None = None,
    dev: bool = False,
) -> Merged:
    """Return what defaults, files, flags and ``-hcl`` texts say together.

    Args:
        files: the files in the order in which they were named.
        fragments: the ``-hcl`` texts in order.
        flags: the values of flags, nested as the keys are.
        dev: whether the defaults are those of ``-dev``.

    Raises:
        ConfigError: where a source cannot be read.
    """
    merged = Merged(nested_defaults(_DEFAULTS, dev=False))
    if dev:
        merge_into(merged.values, nested_defaults(_DEFAULTS, dev=True))
    lists, others = _split_lists(flags or {})
    merge_into(merged.values, lists)
    for source in files:
        _add(merged, source)
    merge_into(merged.values, others)
    for source in fragments:
        _add(merged, source)
    merge_into(merged.values, nested_defaults(_FIXED, dev=False))
    if dev:
        merge_into(merged.values, nested_defaults(_FIXED, dev=True))
    return merged


def merge_into(target: dict[str, Any], values: dict[str, Any]) -> None:
    """Put values over those of `target`: see the module's rules."""
    for name, value in values.items():
        known = target.get(name)
        if isinstance(value, dict):
            section = dict(known) if isinstance(known, dict) else {}
            merge_into(section, value)
            target[name] = section
        elif isinstance(value, list) and isinstance(known, list):
            target[name] = [*known, *value]
        else:
            target[name] = value


def _split_lists(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part lists from other values: lists of flags come before those of files."""
    lists: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list):
            lists[name] = value
        elif isinstance(value, dict):
            inner_lists, inner_others = _split_lists(value)
            if inner_lists:
                lists[name] = inner_lists
            if inner_others:
                others[name] = inner_others
        else:
            others[name] = value
    return lists, others


def _add(merged: Merged, source: Source) -> None:
    if not source.text:
        return
    try:
        decoded = _read(source)
    except ConfigError as error:
        raise ConfigError(f"failed to parse {source.name}: {error}") from None
    merged.warnings.extend(_remarks(decoded))
    values = decoded.values
    _name_as_release(decoded)
    for one, many in (("check", "checks"), ("service", "services")):
        if one in values:
            values[many] = [*values.get(many, ()), values.pop(one)]
    merge_into(merged.values, values)


def _read(source: Source) -> Decoded:
    if source.format == "json":
        raw = json_text.decode_object(source.text)
    else:
        raw = hcl.parse(source.text)
    decoded = decode(_ROOT, raw)
    if decoded.unknown:
        raise ConfigError(
            error_list([f"invalid config key {name}" for name in decoded.unknown])
        )
    return decoded


def _remarks(decoded: Decoded) -> Iterable[str]:
    """Return what there is to say about keys without effect, each once."""
    used = [_KEYS[path] for path in decoded.used]
    for key in used:
        if key.path in _IGNORED:
            yield f'config key "{key.path}" is deprecated and should be removed'
    shown = {_shown_name(key.path) for key in used if key.enterprise}
    for name in sorted(shown):
        yield f'"{name}" is a Consul Enterprise configuration and will have no effect'
    for key in used:
        if key.since and not key.stands_for:
            yield f'"{key.path}" came with Consul {key.since} and will have no effect'


def _shown_name(path: str) -> str:
    """Return the name under which a warning shows an Enterprise key."""
    return path.split(".", maxsplit=1)[0] if path.startswith("audit.") else path


def _name_as_release(decoded: Decoded) -> None:
    """Move values of newer spellings to the keys that the release has for them."""
    merged = Merged(decoded.values)
    for path in decoded.used:
        target = _KEYS[path].stands_for
        value = merged.get(path)
        if not target or value is None or merged.get(target) is not None:
            continue
        *sections, last = target.split(".")
        section = decoded.values
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value


def read_path(path: str, format_name: str = "") -> list[Source]:
    """Return the sources that a named file or directory stands for.

    A directory is read in the order of its names, without those below it; only
    names ending in ``.json`` or ``.hcl`` count, unless a format is given.

    Raises:
        ConfigError: where it cannot be read.
    """
    if format_name and format_name not in FORMATS:
        raise ConfigError("config: -config-format must be either 'hcl' or 'json'")
    place = Path(path)
    try:
        if not place.is_dir():
            return _read_file(place, path, format_name)
        sources: list[Source] = []
        for name in sorted(entry.name for entry in place.iterdir()):
            if (place / name).is_file():
                sources += _read_file(place / name, str(place / name), format_name)
        return sources
    except OSError as error:
        shown = error.filename or path
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"config: Open failed on {shown}. open {shown}: {reason}"
        ) from None


def _read_file(place: Path, shown: str, format_name: str) -> list[Source]:
    kind = format_name or place.suffix.removeprefix(".")
    if kind not in FORMATS and place.exists():
        return []
    if place.exists() and place.stat().st_size > hcl.SIZE_MAX:
        raise ConfigError(f"config: {shown} is larger than {hcl.SIZE_MAX} bytes")
    text = place.read_bytes().decode("utf-8", "surrogateescape")
    return [Source(shown, text, kind)]
