"""Ex01 disk images: as libewf reads them, and damage that costs what is damaged only."""

import bz2
import contextlib
import hashlib
import random
import struct
import time
import zlib

import pyewf
import pytest

from forensics.evidence import hash_disk_image, open_disk_image
from parsers import ewf2
from parsers.errors import CtrForensicsError, EvidenceError, FormatError
from support.cli import ask, run_cli
from support.ewf2_files import CHUNK, write_ex01

DISK = random.Random(2).randbytes(1 << 20) + bytes(1 << 20) + b"words " * 43690 + bytes(512 * 3)
DISK = DISK[: len(DISK) // 512 * 512]


@pytest.fixture(params=[1, 3])
def written(tmp_path, request):
    """The first segment file of a disk in one file, or in three."""
    write_ex01(tmp_path / "disk.Ex01", DISK, request.param)
    return tmp_path / "disk.Ex01"


def content(disk):
    return b"".join(disk.read(offset, 100_000) for offset in range(0, disk.size, 100_000))


def test_what_it_holds_is_what_libewf_reads(written):
    with open_disk_image(max(written.parent.iterdir())) as disk:
        assert (disk.format, disk.size, disk.problems) == ("Ex01", len(DISK), [])
        assert content(disk) == DISK
        assert disk.details["case number"] == "42"
        hashes = hash_disk_image(disk, lambda _done: None)
        assert hashes["md5"] == disk.details["stored md5"] == hashlib.md5(DISK).hexdigest()
        assert hashes["sha1"] == disk.details["stored sha1"]
        assert [disk.data_from(at) for at in (0, 1 << 20, (1 << 20) + 5)] == [0, 2 << 20, 2 << 20]
    handle = pyewf.handle()
    handle.open(pyewf.glob(str(written)))
    assert handle.get_media_size() == len(DISK)
    assert handle.read_buffer_at_offset(len(DISK), 0) == DISK
    handle.close()


def test_a_case_of_it_is_that_of_the_raw_disk(tmp_path, sample):
    raw = sample("podhost").read_bytes()
    write_ex01(tmp_path / "disk.Ex01", raw, 2)
    (tmp_path / "disk.img").write_bytes(raw)
    answers = []
    for name in ("disk.Ex01", "disk.img"):
        run_cli("carve", tmp_path / name, "-o", tmp_path / f"{name}.db")
        answers.append([ask(tmp_path / f"{name}.db", f"SELECT * FROM {view}") for view in ("files", "layers", "deleted_files")])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_chunk_costs_itself_only(tmp_path, number):
    """A compressed one, and one with a checksum."""
    write_ex01(tmp_path / "disk.Ex01", DISK)
    raw = bytearray((tmp_path / "disk.Ex01").read_bytes())
    offset, size, _ = struct.unpack("<QII", table_entry(raw, number))
    raw[offset + size // 2] ^= 1
    (tmp_path / "disk.Ex01").write_bytes(raw)
    with open_disk_image(tmp_path / "disk.Ex01") as disk:
        for chunk in range(8):
            if chunk == number:
                with pytest.raises(EvidenceError, match="cannot be read"):
                    disk.read(chunk * CHUNK, CHUNK)
            else:
                assert disk.read(chunk * CHUNK, CHUNK) == DISK[chunk * CHUNK : (chunk + 1) * CHUNK]


def table_entry(raw, number):
    """The bytes of a chunk's entry in the sector table of a file in one segment."""
    descriptor = len(raw) - 64
    while struct.unpack_from("<I", raw, descriptor)[0] != ewf2.TABLE:
        descriptor = struct.unpack_from("<Q", raw, descriptor + 8)[0]
    start = descriptor - struct.unpack_from("<Q", raw, descriptor + 16)[0] + ewf2.TABLE_DATA
    return bytes(raw[start + 16 * number : start + 16 * (number + 1)])


def test_segments_that_are_missing(tmp_path):
    write_ex01(tmp_path / "disk.Ex01", DISK, 3)
    (tmp_path / "disk.Ex03").unlink()
    with open_disk_image(tmp_path / "disk.Ex01") as disk:
        assert "is the last one missing?" in disk.problems[0]
        assert disk.read(0, 5000) == DISK[:5000]
        with pytest.raises(EvidenceError, match="none of the segment files"):
            disk.read(disk.size - 512, 512)
    (tmp_path / "disk.Ex02").rename(tmp_path / "disk.Ex04")
    with pytest.raises(EvidenceError, match="is not segment 1 of its set"):
        open_disk_image(tmp_path / "disk.Ex04")


def test_what_is_encrypted_is_named(tmp_path):
    write_ex01(tmp_path / "disk.Ex01", DISK)
    raw = bytearray((tmp_path / "disk.Ex01").read_bytes())
    raw[-60] |= ewf2.ENCRYPTED
    raw[-4:] = struct.pack("<I", zlib.adler32(bytes(raw[-64:-4])))
    (tmp_path / "disk.Ex01").write_bytes(raw)
    with pytest.raises(EvidenceError, match="encrypted"):
        open_disk_image(tmp_path / "disk.Ex01")


def test_chunks_of_every_kind():
    chunk = b"chunk " * 100
    both = ewf2.COMPRESSED | ewf2.PATTERN
    assert ewf2.unpack_chunk(bz2.compress(chunk), ewf2.COMPRESSED, 2, 600) == chunk
    assert ewf2.unpack_chunk(chunk, 0, 1, 600) == chunk
    assert ewf2.unpack_chunk(b"12345678", both, 1, 20) == b"12345678123456781234"
    for stored in (bz2.compress(chunk + b"more"), bz2.compress(chunk)[:-5], b"BZh9", zlib.compress(chunk)):
        with pytest.raises(FormatError):
            ewf2.unpack_chunk(stored, ewf2.COMPRESSED, 2, 600)


def test_any_damage_is_told_in_bounded_time(tmp_path):
    write_ex01(tmp_path / "disk.Ex01", DISK)
    whole, chance, begin = (tmp_path / "disk.Ex01").read_bytes(), random.Random(8), time.monotonic()
    told = [at for at in (*range(4096), *range(len(whole) - 8192, len(whole))) if whole[at]]
    for turn in range(150):
        raw = bytearray(whole)
        for at in chance.sample(told, chance.choice((1, 3))):
            raw[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", bytes([raw[at] ^ 1])))
        if turn % 3:  # damage that the descriptors' checksums do not tell
            descriptor = len(whole) - 64
            while descriptor:
                raw[descriptor + 60 : descriptor + 64] = struct.pack("<I", zlib.adler32(bytes(raw[descriptor : descriptor + 60])))
                (descriptor,) = struct.unpack_from("<Q", whole, descriptor + 8)
        (tmp_path / "disk.Ex01").write_bytes(raw[: chance.choice((None, None, chance.randrange(len(raw))))])
        with contextlib.suppress(CtrForensicsError), open_disk_image(tmp_path / "disk.Ex01") as disk:
            for offset in (0, 1 << 20, max(0, disk.size - 512)):
                with contextlib.suppress(CtrForensicsError):
                    part = disk.read(offset, 1 << 16)
                    assert part in (DISK[offset : offset + (1 << 16)], bytes(len(part))) or disk.size != len(DISK) or turn % 3
    assert time.monotonic() - begin < 30
