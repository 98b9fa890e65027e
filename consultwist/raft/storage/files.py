"""Durable changes of files: what POSIX needs beyond write and rename."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file, durably: after a crash it is the old or the new one, whole."""
    temporary = path.with_name(path.name + ".tmp")
    write_new(temporary, content)
    temporary.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a file with durable content; its name is not durable yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of `content` at an offset; the system may take it in parts."""
    written = os.pwrite(descriptor, content, offset)
    while written < len(content):
        rest = memoryview(content)[written:]
        written += os.pwrite(descriptor, rest, offset + written)


def read_all(descriptor: int, offset: int, size: int) -> bytes:
    """Read so many bytes, or up to the end of the file."""
    content = os.pread(descriptor, size, offset)
    while len(content) < size:
        more = os.pread(descriptor, size - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content


def make_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, durably."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True)
        sync_folder(path.parent)
