"""The log on disk: crashes at every byte, damage at every byte."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consultwist.errors import StorageError
from consultwist.raft.messages import Entry, LogType
from consultwist.raft.storage.segment_log import LogContents, SegmentLog

EXTENT = 4096


def entries(first: int, count: int, term: int = 1, size: int = 40) -> list[Entry]:
    return [Entry.make(first + i, term, 0, b"d" * size) for i in range(count)]


def log_in(folder: Path, segment_size: int = 1 << 20) -> SegmentLog:
    return SegmentLog(
        folder, random.Random(1), segment_size=segment_size, extent_size=EXTENT
    )


def reopen(folder: Path, segment_size: int = 1 << 20) -> tuple[SegmentLog, LogContents]:
    log = log_in(folder, segment_size)
    return log, log.open()


def all_of(log: SegmentLog, contents: LogContents) -> list[Entry]:
    got: list[Entry] = []
    index = contents.first_index
    while contents.last_index and index <= contents.last_index:
        part = log.read(index, contents.last_index, 300)
        got += part
        index += len(part)
    return got


def only_segment(folder: Path) -> Path:
    (path,) = folder.glob("*.log")
    return path


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    """Entries, terms, the configuration entries and the commit index."""
    log, _ = reopen(tmp_path)
    first, second = entries(1, 3), entries(4, 2, term=3)
    conf = Entry.make(6, 3, LogType.CONFIGURATION, b"c")
    log.append(first, 0)
    log.append([*second, conf], 2)
    log.close()
    log, contents = reopen(tmp_path)
    assert all_of(log, contents) == [*first, *second, conf]
    assert contents.terms == [(1, 1), (4, 3)]
    assert contents.configurations == [conf]
    assert contents.commit_index == 2
    log.close()


def test_a_full_segment_is_sealed_and_another_one_begun(tmp_path: Path) -> None:
    """A batch may go over several segments; reads and restarts see one log."""
    log, _ = reopen(tmp_path, 500)
    batch = entries(1, 40)
    log.append(batch, 0)
    log.append(entries(41, 1), 40)
    assert len(list(tmp_path.glob("*.log"))) > 5
    log.close()
    log, contents = reopen(tmp_path, 500)
    assert all_of(log, contents) == [*batch, *entries(41, 1)]
    log.append(entries(42, 3), 41)
    assert [e.index for e in log.read(41, 44, 1 << 20)][:1] == [41]
    log.close()


def test_a_truncated_suffix_stays_away(tmp_path: Path) -> None:
    """Also over segments, and what is appended in its place is what is read."""
    log, _ = reopen(tmp_path, 500)
    log.append(entries(1, 40), 0)
    log.truncate(13)
    log.append(entries(14, 2, term=5), 0)
    log.close()
    log, contents = reopen(tmp_path, 500)
    assert all_of(log, contents) == entries(1, 13) + entries(14, 2, term=5)
    log.truncate(0)
    log.append(entries(1, 1, term=6), 0)
    log.close()
    log, contents = reopen(tmp_path, 500)
    assert all_of(log, contents) == entries(1, 1, term=6)
    log.close()


def test_compaction_drops_whole_segments_only(tmp_path: Path) -> None:
    """Everything above the index stays; the last segment always does."""
    log, _ = reopen(tmp_path, 500)
    log.append(entries(1, 40), 0)
    log.compact(20)
    log.close()
    log, contents = reopen(tmp_path, 500)
    assert 1 < contents.first_index <= 21
    assert contents.last_index == 40
    log.compact(40)
    assert len(list(tmp_path.glob("*.log"))) == 1
    with pytest.raises(StorageError, match="is not there"):
        log.read(1, 1, 1)
    log.close()


def test_after_a_reset_the_log_begins_anywhere(tmp_path: Path) -> None:
    """A snapshot stands for what was before."""
    log, _ = reopen(tmp_path)
    log.append(entries(1, 5), 0)
    log.reset()
    log.append(entries(100, 2), 99)
    log.close()
    log, contents = reopen(tmp_path)
    assert (contents.first_index, contents.last_index) == (100, 101)
    log.close()


def test_an_entry_out_of_order_is_refused(tmp_path: Path) -> None:
    """The disk never holds a log with a gap."""
    log, _ = reopen(tmp_path)
    log.append(entries(1, 2), 0)
    with pytest.raises(StorageError, match="does not follow"):
        log.append(entries(4, 1), 0)
    log.close()


# --- crashes: the last batch is there in part --------------------------------------


def durable_and_torn(folder: Path) -> tuple[bytes, bytes, int, list[Entry]]:
    """Return a segment before and after its last batch, and where that begins."""
    log, _ = reopen(folder)
    first, last = entries(1, 3), entries(4, 3, size=700)
    log.append(first, 0)
    path = only_segment(folder)
    before = path.read_bytes()
    log.append(last, 3)
    log.close()
    after = path.read_bytes()
    before += bytes(len(after) - len(before))
    begin = next(i for i in range(len(after)) if before[i] != after[i])
    return before, after, begin, first + last


def check_recovery(folder: Path, content: bytes, written: list[Entry]) -> int:
    """The log opens with a prefix of what was written, and takes new entries."""
    path = only_segment(folder)
    path.write_bytes(content)
    log, contents = reopen(folder)
    got = all_of(log, contents)
    assert got == written[: len(got)]
    fresh = entries(contents.last_index + 1, 2, term=9)
    log.append(fresh, 0)
    log.close()
    log, contents = reopen(folder)
    assert all_of(log, contents) == got + fresh
    log.close()
    return len(got)


def test_a_crash_at_any_byte_of_the_last_batch_loses_only_that(tmp_path: Path) -> None:
    """The rest of the blocks holds zeros: what was durable before is all there."""
    _, after, begin, written = durable_and_torn(tmp_path)
    end = len(after.rstrip(b"\0"))
    found = set()
    for cut in range(begin, end + 1):
        if cut % 3 and begin + 80 < cut < end - 80:
            continue
        torn = after[:cut] + bytes(len(after) - cut)
        found.add(check_recovery(tmp_path, torn, written))
    assert found == {3, 4, 5, 6}


def test_a_file_cut_off_anywhere_in_the_last_batch_loses_only_that(
    tmp_path: Path,
) -> None:
    """As when the file had not grown yet."""
    _, after, begin, written = durable_and_torn(tmp_path)
    end = len(after.rstrip(b"\0"))
    for cut in range(begin, end + 1, 7):
        assert check_recovery(tmp_path, after[:cut], written) >= 3


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lost=st.sets(st.integers(0, 7), min_size=1))
def test_sectors_written_in_any_order_lose_only_the_last_batch(
    tmp_path_factory: pytest.TempPathFactory, lost: set[int]
) -> None:
    """A disk may write the end of a batch before its beginning."""
    folder = tmp_path_factory.mktemp("log")
    before, after, begin, written = durable_and_torn(folder)
    torn = bytearray(after)
    for sector in lost:
        start = (begin // 512 + sector) * 512
        torn[start : start + 512] = before[start : start + 512]
    assert check_recovery(folder, bytes(torn), written) >= 3


# --- corruption: what was durable is damaged -----------------------------------------


def test_damage_before_a_later_batch_is_never_skipped(tmp_path: Path) -> None:
    """Every byte of an older batch: the error names file and offset."""
    _, after, begin, _ = durable_and_torn(tmp_path)
    path = only_segment(tmp_path)
    for place in range(24, begin):
        damaged = bytearray(after)
        damaged[place] ^= 0x40
        path.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match=rf"{path.name}: .*offset \d+"):
            log_in(tmp_path).open()


def test_a_lost_sector_before_a_later_batch_is_never_skipped(tmp_path: Path) -> None:
    """Zeros in the middle are no torn tail: something durable comes after them."""
    log, _ = reopen(tmp_path)
    log.append(entries(1, 20, size=100), 0)
    log.append(entries(21, 1), 20)
    log.close()
    path = only_segment(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:512] + bytes(512) + content[1024:])
    with pytest.raises(StorageError, match="is corrupt"):
        log_in(tmp_path).open()


def test_a_flipped_bit_in_the_last_batch_is_corruption(tmp_path: Path) -> None:
    """All sectors were written, so this is no interrupted write."""
    _, after, begin, _ = durable_and_torn(tmp_path)
    path = only_segment(tmp_path)
    end = len(after.rstrip(b"\0"))
    for place in [*range(begin, begin + 40), *range(begin + 40, end - 1, 61)]:
        damaged = bytearray(after)
        damaged[place] ^= 0x08
        path.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match="is corrupt"):
            log_in(tmp_path).open()


def test_damage_in_a_sealed_segment_is_corruption(tmp_path: Path) -> None:
    """Only the last segment can have a torn tail."""
    log, _ = reopen(tmp_path, 500)
    log.append(entries(1, 20), 0)
    log.close()
    path = min(tmp_path.glob("*.log"))
    content = path.read_bytes()
    path.write_bytes(content[:-10] + bytes(10))
    with pytest.raises(StorageError, match=rf"{path.name}: entry \d+ at offset"):
        log_in(tmp_path).open()


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    """The error says which entries are gone."""
    log, _ = reopen(tmp_path, 500)
    log.append(entries(1, 20), 0)
    log.close()
    sorted(tmp_path.glob("*.log"))[1].unlink()
    with pytest.raises(StorageError, match=r"entries \d+ to \d+ are missing"):
        log_in(tmp_path).open()


def test_damage_that_appears_while_running_is_noticed_at_the_read(
    tmp_path: Path,
) -> None:
    """A follower is never sent a damaged entry."""
    log, _ = reopen(tmp_path)
    log.append(entries(1, 5), 0)
    path = only_segment(tmp_path)
    with path.open("r+b") as file:
        file.seek(150)
        file.write(b"\xff\xff")
    with pytest.raises(StorageError, match="is corrupt"):
        log.read(1, 5, 1 << 20)
    log.close()


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 1 << 30))
def test_any_damage_is_an_error_or_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Random bytes at random places never give entries that were not written."""
    folder = tmp_path_factory.mktemp("log")
    rng = random.Random(seed)
    log, _ = reopen(folder, 2000)
    written: list[Entry] = []
    for _ in range(rng.randint(1, 8)):
        batch = entries(
            len(written) + 1, rng.randint(1, 6), size=rng.choice([0, 50, 900])
        )
        log.append(batch, 0)
        written += batch
    log.close()
    path = rng.choice(sorted(folder.glob("*.log")))
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    length = rng.choice([1, 4, 600])
    content[place : place + length] = rng.randbytes(length)
    path.write_bytes(bytes(content))
    log = log_in(folder, 2000)
    try:
        contents = log.open()
    except StorageError:
        return
    got = all_of(log, contents)
    assert got == written[: len(got)]
    log.close()


def test_the_empty_folder_is_an_empty_log(tmp_path: Path) -> None:
    """And what a crash left of a new segment is cleared away."""
    (tmp_path / "00000000000000000001.log.tmp").write_bytes(b"half")
    log, contents = reopen(tmp_path)
    assert contents == LogContents(0, 0, [], [], 0)
    assert list(tmp_path.iterdir()) == []
    log.close()
