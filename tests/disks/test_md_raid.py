"""Linux software RAID: superblocks made as md_p.h has them and held against mdadm's own reading; layouts as in Linux 6.1."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_evidence
from forensics.volumes import find_volumes
from parsers.errors import FormatError
from support.disks import MIB, Disk, put_gpt, put_mbr, run
from support.md_superblocks import CHUNK, SECTORS, superblock_0, superblock_1

DATA = random.Random(8).randbytes(12 * MIB)


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


# which chunk stands where, row by row; p and q are parities
LAYOUTS = {
    "RAID 4": (4, 0, ("0 1 p", "2 3 p")),
    "RAID 5, left-asymmetric": (5, 0, ("0 1 p", "2 p 3", "p 4 5")),
    "RAID 5, right-asymmetric": (5, 1, ("p 0 1", "2 p 3", "4 5 p")),
    "RAID 5, left-symmetric": (5, 2, ("0 1 p", "3 p 2", "p 4 5")),
    "RAID 5, right-symmetric": (5, 3, ("p 0 1", "3 p 2", "4 5 p")),
    "RAID 6, left-symmetric": (6, 2, ("q 0 1 p", "2 3 p q", "5 p q 4", "p q 6 7")),
    "RAID 6, right-asymmetric": (6, 1, ("p q 0 1", "2 p q 3", "4 5 p q", "q 6 7 p")),
    "RAID 10, near": (10, 0x102, ("0 0 1", "1 2 2", "3 3 4", "4 5 5")),
    "RAID 10, far": (10, 0x201, ("0 1 2", "3 4 5", "2 0 1", "5 3 4")),
    "RAID 10, offset": (10, 0x10201, ("0 1 2", "2 0 1", "3 4 5", "5 3 4")),
}


def laid_out(level, layout, rows):
    """The members of an array, and what it holds."""
    rows = [row.split() for row in rows]
    count = 1 + max(int(cell) for row in rows for cell in row if cell not in "pq")
    chunks = [DATA[n * CHUNK : (n + 1) * CHUNK] for n in range(count)]
    legs = [b""] * len(rows[0])
    for row in rows:
        held = {cell: chunks[int(cell)] for cell in row if cell not in "pq"}
        held["p"] = np.bitwise_xor.reduce([np.frombuffer(chunk, np.uint8) for chunk in held.values()]).tobytes()
        for column, cell in enumerate(row):
            legs[column] += held.get(cell, bytes([0xA5]) * CHUNK)
    size = len(rows) * CHUNK // 512
    blocks = [superblock_1(n, level, len(legs), size=size, layout=layout) for n in range(len(legs))]
    return [{MIB: leg, 4096: block} for leg, block in zip(legs, blocks, strict=True)], b"".join(chunks)


@pytest.mark.parametrize("name", LAYOUTS)
def test_copies_and_parity(name):
    members, content = laid_out(*LAYOUTS[name])
    disk = disk_of(*members)
    (array,), _, errors = arrays_of(disk)
    assert errors == []
    assert (array.type, array.length) == (name.partition(",")[0], len(content))
    assert array.source.read(0, array.length) == content
    for offset in range(0, len(content), 9973):
        assert array.source.read(offset, 70_000) == content[offset : offset + 70_000]
        assert disk[array.source.locate(offset)] == content[offset]


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_missing_device_is_made_up_for(name):
    members, content = laid_out(*LAYOUTS[name])
    for missing in range(len(members)):
        (array,), _, errors = arrays_of(disk_of(*members[:missing], *members[missing + 1 :]))
        assert errors == ["data: 1 of its devices are not in this disk image"]
        assert array.source.read(0, array.length) == content


def test_two_missing_devices_are_an_error_and_no_guess():
    members, content = laid_out(*LAYOUTS["RAID 6, left-symmetric"])
    (array,), _, errors = arrays_of(disk_of(*members[:2]))
    assert errors == ["data: 2 of its devices are not in this disk image"]
    assert array.source.read(2 * CHUNK, 4 * CHUNK) == content[2 * CHUNK : 6 * CHUNK]  # one of them by the parity
    with pytest.raises(FormatError, match="not in this disk image"):
        array.source.read(CHUNK, 1)


@pytest.mark.parametrize(
    ("level", "layout", "features", "error"),
    [(10, 0x20201, 0, "layout 0x20201"), (5, 9, 0, "layout 9"), (5, 2, 0x400, "write journal"), (7, 0, 0, "type 7")],
)
def test_what_is_not_read_is_named(level, layout, features, error):
    disk = disk_of(*({4096: superblock_1(n, level, 3, layout=layout, features=features)} for n in range(3)))
    (array,), _, errors = arrays_of(disk)
    assert array.source.size == 0
    assert error in errors[0]


def whole_disks(*superblocks, size=8 * MIB):
    """Disks that are members as a whole, of an array that has a partition table; the superblock at the end."""
    inside = bytearray(7 * MIB)
    put_gpt(inside, [(2048, 4095, "first"), (4096, 8191, "second")])
    inside[2 * MIB : 2 * MIB + 4] = b"here"
    for place, block in superblocks:
        disk = bytearray(bytes(inside).ljust(size, b"\0"))
        disk[place : place + len(block)] = block
        yield bytes(disk)


@pytest.mark.parametrize("version", ["0.90", "1.0"])
def test_an_array_of_whole_disks_has_the_partitions(tmp_path, version):
    if version == "1.0":
        blocks = [
            ((SECTORS - 16) * 512, superblock_1(n, 1, at=SECTORS - 16, data_offset=0, size=14 * 1024, chunk=0)) for n in (0, 1)
        ]
    else:
        blocks = [(8 * MIB - 65536, superblock_0(n, 1)) for n in (0, 1)]
    for number, disk in enumerate(whole_disks(*blocks)):
        (tmp_path / f"{number}.img").write_bytes(disk)
    with open_evidence([tmp_path / "0.img", tmp_path / "1.img"]) as evidence:
        volumes, gaps = find_volumes(evidence)
        assert gaps == ()
        assert [(v.scheme, v.offset) for v in volumes] == [
            ("none", 0),
            ("none", 8 * MIB),
            ("md", 0),
            ("gpt", MIB),
            ("gpt", 2 * MIB),
        ]
        assert [v.holds for v in volumes[:3]] == [f"member of RAID 1 {volumes[2].name}, volume 3"] * 2 + [
            "partitioned, volumes 4 to 5"
        ]
        assert volumes[4].name == f"{volumes[2].name}-part2"
        assert evidence.read(volumes[4].offset, 4) == volumes[4].source.read(0, 4) == b"here"


def test_an_old_superblock_hides_no_partitions():
    disk = bytearray(8 * MIB)
    put_gpt(disk, [(2048, 4095, "own")])
    disk[8 * MIB - 65536 : 8 * MIB - 65536 + 4096] = superblock_0(0, 1)
    assert [volume.name for volume in arrays_of(disk)[1]] == ["p1"]


def test_a_superblock_at_the_end_may_be_the_last_partitions():
    disk = bytearray(disk_of({8 * MIB - 65536: superblock_0(0, 1), 0: DATA[:65536]}))
    (array,), volumes, _ = arrays_of(disk)
    assert [volume.name for volume in volumes[:1]] == ["p1"]
    assert array.source.read(0, 65536) == DATA[:65536]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_damage_is_a_gap_or_nothing(changes):
    raw = bytearray(superblock_1(0, 0))
    for at, value in changes:
        raw[min(at, len(raw) - 1)] = value
    arrays, _, _errors = arrays_of(disk_of({4096: bytes(raw)}))
    for array in arrays:
        assert len(array.source.read(0, 100)) <= 100
