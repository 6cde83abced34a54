"""E01 disk images: made by ewfacquire where it is there, byte by byte where something is to be wrong with them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_disk_image
from parsers.errors import EvidenceError
from support.disks import run
from support.ewf_files import CHUNK, chunks_of, section, segment

DATA = random.Random(1).randbytes(3 * CHUNK) + bytes(2 * CHUNK) + b"end".ljust(1024, b".")


@pytest.fixture
def made(tmp_path):
    """A segment file of DATA and where its chunks stand."""
    raw, places = segment(1, chunks_of(DATA), len(DATA))
    path = tmp_path / "disk.E01"
    path.write_bytes(raw)
    return path, raw, places


def whole(path):
    with open_disk_image(path) as disk:
        return disk.read(0, disk.size)


def test_chunks_raw_and_packed_make_the_disk(made):
    path, _, _ = made
    assert whole(path) == DATA
    with open_disk_image(path) as disk:
        assert disk.format == "E01"
        for offset, size in ((0, 1), (CHUNK - 1, 2), (len(DATA) - 3, 99), (CHUNK * 2 + 5, CHUNK * 3), (len(DATA), 1)):
            assert disk.read(offset, size) == DATA[offset : offset + size]


@pytest.mark.parametrize("damaged", range(6))
def test_a_damaged_chunk_costs_that_chunk_only(made, damaged):
    path, raw, places = made
    raw[places[damaged] + 7] ^= 0x40
    path.write_bytes(raw)
    with open_disk_image(path) as disk:
        for number in range(6):
            start = number * CHUNK
            if number == damaged:
                with pytest.raises(EvidenceError, match=f"bytes {start} to"):
                    disk.read(start, 512)
            else:
                assert disk.read(start, CHUNK) == DATA[start : start + CHUNK]


def test_a_damaged_table_has_a_copy(made):
    path, raw, _ = made
    at = raw.index(b"table\0")
    raw[at + 76 + 24] ^= 1
    path.write_bytes(raw)
    assert whole(path) == DATA
    copy = raw.index(b"table2\0")
    raw[copy + 76 + 24 + 3] ^= 0x40  # the first chunk's place
    path.write_bytes(raw)
    with open_disk_image(path) as disk:
        assert "both copies" in disk.problems[0]
        assert disk.read(CHUNK, len(DATA)) == DATA[CHUNK:]  # each chunk has a checksum of its own


def test_a_file_that_was_cut_off_gives_what_its_tables_tell(made):
    path, raw, _ = made
    path.write_bytes(raw[:-30])
    with open_disk_image(path) as disk:
        assert "nothing behind that place is read" in disk.problems[0]
        assert disk.read(0, len(DATA)) == DATA
    path.write_bytes(raw[: raw.index(b"table\0")])
    with pytest.raises(EvidenceError, match="copy the file again"):
        open_disk_image(path)


def test_a_damaged_table_without_a_copy_costs_its_damaged_entries_only(made):
    path, raw, _ = made
    raw[raw.index(b"table\0") + 76 + 24 + 3] ^= 0x40
    path.write_bytes(raw[: raw.index(b"table2\0")] + section("done", b"", raw.index(b"table2\0"), last=True))
    with open_disk_image(path) as disk:
        assert "it has no copy" in disk.problems[0]
        assert disk.read(CHUNK, len(DATA)) == DATA[CHUNK:]
        with pytest.raises(EvidenceError):
            disk.read(0, 512)


def test_chunks_of_zeros_are_passed_over_where_they_are_known(tmp_path):
    data = bytes(3 * CHUNK) + DATA[: 2 * CHUNK] + bytes(5 * CHUNK) + b"x" * 512
    raw, places = segment(1, chunks_of(data), len(data), packed=lambda index: index != 4)
    path = tmp_path / "disk.E01"
    path.write_bytes(raw)
    with open_disk_image(path) as disk:
        assert [disk.data_from(at) for at in (7, 3 * CHUNK, 5 * CHUNK, 9 * CHUNK)] == [
            3 * CHUNK,
            3 * CHUNK,
            10 * CHUNK,
            10 * CHUNK,
        ]
        assert disk.read(5, len(data)) == data[5:]
    raw[places[7] + 9] ^= 1
    path.write_bytes(raw)
    with open_disk_image(path) as disk:
        assert disk.data_from(5 * CHUNK) == 7 * CHUNK
        with pytest.raises(EvidenceError):
            disk.read(2 * CHUNK, len(data))


def test_segments_are_found_from_any_of_them_and_none_may_be_missing(tmp_path):
    chunks = chunks_of(DATA)
    for number, part in enumerate((chunks[:2], chunks[2:3], chunks[3:]), 1):
        raw, _ = segment(number, part, len(DATA), last=number == 3)
        (tmp_path / f"disk.E0{number}").write_bytes(raw)
    assert whole(tmp_path / "disk.E01") == whole(tmp_path / "disk.E03") == DATA
    (tmp_path / "disk.E02").rename(tmp_path / "other.E02")
    with pytest.raises(EvidenceError, match="segment 2"):
        open_disk_image(tmp_path / "other.E02")
    with open_disk_image(tmp_path / "disk.E01") as disk:
        assert "in none of the segment files" in disk.problems[0]
        assert disk.read(0, 2 * CHUNK) == DATA[: 2 * CHUNK]
        with pytest.raises(EvidenceError, match="in none of the segment files"):
            disk.read(2 * CHUNK, 1)


def test_a_segment_of_another_disk_is_refused(tmp_path):
    first, _ = segment(1, chunks_of(DATA)[:1], len(DATA), last=False)
    second, _ = segment(2, chunks_of(DATA)[1:], len(DATA), identifier=bytes(16))
    (tmp_path / "disk.E01").write_bytes(first)
    (tmp_path / "disk.E02").write_bytes(second)
    with pytest.raises(EvidenceError, match="another disk image"):
        open_disk_image(tmp_path / "disk.E01")


@pytest.mark.parametrize(
    "options",
    [("-c", "fast"), ("-c", "none", "-S", "2MiB"), ("-c", "best", "-f", "encase5"), ("-f", "smart"), ("-f", "ftk", "-b", "128")],
)
def test_what_ewfacquire_wrote(tmp_path, options):
    data = (random.Random(2).randbytes(1 << 20) + bytes(1 << 20)) * 3 + b"x" * 512
    (tmp_path / "raw").write_bytes(data)
    run("ewfacquire", "-u", "-q", "-t", tmp_path / "disk", *options, tmp_path / "raw")
    with open_disk_image(tmp_path / ("disk.s01" if "smart" in options else "disk.E01")) as disk:
        assert disk.read(0, len(data)) == data
        assert disk.size == len(data)
        assert len(disk.details["stored md5"]) == 32


SEGMENT = bytes(segment(1, chunks_of(DATA), len(DATA))[0])
PLACES = st.one_of(st.integers(0, 1300), st.integers(0, len(SEGMENT) - 1), st.integers(len(SEGMENT) - 400, len(SEGMENT) - 1))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=3), st.none() | st.integers(0, len(SEGMENT)))
def test_any_damage_is_an_error_and_never_other_bytes(tmp_path_factory, changes, length):
    path = tmp_path_factory.mktemp("ewf") / "disk.E01"
    raw = bytearray(SEGMENT)
    for at, value in changes:
        raw[at] = value
    path.write_bytes(raw[:length])
    try:
        disk = open_disk_image(path)
    except EvidenceError:
        return
    with disk:
        if disk.format != "E01":
            return  # without its signature it is a file like any other
        for start in range(0, min(disk.size, len(DATA)), CHUNK):
            try:
                chunk = disk.read(start, CHUNK)
            except EvidenceError:
                continue
            assert chunk == DATA[start : start + CHUNK] or disk.size != len(DATA)
