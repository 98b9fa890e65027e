"""Addresses by description: the templates of go-sockaddr that configurations use.

``{{ GetPrivateIP }}``, ``{{ GetInterfaceIP "eth0" }}``, or a pipeline of a source and
filters such as ``{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr
"address" }}``. Variables, arithmetic and nested pipelines of Go's template language
are not known here.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from consultwist.config.network import (
    RFC_NETWORKS,
    InterfaceAddress,
    is_private,
    within,
)
from consultwist.errors import ConfigError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\|)|([^\s|"`]+))')

Addresses = list[InterfaceAddress]
Interfaces = Callable[[], Addresses]


def expand(text: str, interfaces: Interfaces) -> str:
    """Return `text` with each template replaced by the addresses it describes.

    Raises:
        ConfigError: where a template is wrong, in the words of go-sockaddr.
    """
    if "{{" not in text:
        return text.strip()
    try:
        parts = _ACTION.sub(lambda found: _run(found.group(1), interfaces), text)
        if "{{" in parts:
            raise ConfigError("unexpected unclosed action in command")
    except ConfigError as error:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        raise ConfigError(
            f'unable to parse template "{quoted}": template: sockaddr.Parse:1: {error}'
        ) from None
    return parts.strip()


def _run(action: str, interfaces: Interfaces) -> str:
    if _COMMENT.fullmatch(action):
        return ""
    value: Any = None
    for number, command in enumerate(_commands(action)):
        value = _call(command, value, interfaces, is_first=number == 0)
    if isinstance(value, list):
        return "[" + " ".join(str(each.address) for each in value) + "]"
    return str(value)


def _commands(action: str) -> list[list[tuple[str, bool]]]:
    """Split a pipeline into commands: words, each with whether it was quoted."""
    commands: list[list[tuple[str, bool]]] = [[]]
    offset = 0
    while match := _WORD.match(action, offset):
        offset = match.end()
        quoted, raw, pipe, bare = match.groups()
        if pipe:
            commands.append([])
        elif bare is not None:
            commands[-1].append((bare, False))
        else:
            text = raw if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            commands[-1].append((text, True))
    if action[offset:].strip():
        raise ConfigError(f'unexpected "{action[offset:].strip()[0]}" in operand')
    if not all(commands):
        raise ConfigError("missing value for command")
    return commands


def _call(
    command: list[tuple[str, bool]],
    value: Any,
    interfaces: Interfaces,
    *,
    is_first: bool,
) -> Any:
    (name, quoted), *rest = command
    if quoted:
        return name
    arguments = [_argument(text, quoted=quoted) for text, quoted in rest]
    if name in _SOURCES:
        function, count = _SOURCES[name]
        if len(arguments) != count:
            raise ConfigError(
                f"wrong number of args for {name}: want {count} got {len(arguments)}"
            )
        return function(interfaces(), *arguments)
    if name not in _FILTERS:
        raise ConfigError(f'function "{name}" not defined')
    if is_first or not isinstance(value, list):
        raise ConfigError(f"{name} needs a list of addresses before it")
    function, count = _FILTERS[name]
    if len(arguments) != count:
        raise ConfigError(
            f"wrong number of args for {name}: want {count + 1} got {len(rest) + 1}"
        )
    return function(value, *arguments)


def _argument(text: str, *, quoted: bool) -> str:
    if not quoted and not text.lstrip("+-").isdigit():
        raise ConfigError(f'function "{text}" not defined')
    return text


# --- sources ----------------------------------------------------------------------


def _usable(addresses: Addresses) -> Addresses:
    return [a for a in addresses if a.has_flag("up") and a.has_flag("forwardable")]


def _ranked(addresses: Addresses) -> Addresses:
    """Put default interfaces first, then IPv4, then large networks."""
    return _sort(addresses, "default,type,size")


def _private(addresses: Addresses) -> Addresses:
    return [a for a in _ranked(_usable(addresses)) if is_private(a.address.ip)]


def _public(addresses: Addresses) -> Addresses:
    return [a for a in _ranked(_usable(addresses)) if not is_private(a.address.ip)]


def _of_interface(addresses: Addresses, pattern: str) -> Addresses:
    return _sort(_include(addresses, "name", pattern), "type,size")


def _first(addresses: Addresses) -> str:
    return str(addresses[0].address.ip) if addresses else ""


def _all(addresses: Addresses) -> str:
    return " ".join(str(each.address.ip) for each in addresses)


_SOURCES: dict[str, tuple[Callable[..., Any], int]] = {
    "GetAllInterfaces": (lambda found: found, 0),
    "GetDefaultInterfaces": (lambda found: [a for a in found if a.is_default], 0),
    "GetPrivateInterfaces": (_private, 0),
    "GetPublicInterfaces": (_public, 0),
    "GetPrivateIP": (lambda found: _first(_private(found)), 0),
    "GetPrivateIPs": (lambda found: _all(_private(found)), 0),
    "GetPublicIP": (lambda found: _first(_public(found)), 0),
    "GetPublicIPs": (lambda found: _all(_public(found)), 0),
    "GetInterfaceIP": (lambda found, p: _first(_usable(_of_interface(found, p))), 1),
    "GetInterfaceIPs": (lambda found, p: _all(_of_interface(found, p)), 1),
}


# --- filters ----------------------------------------------------------------------


def _include(addresses: Addresses, selector: str, value: str) -> Addresses:
    matches = _matcher(selector, value)
    return [address for address in addresses if matches(address)]


def _exclude(addresses: Addresses, selector: str, value: str) -> Addresses:
    matches = _matcher(selector, value)
    return [address for address in addresses if not matches(address)]


def _matcher(selector: str, value: str) -> Callable[[InterfaceAddress], bool]:
    try:
        return _MATCHERS[selector.lower()](value)
    except KeyError:
        raise ConfigError(f'invalid include selector "{selector}"') from None
    except (ValueError, re.error) as error:
        raise ConfigError(f"{selector} {value!r}: {error}") from None


def _by_pattern(
    text_of: Callable[[InterfaceAddress], str],
) -> Callable[[str], Callable[[InterfaceAddress], bool]]:
    def make(pattern: str) -> Callable[[InterfaceAddress], bool]:
        search = re.compile(pattern).search
        return lambda address: search(text_of(address)) is not None

    return make


def _by_flags(value: str) -> Callable[[InterfaceAddress], bool]:
    names = value.lower().split("|")
    return lambda address: all(address.has_flag(name) for name in names)


def _by_network(value: str) -> Callable[[InterfaceAddress], bool]:
    network = ipaddress.ip_network(value, strict=False)
    return lambda address: within(address.address.ip, (network,))


def _by_rfc(value: str) -> Callable[[InterfaceAddress], bool]:
    if value not in RFC_NETWORKS:
        raise ValueError("the addresses of this RFC are not known")
    return lambda address: within(address.address.ip, RFC_NETWORKS[value])


def _by_size(value: str) -> Callable[[InterfaceAddress], bool]:
    length = int(value.removeprefix("/"))
    return lambda address: address.address.network.prefixlen == length


def _by_type(value: str) -> Callable[[InterfaceAddress], bool]:
    versions = {"ip": (4, 6), "ipv4": (4,), "ipv6": (6,)}.get(value.lower())
    if versions is None:
        raise ValueError("not a type of address")
    return lambda address: address.address.version in versions


_MATCHERS: dict[str, Callable[[str], Callable[[InterfaceAddress], bool]]] = {
    "address": _by_pattern(lambda address: str(address.address.ip)),
    "flag": _by_flags,
    "flags": _by_flags,
    "name": _by_pattern(lambda address: address.name),
    "network": _by_network,
    "rfc": _by_rfc,
    "size": _by_size,
    "type": _by_type,
}


_SORT_KEYS: dict[str, Callable[[InterfaceAddress], Any]] = {
    "address": lambda a: (a.address.version, a.address.ip),
    "default": lambda a: not a.is_default,
    "name": lambda a: a.name,
    "private": lambda a: not is_private(a.address.ip),
    "size": lambda a: a.address.network.prefixlen,
    "type": lambda a: a.address.version,
}


def _sort(addresses: Addresses, order: str) -> Addresses:
    """Sort by several keys; the first counts most, a minus turns one around."""
    for word in reversed(order.split(",")):
        name = word.strip().lower()
        key = _SORT_KEYS.get(name.lstrip("+-"))
        if key is None:
            raise ConfigError(f'unknown sort type: "{word}"')
        addresses = sorted(addresses, key=key, reverse=name.startswith("-"))
    return addresses


def _limit(addresses: Addresses, count: str) -> Addresses:
    return addresses[: max(0, _number(count))]


def _offset(addresses: Addresses, count: str) -> Addresses:
    return addresses[_number(count) :]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f'expected unsigned integer; found "{text}"') from None


def _unique(addresses: Addresses, attribute: str) -> Addresses:
    first: dict[str, InterfaceAddress] = {}
    for address in addresses:
        first.setdefault(_attribute(address, attribute), address)
    return list(first.values())


def _attr(addresses: Addresses, attribute: str) -> str:
    return _attribute(addresses[0], attribute) if addresses else ""


def _join(addresses: Addresses, attribute: str, separator: str) -> str:
    return separator.join(_attribute(address, attribute) for address in addresses)


_ATTRIBUTES: dict[str, Callable[[InterfaceAddress], str]] = {
    "address": lambda a: str(a.address.ip),
    "name": lambda a: a.name,
    "network": lambda a: str(a.address.network.network_address),
    "size": lambda a: str(a.address.network.num_addresses),
    "string": lambda a: str(a.address),
    "type": lambda a: f"IPv{a.address.version}",
}


def _attribute(address: InterfaceAddress, name: str) -> str:
    text_of = _ATTRIBUTES.get(name.lower())
    if text_of is None:
        raise ConfigError(f'unsupported attribute name "{name}"')
    return text_of(address)


_FILTERS: dict[str, tuple[Callable[..., Any], int]] = {
    "attr": (_attr, 1),
    "exclude": (_exclude, 2),
    "include": (_include, 2),
    "join": (_join, 2),
    "limit": (_limit, 1),
    "offset": (_offset, 1),
    "sort": (_sort, 1),
    "unique": (_unique, 1),
}
