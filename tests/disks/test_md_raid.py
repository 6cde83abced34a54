"""Linux software RAID: superblocks made as md_p.h has them and held against mdadm's own reading."""

import random
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.volumes import find_volumes
from support.disks import MIB, Disk, put_mbr, run

SECTORS = 8 * MIB // 512
DATA = random.Random(8).randbytes(12 * MIB)
CHUNK = 64 << 10


def superblock_1(
    role, level, devices=2, at=8, data_offset=2048, size=0, chunk=CHUNK // 512, events=20, features=0, recovery=0, layout=0,
    data_size=None,
):  # fmt: skip
    """at: the superblock's own sector."""
    data_size = data_size or (SECTORS - data_offset if at < data_offset else at - data_offset)
    raw = struct.pack("<4I16s32s", 0xA92B4EFC, 1, features, 0, b"set of two disks", b"host:data")
    raw += struct.pack("<QiIQIII", 1_700_000_000, level, layout, size, chunk, devices, 0)
    raw += struct.pack("<IQIIII", 0, 0, 0, 0, 0, 0)
    raw += struct.pack("<4Q", data_offset, data_size, at, recovery)
    raw += struct.pack("<II16sB7x", role, 0, bytes([role]) * 16, 0)
    raw += struct.pack("<QQQII", 1_700_000_100, events, (1 << 64) - 1 if level > 0 else 0, 0, 384)
    raw = raw.ljust(256, b"\0") + b"".join(struct.pack("<H", n if n < devices else 0xFFFE) for n in range(384))
    total = sum(struct.unpack(f"<{len(raw) // 4}I", raw))
    checksum = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return raw[:216] + struct.pack("<I", checksum) + raw[220:]


