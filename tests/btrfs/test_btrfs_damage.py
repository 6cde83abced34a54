"""Damaged Btrfs filesystems: a format error or a problem, in bounded time, and other copies where there are some."""

import random
import shutil
import struct
import time

import pytest

from forensics.filesystems.btrfs.content import parse_extent
from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.recovery.files.btrfs_deleted import find_btrfs_deleted
from forensics.recovery.files.content import examine
from parsers import btrfs
from parsers.crc32c import crc32c
from parsers.errors import CtrForensicsError, FormatError, UnsupportedFormat
from support.disks import Disk, run

SUPER = 64 << 10


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small filesystem that mkfs.btrfs filled from a directory, which takes no root."""
    place = tmp_path_factory.mktemp("btrfs")
    root = place / "root"
    (root / "d").mkdir(parents=True)
    for number in range(60):
        (root / "d" / f"file{number}").write_bytes(random.Random(number).randbytes(number * 400))
    (root / "link").symlink_to("d/file1")
    shutil.copystat(root / "d", root)
    path = place / "fs.img"
    with path.open("wb") as file:
        file.truncate(128 << 20)
    run("mkfs.btrfs", "-q", "-r", root, path)
    return path.read_bytes()


def everything(raw):
    """Reads all that there is; what is damaged is an error or a problem."""
    try:
        fs = open_btrfs(Disk("fs.img", bytes(raw)))
        tree = fs.tree(fs.root)
        deleted = list(find_btrfs_deleted(fs))
    except CtrForensicsError as error:
        assert "\n" not in str(error)
        return None
    contents = {}
    for row in range(len(tree)):
        if tree.type[row] == ord("f"):
            try:
                contents[tree.names[row]] = fs.read(int(tree.inode[row]), 0, 1 << 20)
            except CtrForensicsError:
                contents[tree.names[row]] = None
    assert all(examine(fs, file).recovered <= file.size for file in deleted if file.type == "f")
    return contents, fs.problems


def nodes(raw):
    """Where tree nodes stand, both copies of each."""
    fsid = raw[SUPER + 32 : SUPER + 48]
    node = struct.unpack_from("<I", raw, SUPER + 0x94)[0]
    found = {}
    at = raw.find(fsid, SUPER + 4096)
    while at >= 0:
        start = at - 32
        address = int.from_bytes(raw[at + 16 : at + 24], "little")
        data = raw[start : start + node]
        if start % 4096 == 0 and data[:4] == (crc32c(data[32:]) ^ 0xFFFFFFFF).to_bytes(4, "little"):
            found.setdefault(address, []).append(start)
        at = raw.find(fsid, at + 1)
    return found, node


def resealed(raw, start, size):
    """A block whose checksum is right again."""
    raw[start : start + 4] = (crc32c(bytes(raw[start + 32 : start + size])) ^ 0xFFFFFFFF).to_bytes(4, "little")


def test_a_damaged_copy_of_a_node_costs_nothing(made):
    whole = everything(made)
    found, _ = nodes(made)
    mirrored = [places for places in found.values() if len(places) > 1]
    assert mirrored
    raw = bytearray(made)
    for places in mirrored:
        raw[min(places) + 200] ^= 0xFF
    assert everything(raw) == whole


def test_a_damaged_node_costs_what_is_below_it(made):
    raw = bytearray(made)
    found, _ = nodes(made)
    for places in found.values():
        for place in places:
            raw[place + 300] ^= 0xFF
    assert everything(raw) is None  # the chunk tree's too


def test_superblocks(made):
    raw = bytearray(made)
    raw[SUPER + 0x50] ^= 1
    contents, problems = everything(raw)
    assert contents == everything(made)[0]
    assert "a copy of it is used" in problems[0].error
    raw[(64 << 20) + 0x50] ^= 1
    with pytest.raises(FormatError, match="checksum"):
        open_btrfs(Disk("fs.img", bytes(raw)))


@pytest.mark.parametrize(
    ("bit", "name"), [(12, "zoned devices"), (13, "extent tree v2"), (14, "RAID stripe tree"), (20, "unknown features 0x100000")]
)
def test_features_that_are_not_known_are_named(made, bit, name):
    raw = bytearray(made)
    struct.pack_into("<Q", raw, SUPER + 0xBC, 1 << bit)
    resealed(raw, SUPER, 4096)
    with pytest.raises(UnsupportedFormat, match=name):
        open_btrfs(Disk("fs.img", bytes(raw)))


def test_devices_that_are_missing_are_told(made):
    raw = bytearray(made)
    struct.pack_into("<Q", raw, SUPER + 0x88, 3)
    resealed(raw, SUPER, 4096)
    assert "3 devices" in open_btrfs(Disk("fs.img", bytes(raw))).problems[0].error


@pytest.mark.parametrize("seed", range(40))
def test_any_field_of_any_node_may_lie(made, seed):
    """With checksums that are right, as an intruder would write them."""
    rng = random.Random(seed)
    raw = bytearray(made)
    found, node = nodes(made)
    for _ in range(rng.randrange(1, 5)):
        places = rng.choice(sorted(found.values()))
        at = rng.choice((rng.randrange(80, 101), rng.randrange(101, 400), rng.randrange(node - 3000, node)))
        value = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        for place in places:
            raw[place + at] = value
            resealed(raw, place, node)
    start = time.monotonic()
    everything(raw)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("seed", range(30))
def test_any_field_of_the_superblock_may_lie(made, seed):
    rng = random.Random(seed)
    raw = bytearray(made)
    for _ in range(rng.randrange(1, 4)):
        at = SUPER + rng.choice((rng.randrange(32, 0xCA), rng.randrange(0x32B, 0x3B0)))
        raw[at] = rng.choice((0, 0xFF, rng.randrange(256)))
    resealed(raw, SUPER, 4096)
    everything(raw)


@pytest.mark.parametrize("length", [SUPER, SUPER + 4096, 1 << 20, 23 << 20, 40 << 20, 100 << 20])
def test_a_filesystem_that_is_cut_short(made, length):
    everything(made[:length])


def test_extents_that_lie():
    for item in (b"", bytes(20), bytes(21), b"\xff" * 53, bytes(20) + b"\x01" + bytes(10)):
        try:
            parse_extent(0, item)
        except FormatError:
            continue
    with pytest.raises(FormatError):
        btrfs.dir_items(bytes(25) + b"\xff\xff\xff\xff\x00")
