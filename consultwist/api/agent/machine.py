"""Facts about the machine, for ``/v1/agent/host``: read from ``/proc``.

The fields are those of gopsutil, which Consul shows; what this system does not tell is
shown as zero, as there.
"""

import os
import platform
import uuid
from pathlib import Path
from typing import Any, Final

_KIB: Final = 1024

#: The field of the answer, by the name in ``/proc/meminfo``.
_MEMORY: Final = {
    "MemTotal": "total",
    "MemAvailable": "available",
    "MemFree": "free",
    "Active": "active",
    "Inactive": "inactive",
    "Buffers": "buffers",
    "Cached": "cached",
    "Writeback": "writeback",
    "Dirty": "dirty",
    "WritebackTmp": "writebacktmp",
    "Shmem": "shared",
    "Slab": "slab",
    "SReclaimable": "sreclaimable",
    "SUnreclaim": "sunreclaim",
    "PageTables": "pagetables",
    "SwapCached": "swapcached",
    "CommitLimit": "commitlimit",
    "Committed_AS": "committedas",
    "HighTotal": "hightotal",
    "HighFree": "highfree",
    "LowTotal": "lowtotal",
    "LowFree": "lowfree",
    "SwapTotal": "swaptotal",
    "SwapFree": "swapfree",
    "Mapped": "mapped",
    "VmallocTotal": "vmalloctotal",
    "VmallocUsed": "vmallocused",
    "VmallocChunk": "vmallocchunk",
    "HugePages_Total": "hugepagestotal",
    "HugePages_Free": "hugepagesfree",
    "Hugepagesize": "hugepagesize",
}
_WITHOUT_UNIT: Final = ("HugePages_Total", "HugePages_Free")


def describe(data_dir: str, wall_ns: int) -> dict[str, Any]:
    """Return what the endpoint shows.

    Args:
        data_dir: a path on the disk to describe; empty means the root.
        wall_ns: the present time in nanoseconds since the epoch.
    """
    return {
        "Memory": _memory(),
        "CPU": _processors(),
        "Host": _host(),
        "Disk": _disk(data_dir or "/"),
        "CollectionTime": wall_ns,
        "Errors": None,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory() -> dict[str, Any]:
    found = _fields(_read("/proc/meminfo"))
    memory: dict[str, Any] = {}
    for source, name in _MEMORY.items():
        number = int((found.get(source) or "0").split()[0])
        memory[name] = number if source in _WITHOUT_UNIT else number * _KIB
    memory["cached"] += memory["sreclaimable"]
    used = memory["total"] - memory["free"] - memory["buffers"] - memory["cached"]
    memory["used"] = used
    memory["usedPercent"] = 100 * used / memory["total"] if memory["total"] else 0
    memory["wired"] = memory["laundry"] = 0
    return memory


def _processors() -> list[dict[str, Any]]:
    blocks = _read("/proc/cpuinfo").strip().split("\n\n")
    found = [_fields(block) for block in blocks if block]
    return [_processor(fields) for fields in found]


def _processor(fields: dict[str, str]) -> dict[str, Any]:
    return {
        "cpu": int(fields.get("processor", "0")),
        "vendorId": fields.get("vendor_id", ""),
        "family": fields.get("cpu family", ""),
        "model": fields.get("model", ""),
        "stepping": int(fields.get("stepping") or 0),
        "physicalId": fields.get("physical id", ""),
        "coreId": fields.get("core id", ""),
        "cores": 1,
        "modelName": fields.get("model name", ""),
        "mhz": float(fields.get("cpu MHz") or 0),
        "cacheSize": int((fields.get("cache size") or "0").split()[0]),
        "flags": fields.get("flags", "").split(),
        "microcode": fields.get("microcode", ""),
    }


def _host() -> dict[str, Any]:
    uptime = int(float((_read("/proc/uptime") or "0").split()[0]))
    boot = next(
        (
            int(line.split()[1])
            for line in _read("/proc/stat").splitlines()
            if line.startswith("btime")
        ),
        0,
    )
    release = _os_release()
    return {
        "hostname": platform.node(),
        "uptime": uptime,
        "bootTime": boot,
        "procs": sum(name.isdigit() for name in os.listdir("/proc")),  # noqa: PTH208
        "os": platform.system().lower(),
        "platform": release.get("ID", ""),
        "platformFamily": release.get("ID", ""),
        "platformVersion": _debian_version() or release.get("VERSION_ID", ""),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
        "virtualizationSystem": "",
        "virtualizationRole": "guest" if "hypervisor" in _flags() else "",
        "hostid": _host_id(),
    }


def _host_id() -> str:
    """Return this machine's id in the form of a UUID, or nothing."""
    text = _read("/sys/class/dmi/id/product_uuid").strip()
    try:
        return str(uuid.UUID(text or _read("/etc/machine-id").strip()))
    except ValueError:
        return ""


def _flags() -> str:
    return _fields(_read("/proc/cpuinfo").partition("\n\n")[0]).get("flags", "")


def _debian_version() -> str:
    return _read("/etc/debian_version").strip()


def _os_release() -> dict[str, str]:
    pairs = (line.partition("=") for line in _read("/etc/os-release").splitlines())
    return {name: value.strip('"') for name, _, value in pairs}


#: Names of file systems by the magic number of statfs are gopsutil's; the mount table
#: tells them here.
def _file_system(path: str) -> str:
    best, kind = "", ""
    for line in _read("/proc/mounts").splitlines():
        parts = line.split()
        if len(parts) > 2 and _is_below(path, parts[1]) and len(parts[1]) >= len(best):
            best, kind = parts[1], parts[2]
    return "ext2/ext3" if kind.startswith("ext") else kind


def _is_below(path: str, mount: str) -> bool:
    return mount in ("/", path) or path.startswith(mount + "/")


def _disk(path: str) -> dict[str, Any]:
    found = os.statvfs(path)
    total = found.f_blocks * found.f_frsize
    free = found.f_bavail * found.f_frsize
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    inodes, inodes_free = found.f_files, found.f_ffree
    inodes_used = inodes - inodes_free
    return {
        "path": path,
        "fstype": _file_system(path),
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": 100 * used / (used + free) if used + free else 0,
        "inodesTotal": inodes,
        "inodesUsed": inodes_used,
        "inodesFree": inodes_free,
        "inodesUsedPercent": 100 * inodes_used / inodes if inodes else 0,
    }
