"""Plain values of a file to typed values, strictly: no text is a number or a boolean.

What is accepted, and what is said otherwise, is what Consul's decoder does: names
match without regard to case, one element of a list may stand for a section, and all
wrong types of a file are reported together.
"""

import math
from typing import Any

import attrs

from consultwist.config.hcl import Objects
from consultwist.config.schema import Kind, Node
from consultwist.errors import ConfigError

#: What takes a list as it is, so that one element is not taken out of it.
_LISTS = (Kind.STRINGS, Kind.MAPS, Kind.SECTIONS)

_SCALARS: dict[Kind, tuple[str, tuple[type, ...]]] = {
    Kind.BOOL: ("bool", (bool,)),
    Kind.INT: ("int", (int, float)),
    Kind.UINT: ("uint", (int, float)),
    Kind.NUMBER: ("float64", (int, float)),
    Kind.STRING: ("string", (str,)),
    Kind.DURATION: ("string", (str,)),
}

_INT64_MAX = 2**63 - 1


@attrs.define
class Decoded:
    """The typed values of one file.

    Attributes:
        values: nested as the keys are.
        unknown: paths of keys that do not exist.
        used: paths of the keys that were set, in the order of the file.
    """

    values: dict[str, Any] = attrs.Factory(dict)
    unknown: list[str] = attrs.Factory(list)
    used: list[str] = attrs.Factory(list)


def decode(root: Node, raw: dict[str, Any]) -> Decoded:
    """Check the plain values of a file against the tree of keys.

    Raises:
        ConfigError: naming every value of a wrong type.
    """
    decoder = _Decoder()
    values = decoder.section(root, "", raw)
    if decoder.errors:
        points = "\n".join(f"* {text}" for text in sorted(decoder.errors))
        raise ConfigError(f"{len(decoder.errors)} error(s) decoding:\n\n{points}")
    return Decoded(values, decoder.unknown, decoder.used)


class _Decoder:
    """Walks values and keys together."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.unknown: list[str] = []
        self.used: list[str] = []

    def section(self, node: Node, path: str, raw: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in _canonical(node, raw).items():
            child = node.find(name)
            if child is None:
                self.unknown.append(f"{path}.{name}" if path else name)
                continue
            child_path = f"{path}.{child.name}" if path else child.name
            if child.key is not None:
                self.used.append(child.key.path)
            if value is not None:
                decoded = self._value(child, child_path, value)
                if decoded is not None:
                    values[child.name] = decoded
        return values

    def _value(self, node: Node, path: str, value: Any) -> Any:
        kind = node.kind
        if kind not in _LISTS and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if kind in _SCALARS:
            return self._scalar(kind, path, value)
        if kind in _LISTS:
            return self._list(node, path, value)
        if not isinstance(value, dict):
            self.errors.append(f"'{path}' expected a map, got '{_kind_name(value)}'")
            return None
        if kind is Kind.SECTION:
            return self.section(node, path, value)
        if kind is Kind.MAP:
            return _opaque(value)
        return self._map(node, path, value)

    def _map(self, node: Node, path: str, value: dict[str, Any]) -> dict[str, Any]:
        decoded: dict[str, Any] = {}
        for name, element in value.items():
            place = f"{path}[{name}]"
            if node.kind is Kind.STRINGS_MAP:
                decoded[name] = self._list(node, place, element)
            elif node.kind is Kind.SECTION_MAP:
                section = Node(name, Kind.SECTION, children=node.children)
                decoded[name] = self._value(section, place, element)
            else:
                one = element[0] if _is_single(element) else element
                decoded[name] = self._scalar(Kind.STRING, place, one)
        return {name: value for name, value in decoded.items() if value is not None}

    def _list(self, node: Node, path: str, value: Any) -> list[Any] | None:
        if not isinstance(value, list):
            self.errors.append(
                f"'{path}': source data must be an array or slice, "
                f"got {_kind_name(value)}"
            )
            return None
        return [
            self._element(node, f"{path}[{number}]", element)
            for number, element in enumerate(value)
            if element is not None
        ]

    def _element(self, node: Node, path: str, value: Any) -> Any:
        if _is_single(value):
            value = value[0]
        if node.kind in (Kind.STRINGS, Kind.STRINGS_MAP):
            return self._scalar(Kind.STRING, path, value)
        if not isinstance(value, dict):
            self.errors.append(f"'{path}' expected a map, got '{_kind_name(value)}'")
            return None
        if node.kind is Kind.MAPS:
            return _opaque(value)
        return self.section(node, path, value)

    def _scalar(self, kind: Kind, path: str, value: Any) -> Any:
        name, types = _SCALARS[kind]
        if type(value) not in types:
            self.errors.append(
                f"'{path}' expected type '{name}', "
                f"got unconvertible type '{_type_name(value)}'"
            )
            return None
        if kind is Kind.NUMBER:
            return float(value)
        if kind in (Kind.INT, Kind.UINT):
            return self._whole(kind, path, value)
        return value

    def _whole(self, kind: Kind, path: str, value: float) -> int | None:
        if not math.isfinite(value) or abs(value) > _INT64_MAX:
            self.errors.append(f"cannot parse '{path}', {value} overflows int")
            return None
        if kind is Kind.UINT and value < 0:
            shown = f"{value:f}" if isinstance(value, float) else str(value)
            self.errors.append(f"cannot parse '{path}', {shown} overflows uint")
            return None
        return int(value)


def _is_single(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1


def _canonical(node: Node, raw: dict[str, Any]) -> dict[str, Any]:
    """Replace other spellings; the proper one wins where both are given."""
    if not node.aliases:
        return raw
    named: dict[str, Any] = {}
    for name, value in raw.items():
        proper = node.aliases.get(name.lower())
        if proper is None:
            named[name] = value
        elif proper not in raw:
            named[proper] = value
    return named


def _opaque(value: Any) -> Any:
    """Return a value that nobody looks into: blocks as maps, whole numbers as such."""
    if isinstance(value, dict):
        return {name: _opaque(element) for name, element in value.items()}
    if isinstance(value, Objects) and len(value) == 1:
        return _opaque(value[0])
    if isinstance(value, list):
        return [_opaque(element) for element in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _kind_name(value: Any) -> str:
    """Return Go's word for the kind of a value."""
    if isinstance(value, dict):
        return "map"
    if isinstance(value, list):
        return "slice"
    return _type_name(value)


def _type_name(value: Any) -> str:
    """Return Go's name of the type that a decoded value has."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, Objects):
        return "[]map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return {str: "string", int: "int", float: "float64"}[type(value)]
