"""The shape of the configuration: which keys exist, of which type, with what default.

Keys are declared in `consultwist.config.keys` (the agent) and
`consultwist.config.definition_keys` (services and checks), once each; this module
turns the declarations into a tree for decoding and into rows for the reference.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

#: The release whose keys have an effect; younger ones are accepted with a warning.
RELEASE = (1, 8)


class Kind(enum.Enum):
    """The type of a key's value; the text is what the reference shows."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    NUMBER = "number"
    STRING = "string"
    DURATION = "duration"
    STRINGS = "list of strings"
    STRING_MAP = "map of strings"
    #: Names to lists of strings, such as HTTP headers.
    STRINGS_MAP = "map of lists of strings"
    DURATION_MAP = "map of durations"
    #: Anything goes inside.
    MAP = "map"
    MAPS = "list of maps"
    SECTION = "section"
    SECTIONS = "list of sections"
    SECTION_MAP = "map of sections"


_ZERO: dict[Kind, Any] = {
    Kind.BOOL: False,
    Kind.INT: 0,
    Kind.UINT: 0,
    Kind.NUMBER: 0.0,
    Kind.STRING: "",
    Kind.DURATION: "0s",
    Kind.STRINGS: [],
    Kind.STRING_MAP: {},
    Kind.STRINGS_MAP: {},
    Kind.DURATION_MAP: {},
    Kind.MAP: {},
    Kind.MAPS: [],
    Kind.SECTION: {},
    Kind.SECTIONS: [],
    Kind.SECTION_MAP: {},
}


@attrs.frozen
class Key:
    """One key of the configuration.

    Attributes:
        path: dotted, with ``[]`` behind lists of sections and ``<name>`` for any name.
        kind: its type.
        default: the value where nobody sets it, if not the zero value.
        dev: the default of ``-dev``, where it differs.
        reloadable: whether a change applies without a restart.
        since: the first release that knows it, where that is after `RELEASE`.
        stands_for: the key of `RELEASE` that means the same.
        enterprise: accepted, without effect.
        fixed: accepted, but the default always wins.
        alias: another spelling, compared without regard to case.
    """

    path: str
    kind: Kind
    default: Any = None
    dev: Any = None
    reloadable: bool = attrs.field(default=False, kw_only=True)
    since: str = attrs.field(default="", kw_only=True)
    stands_for: str = attrs.field(default="", kw_only=True)
    enterprise: bool = attrs.field(default=False, kw_only=True)
    fixed: bool = attrs.field(default=False, kw_only=True)
    alias: str = attrs.field(default="", kw_only=True)

    @property
    def zero(self) -> Any:
        """The value of the key where neither user nor defaults set it."""
        return _ZERO[self.kind]


@attrs.define
class Node:
    """A key or a section in the tree that decoding walks."""

    name: str
    kind: Kind
    key: Key | None = None
    children: dict[str, "Node"] = attrs.Factory(dict)
    #: Other spellings to names, in lower case.
    aliases: dict[str, str] = attrs.Factory(dict)

    def find(self, name: str) -> "Node | None":
        """Return the child of that name; Consul compares without regard to case."""
        return self.children.get(name) or self.children.get(name.lower())


def tree(keys: Iterable[Key]) -> Node:
    """Return the tree of all keys; its root is the top level."""
    root = Node("", Kind.SECTION)
    for key in keys:
        _place(root, key)
    return root


def _place(root: Node, key: Key) -> None:
    *sections, last = key.path.split(".")
    node = root
    for part in sections:
        if part == "<name>":
            node.kind = Kind.SECTION_MAP
            continue
        name = part.removesuffix("[]")
        kind = Kind.SECTIONS if part.endswith("[]") else Kind.SECTION
        node = node.children.setdefault(name, Node(name, kind))
    leaf = node.children.setdefault(last, Node(last, key.kind))
    leaf.key = key
    if key.alias:
        node.aliases[key.alias] = last


def nested_defaults(keys: Iterable[Key], *, dev: bool) -> dict[str, Any]:
    """Return the defaults as nested maps, as if they stood in a file."""
    values: dict[str, Any] = {}
    for key in keys:
        value = key.dev if dev else key.default
        if value is None:
            continue
        *sections, last = key.path.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return values


@attrs.frozen
class ReferenceRow:
    """One line of the generated reference of configuration keys."""

    key: str
    type: str
    default: str
    reloadable: bool
    flag: str
    remark: str


def reference_rows(
    keys: Iterable[Key], flags: Mapping[str, tuple[str, ...]]
) -> Iterator[ReferenceRow]:
    """Yield the rows of the reference page, in the order of declaration.

    Args:
        keys: the declarations.
        flags: key path to the names of its command line flags.
    """
    for key in keys:
        default = key.zero if key.default is None else key.default
        yield ReferenceRow(
            key.path,
            key.kind.value,
            _shown(default) if default not in ("", [], {}, "0s") else "",
            key.reloadable,
            ", ".join(f"-{name}" for name in flags.get(key.path, ())),
            _remark(key),
        )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _remark(key: Key) -> str:
    remarks = []
    if key.dev is not None:
        remarks.append(f"{_shown(key.dev)} with -dev")
    if key.fixed:
        remarks.append("accepted, but cannot be changed")
    if key.enterprise:
        remarks.append("Enterprise: accepted, without effect")
    if key.stands_for:
        remarks.append(f"newer spelling of {key.stands_for}")
    elif key.since:
        remarks.append(f"of Consul {key.since}: accepted, without effect")
    return "; ".join(remarks)
