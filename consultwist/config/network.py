"""The network addresses of this machine, and what kind of addresses they are."""

import ctypes
import ipaddress
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


#: Addresses that a router must not forward: RFC 6890 and the RFCs it lists.
_NOT_FORWARDABLE = _networks(
    *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24"),
    *("198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32"),
    *("::/128", "::1/128", "::ffff:0:0/96", "100::/64", "2001:db8::/32"),
    *("2001:10::/28", "fe80::/10"),
)

#: Special addresses by the RFC that sets them apart.
RFC_NETWORKS: dict[str, tuple[IPNetwork, ...]] = {
    "1918": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "3927": _networks("169.254.0.0/16"),
    "4193": _networks("fc00::/7"),
    "4291": _networks("::/128", "::1/128", "fe80::/10"),
    "6598": _networks("100.64.0.0/10"),
}
RFC_NETWORKS["6890"] = (
    *RFC_NETWORKS["1918"],
    *RFC_NETWORKS["4193"],
    *RFC_NETWORKS["6598"],
    *_networks("198.18.0.0/15", "64:ff9b::/96", "2001::/23", "2002::/16"),
    *_NOT_FORWARDABLE,
)

#: Bits of the flags of an interface: Linux and BSD agree on these.
_FLAG_BITS = {
    "up": 0x1,
    "broadcast": 0x2,
    "loopback": 0x8,
    "pointtopoint": 0x10,
    "multicast": 0x1000,
}

#: Where Linux shows its routes; the default one has the destination zero.
_ROUTES = Path("/proc/net/route")


@attrs.frozen
class InterfaceAddress:
    """One address of one network interface.

    Attributes:
        name: of the interface.
        address: with the length of its network.
        flags: the bits that the system has for the interface.
        is_default: whether the default route goes through the interface.
    """

    name: str
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    flags: int
    is_default: bool = False

    def has_flag(self, name: str) -> bool:
        """Return whether a flag of go-sockaddr's names holds for the address."""
        if name == "forwardable":
            return not within(self.address.ip, _NOT_FORWARDABLE)
        if name in _FLAG_BITS:
            return bool(self.flags & _FLAG_BITS[name])
        return bool(getattr(self.address.ip, f"is_{name.replace(' ', '_')}", False))


def within(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    """Return whether an address lies in one of the networks."""
    return any(
        address.version == network.version and address in network
        for network in networks
    )


def is_private(address: IPAddress) -> bool:
    """Return whether an address has no meaning outside its own network."""
    return within(address, RFC_NETWORKS["6890"])


class _SocketAddress(ctypes.Structure):
    _fields_ = (("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 26))


class _InterfaceEntry(ctypes.Structure):
    pass


_InterfaceEntry._fields_ = (
    ("next", ctypes.POINTER(_InterfaceEntry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(_SocketAddress)),
    ("netmask", ctypes.POINTER(_SocketAddress)),
)

#: Where the address lies behind the family in the system's structures.
_PLACES = {socket.AF_INET: slice(2, 6), socket.AF_INET6: slice(6, 22)}

#: More entries than any real machine has; a broken list must not hold us for ever.
_ENTRIES_MAX = 100_000


def interface_addresses() -> list[InterfaceAddress]:
    """Return the addresses of all interfaces, in the order the system has them."""
    library = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_InterfaceEntry)()
    if library.getifaddrs(ctypes.byref(head)) != 0:
        return []
    try:
        default = _default_interface()
        found = [_address(entry, default) for entry in _entries(head)]
    finally:
        library.freeifaddrs(head)
    order = {name: index for index, name in _interface_indexes()}
    known = [address for address in found if address is not None]
    return sorted(known, key=lambda address: order.get(address.name, sys.maxsize))


def _interface_indexes() -> list[tuple[int, str]]:
    return socket.if_nameindex()


def _entries(head: "ctypes._Pointer[_InterfaceEntry]") -> Iterator[_InterfaceEntry]:
    pointer = head
    for _ in range(_ENTRIES_MAX):
        if not pointer:
            return
        entry = pointer.contents
        yield entry
        pointer = entry.next


def _address(entry: _InterfaceEntry, default: str) -> InterfaceAddress | None:
    if not entry.address or not entry.netmask:
        return None
    family = entry.address.contents.family
    place = _PLACES.get(family)
    if place is None:
        return None
    data = bytes(entry.address.contents.data)[place]
    mask = bytes(entry.netmask.contents.data)[place]
    length = int.from_bytes(mask).bit_count()
    text = f"{socket.inet_ntop(family, data)}/{length}"
    name = entry.name.decode("utf-8", "replace")
    return InterfaceAddress(
        name, ipaddress.ip_interface(text), entry.flags, name == default
    )


def _default_interface() -> str:
    """Return the name of the interface of the default route, if there is one."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" == fields[7]:
            return fields[0]
    return ""
