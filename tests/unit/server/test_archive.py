"""Archives of snapshots: those of stock servers, ours, and what is refused."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec.structs
import pytest

from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.server.archive import ArchiveReader, BadArchive, pack

VECTORS = Path(__file__).parents[2] / "vectors" / "snapshot"
ARCHIVES = json.loads((VECTORS / "archives.json").read_text())

STATE = b"state " * 5000
WALL = 1_700_000_000.0


def configuration():
    """Return the servers of the captured archives."""
    return Configuration(
        servers=[
            Server(
                id="11111111-0000-4000-8000-000000000001", address="127.0.30.1:8300"
            ),
            Server(
                id="33333333-0000-4000-8000-000000000050", address="127.0.30.50:8300"
            ),
        ]
    )


def meta_of(state=STATE):
    """Return metadata as the captured archives have it, but for the size."""
    servers = configuration()
    return SnapshotMeta(
        id="2-196-1795377829828",
        index=196,
        term=2,
        peers=servers.pack_peers(),
        configuration=servers,
        configuration_index=19,
        size=len(state),
        checksum="ours alone",
    )


def packed(state=STATE):
    """Return an archive of ours."""
    return b"".join(pack(meta_of(state), [state[:7], b"", state[7:]], WALL))


def read(archive, *, step=1000, state_max=10**6):
    """Read an archive; return its metadata and its state."""
    state = io.BytesIO()
    reader = ArchiveReader(state, state_max)
    for at in range(0, len(archive), step):
        for _ in reader.feed(archive[at : at + step]):
            pass
    return reader.finish(), state.getvalue()


def tar_of(*files, end=bytes(1024)):
    """Return an archive of any files, with right padding."""
    parts = []
    for name, content in files:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        parts += [entry.tobuf(tarfile.USTAR_FORMAT), content]
        parts.append(bytes(-len(content) % 512))
    return gzip.compress(b"".join(parts) + end)


def sums_of(**changes):
    """Return a sound meta.json and SHA256SUMS for a state, with changes."""
    meta = {"Version": 1, "Index": 5, "Term": 2, "Size": 3} | changes
    text = json.dumps(meta).encode()
    lines = f"{hashlib.sha256(text).hexdigest()}  meta.json\n"
    lines += f"{hashlib.sha256(b'abc').hexdigest()}  state.bin\n"
    return text, lines.encode()


@pytest.mark.parametrize("captured", ARCHIVES, ids=lambda each: each["file"])
@pytest.mark.parametrize("step", [1, 511, 10**6])
def test_captured_archives_are_read(captured, step):
    """A stock server wrote the one, and accepted the other."""
    meta, state = read((VECTORS / captured["file"]).read_bytes(), step=step)
    texts = {member["name"]: member for member in captured["members"]}
    assert (meta.index, meta.term, meta.version) == (196, 2, 1)
    assert len(state) == meta.size == texts["state.bin"]["size"]
    assert hashlib.sha256(state).hexdigest() == texts["state.bin"]["sha256"]


def test_what_we_write_has_the_form_of_a_stock_archive():
    """Members, modes, texts and the end of the tar are those that Go wants."""
    _, state = read((VECTORS / "real.tgz").read_bytes())
    plain = gzip.decompress(packed(state))
    captured = ARCHIVES[0]
    assert len(plain) == captured["tar_bytes"]
    assert plain.endswith(bytes(captured["trailing_zero_bytes"]))
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = archive.getmembers()
        files: list[Any] = [archive.extractfile(member) for member in members]
        texts = [file.read() for file in files]
    for member, text, expected in zip(members, texts, captured["members"], strict=True):
        assert member.name == expected["name"]
        assert member.isreg()
        assert member.mode == 0o600
        assert hashlib.sha256(text).hexdigest() == expected["sha256"]


def test_an_archive_is_one_gzip_member():
    """Go would read on behind the first one."""
    archive = packed()
    reader = gzip.GzipFile(fileobj=io.BytesIO(archive))
    reader.read()
    assert archive[:3] == b"\x1f\x8b\x08"
    assert archive.count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00") == 1


@pytest.mark.parametrize("state", [b"", b"x", bytes(512), STATE, bytes(300_000)])
@pytest.mark.parametrize("step", [1, 4096, 10**6])
def test_what_is_written_is_read_back(state, step):
    """Whatever the size of the state and of the pieces."""
    meta, found = read(packed(state), step=step)
    assert found == state
    assert meta.index == 196
    assert meta.size == len(state)


def test_a_state_of_another_size_is_not_packed():
    """The size stands before the state, so that a wrong one spoils the archive."""
    meta = msgspec.structs.replace(meta_of(), size=7)
    with pytest.raises(BadArchive, match="should have 7"):
        b"".join(pack(meta, [STATE], WALL))


def test_the_order_of_the_files_does_not_matter():
    """Readers of Go do not mind it either."""
    text, sums = sums_of()
    archive = tar_of(("SHA256SUMS", sums), ("state.bin", b"abc"), ("meta.json", text))
    assert read(archive)[1] == b"abc"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "failed to decompress snapshot: EOF"),
        (b"junk", "failed to decompress snapshot: unexpected EOF"),
        (b"junk" * 9, "failed to decompress snapshot: gzip: invalid header"),
    ],
)
def test_what_is_no_gzip_is_refused(content, problem):
    """With the texts of Go."""
    with pytest.raises(BadArchive, match=problem):
        read(content)


@pytest.mark.parametrize("kept", [11, 100, 300, -9, -1])
def test_a_cut_archive_is_refused(kept):
    """Wherever it is cut off."""
    with pytest.raises(BadArchive, match="unexpected EOF"):
        read(packed()[:kept])


def test_damage_is_noticed():
    """The sum of gzip does not fit any more."""
    archive = bytearray(packed(bytes(range(256)) * 50))
    archive[-6] ^= 1
    with pytest.raises(BadArchive, match="failed to read snapshot file"):
        read(bytes(archive))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["x", "meta.json", "state.bin", "SHA256SUMS"], 'unexpected file "x"'),
        (["meta.json", "meta.json"], 'duplicate file "meta.json"'),
        (["state.bin", "SHA256SUMS"], 'missing file "meta.json"'),
        (["meta.json", "SHA256SUMS"], 'missing file "state.bin"'),
        (["meta.json", "state.bin"], 'missing file "SHA256SUMS"'),
    ],
)
def test_exactly_three_files_are_in_an_archive(files, problem):
    """Others, missing and doubled ones are refused by name."""
    text, sums = sums_of()
    contents = {"meta.json": text, "state.bin": b"abc", "SHA256SUMS": sums, "x": b"x"}
    with pytest.raises(BadArchive, match=problem):
        read(tar_of(*((name, contents[name]) for name in files)))


@pytest.mark.parametrize(
    ("replaced", "problem"),
    [
        ({"state.bin": b"abd"}, 'hash check failed for "state.bin"'),
        ({"meta.json": b'{"Size":3}'}, 'hash check failed for "meta.json"'),
        ({"SHA256SUMS": b""}, 'missing hash for "meta.json"'),
        ({"SHA256SUMS": b"zz  meta.json\n"}, "malformed SHA256SUMS"),
    ],
)
def test_the_sums_must_fit(replaced, problem):
    """A file that was changed afterwards is named."""
    text, sums = sums_of()
    files = {"meta.json": text, "state.bin": b"abc", "SHA256SUMS": sums} | replaced
    with pytest.raises(BadArchive, match=problem):
        read(tar_of(*files.items()))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Size": 4}, "has 3 bytes, and should have 4"),
        ({"Index": "x"}, "failed to decode snapshot metadata"),
        ({"Index": -1}, "a number is negative"),
    ],
)
def test_the_metadata_must_make_sense(changes, problem):
    """The size is that of the state, and numbers are numbers."""
    text, sums = sums_of(**changes)
    files = {"meta.json": text, "state.bin": b"abc", "SHA256SUMS": sums}
    with pytest.raises(BadArchive, match=problem):
        read(tar_of(*files.items()))


def test_nothing_may_follow():
    """Neither behind the end of the tar, nor behind the gzip member."""
    text, sums = sums_of()
    files = (("meta.json", text), ("state.bin", b"abc"), ("SHA256SUMS", sums))
    with pytest.raises(BadArchive, match="extra data"):
        read(tar_of(*files, end=bytes(1024) + b"x" * 512))
    with pytest.raises(BadArchive, match="extra data"):
        read(tar_of(*files) + b"x")


def test_sizes_are_bounded():
    """A file that claims to be larger than it may is refused before it is read."""
    with pytest.raises(BadArchive, match=r'"state\.bin" in snapshot is too large'):
        read(packed(), state_max=100)
    with pytest.raises(BadArchive, match=r'"meta\.json" in snapshot is too large'):
        read(tar_of(("meta.json", bytes(2 * 1024 * 1024))))


def test_headers_that_are_none_are_refused():
    """As what is not a tar at all."""
    with pytest.raises(BadArchive, match="failed to read snapshot"):
        read(gzip.compress(b"x" * 1024))