def superblock_0(role, level, chunk=0):
    words = [0] * 1024
    words[0:9] = [0xA92B4EFC, 0, 90, 0, 0, 0x11111111, 1_700_000_000, level, (SECTORS // 2 - 64) // 64 * 64]
    words[9:12] = [2, 2, 0]
    words[13:16] = [0x22222222, 0x33333333, 0x44444444]
    words[32:38] = [1_700_000_100, 1, 2, 2, 0, 0]
    words[39] = 20
    words[65] = chunk
    for number in range(2):
        words[128 + 32 * number : 133 + 32 * number] = [number, 8, number, number, 6]
    words[992:997] = [role, 8, role, role, 6]
    total = sum(words)
    words[38] = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return struct.pack("<1024I", *words)


def disk_of(*members):
    """A disk with a partition of 8 MiB for each member. A member: what stands where, by byte."""
    disk = bytearray(MIB + len(members) * 8 * MIB)
    put_mbr(disk, [(0xFD, (MIB + n * 8 * MIB) // 512, SECTORS) for n in range(len(members))])
    for number, member in enumerate(members):
        for at, data in member.items():
            start = MIB + number * 8 * MIB + at
            disk[start : start + len(data)] = data
    return disk


def arrays_of(disk):
    volumes, gaps = find_volumes(Disk("disk.img", bytes(disk)))
    return [volume for volume in volumes if volume.scheme == "md"], volumes, [gap.error for gap in gaps]


def mdadm_agrees(tmp_path, disk, number, **expected):
    (tmp_path / "member").write_bytes(disk[MIB + number * 8 * MIB : MIB + (number + 1) * 8 * MIB])
    said = dict(re.findall(r"^ *([\w ]+?) : (.*)$", run("mdadm", "--examine", tmp_path / "member"), re.MULTILINE))
    assert "correct" in said["Checksum"]
    for name, value in expected.items():
        assert value in said[name.replace("_", " ")], said


PLACES = {"1.2": (8, 4096), "1.1": (0, 0), "1.0": (SECTORS - 16, (SECTORS - 16) * 512)}


@pytest.mark.parametrize("version", PLACES)
def test_a_mirror(tmp_path, version):
    at, place = PLACES[version]
    offset = 0 if version == "1.0" else 2048
    size = (SECTORS - 4096) // 8 * 8
    content = DATA[: size * 512]
    members = [{offset * 512: content, place: superblock_1(n, 1, at=at, data_offset=offset, size=size, chunk=0)} for n in (0, 1)]
    disk = disk_of(*members)
    mdadm_agrees(tmp_path, disk, 1, Raid_Level="raid1", Version=version)
    (array,), volumes, errors = arrays_of(disk)
    assert errors == []
    assert (array.name, array.type, array.length) == ("data", "RAID 1", size * 512)
    assert array.source.read(0, array.length) == content
    assert array.offset == MIB + offset * 512
    assert [volume.holds for volume in volumes[:2]] == ["member of RAID 1 data, volume 3"] * 2


def test_a_mirror_of_the_older_format(tmp_path):
    place = (SECTORS * 512 // 65536 - 1) * 65536
    disk = disk_of({0: DATA[:place], place: superblock_0(0, 1)}, {0: DATA[:place], place: superblock_0(1, 1)})
    mdadm_agrees(tmp_path, disk, 0, Raid_Level="raid1", Version="0.90.00")
    (array,), _, errors = arrays_of(disk)
    assert errors == []
    assert array.source.read(0, array.length) == DATA[: array.length]
    assert array.length == (SECTORS // 2 - 64) // 64 * 64 * 1024


def test_stripes(tmp_path):
    legs = [b"".join(DATA[at : at + CHUNK] for at in range(n * CHUNK, len(DATA), 2 * CHUNK)) for n in (0, 1)]
    disk = disk_of(*({MIB: leg, 4096: superblock_1(n, 0)} for n, leg in enumerate(legs)))
    mdadm_agrees(tmp_path, disk, 0, Raid_Level="raid0", Chunk_Size="64K")
    (array,), _, errors = arrays_of(disk)
    assert errors == []
    assert array.source.read(0, len(DATA)) == DATA
    assert array.source.read(CHUNK - 3, 2 * CHUNK) == DATA[CHUNK - 3 : 3 * CHUNK - 3]
    assert array.source.locate(CHUNK + 1) == MIB + 8 * MIB + MIB + 1


@pytest.mark.parametrize(("layout", "order"), [(1, (2, 1)), (2, (1, 2))])
def test_stripes_over_devices_of_different_sizes(layout, order):
    """Three devices of 3, 5 and 5 chunks. How the last four chunks lie is as a kernel of Linux 6.1 laid them."""
    pieces = [bytes([65 + n]) * CHUNK for n in range(13)]
    legs = [[], [], []]
    for number, piece in enumerate(pieces):
        legs[number % 3 if number < 9 else order[(number - 9) % 2]].append(piece)
    disk = disk_of(*(
        {MIB: b"".join(leg), 4096: superblock_1(n, 0, 3, features=4096, layout=layout, data_size=len(leg) * CHUNK // 512)}
        for n, leg in enumerate(legs)
    ))  # fmt: skip
    (array,), _, errors = arrays_of(disk)
    assert errors == []
    assert array.source.read(0, array.length) == b"".join(pieces)
    unknown = disk_of(*({4096: superblock_1(n, 0, data_size=(n + 1) * 4096)} for n in range(2)))
    assert "not told" in arrays_of(unknown)[2][0]


def test_stripes_of_which_a_device_is_missing():
    disk = disk_of({MIB: DATA[: 4 * MIB], 4096: superblock_1(0, 0)})
    (array,), _, errors = arrays_of(disk)
    assert errors == ["data: 1 of its devices are not in this disk image"]
    assert array.source.read(0, CHUNK) == DATA[:CHUNK]
    assert array.source.locate(CHUNK) is None


def test_the_member_that_fell_out_is_not_read():
    old = {MIB: b"old" * 99999, 4096: superblock_1(0, 1, size=4 * MIB // 512, chunk=0, events=5)}
    new = {MIB: b"new" * 99999, 4096: superblock_1(1, 1, size=4 * MIB // 512, chunk=0, events=50)}
    (array,), _, errors = arrays_of(disk_of(old, new))
    assert array.source.read(0, 6) == b"newnew"
    assert errors == ["data: 1 of its devices are not in this disk image"]


def test_what_is_not_read_is_named():
    disk = disk_of({4096: superblock_1(0, 5, devices=3)}, {4096: superblock_1(1, 5, devices=3)})
    (array,), _, errors = arrays_of(disk)
    assert (array.type, array.source.size) == ("RAID 5", 0)
    assert "RAID 5 are not read" in errors[0]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_damage_is_a_gap_or_nothing(changes):
    raw = bytearray(superblock_1(0, 0))
    for at, value in changes:
        raw[min(at, len(raw) - 1)] = value
    arrays, _, _errors = arrays_of(disk_of({4096: bytes(raw)}))
    for array in arrays:
        assert len(array.source.read(0, 100)) <= 100
