"""The filesystems that The Sleuth Kit reads for us, behind the protocol."""

import random
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_disk_image
from forensics.filesystem import NO_TIME, lookup
from forensics.filesystems.open import open_filesystem
from forensics.source import Buffer
from parsers.errors import CtrForensicsError, FormatError
from support.disks import MIB, Disk, put, run

BIG = random.Random(5).randbytes(5000)
CLUSTER = 512


def dos_time(day, clock):
    year, month, date = day
    hour, minute, second = clock
    return struct.pack("<HH", hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | date)


def fat_entry(name, attribute, cluster, size, when=((2024, 3, 31), (2, 30, 14))):
    clock, day = dos_time(*when)[:2], dos_time(*when)[2:]
    return struct.pack("<11sBBB2s2s2sH2s2sHI", name, attribute, 0, 0, clock, day, day, 0, clock, day, cluster, size)


def fat12():
    """A FAT12 floppy: A.TXT, a deleted file, and DIR with BIG.BIN of ten clusters, the last of which stand apart."""
    disk = bytearray(2880 * 512)
    put(disk, 0, b"\xeb\x3c\x90mkdosfs\0" + struct.pack("<HBHBHHBHHHII", 512, 1, 1, 2, 224, 2880, 0xF0, 9, 18, 2, 0, 0))
    put(disk, 36, b"\0\0\x29" + bytes.fromhex("78563412") + b"LABEL      FAT12   ")
    put(disk, 510, b"\x55\xaa")
    chain = {2: 0xFFF, 3: 0xFFF, **{n: n + 1 for n in range(4, 9)}, 9: 20, **{n: n + 1 for n in range(20, 23)}, 23: 0xFFF}
    fat = bytearray(9 * 512)
    put(fat, 0, b"\xf0\xff\xff")
    for cluster, following in chain.items():
        at, odd = cluster * 3 // 2, cluster % 2
        word = int.from_bytes(fat[at : at + 2], "little") | following << (4 if odd else 0)
        put(fat, at, word.to_bytes(2, "little"))
    put(disk, 512, fat)
    put(disk, 512 * 10, fat)
    root, data = 19 * 512, 33 * 512
    put(disk, root, fat_entry(b"LABEL      ", 8, 0, 0))
    put(disk, root + 32, fat_entry(b"A       TXT", 0x20, 2, 6))
    put(disk, root + 64, fat_entry(b"\xe5ONE    TXT", 0x20, 30, 6))
    put(disk, root + 96, fat_entry(b"DIR        ", 0x10, 3, 0))
    put(disk, data, b"hello\n")
    put(disk, data + CLUSTER, fat_entry(b".          ", 0x10, 3, 0) + fat_entry(b"..         ", 0x10, 0, 0))
    put(disk, data + CLUSTER + 64, fat_entry(b"BIG     BIN", 0x20, 4, len(BIG)))
    put(disk, data + 2 * CLUSTER, BIG[: 6 * CLUSTER])
    put(disk, data + 18 * CLUSTER, BIG[6 * CLUSTER :])
    return disk


@pytest.fixture
def fat():
    return open_filesystem(Disk("p1", bytes(fat12())))


def test_a_fat_filesystem(fat):
    assert (fat.kind, fat.label, fat.uuid, fat.state) == ("fat", "LABEL", "1234-5678", "clean")
    assert [(entry.name, entry.type) for entry in fat.entries(fat.root)] == [(b"A.TXT", "f"), (b"DIR", "d")]
    number = lookup(fat, b"/DIR/BIG.BIN")
    assert fat.read(number) == BIG
    assert fat.read(number, 3000, 100) == BIG[3000:3100]
    assert (fat.read(number, 5000, 10), fat.xattrs(number)) == (b"", {})
    content = b"".join(fat.source.read(extent.offset, extent.length) for extent in fat.extents(number))
    assert content[: len(BIG)] == BIG
    assert [extent.logical for extent in fat.extents(number)] == [0, 6 * CLUSTER]
    assert (lookup(fat, b"/NONE"), lookup(fat, b"/A.TXT/x")) == (None, None)
    assert fat.problems == []


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_times_without_a_zone_are_the_same_for_every_reader(monkeypatch, zone, request):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    request.addfinalizer(time.tzset)
    request.addfinalizer(monkeypatch.undo)
    fat = open_filesystem(Buffer("p1", bytes(fat12())))
    inode = fat.inode(lookup(fat, b"/A.TXT"))
    assert inode.mtime_ns == 1711852214 * 10**9  # 2024-03-31 02:30:14
    assert (inode.ctime_ns, inode.type, inode.size) == (None, "f", 6)


def test_a_tree_is_what_one_by_one_reading_gives(fat):
    tree = fat.tree(fat.root)
    assert tree.names == [b"", b"A.TXT", b"DIR", b"BIG.BIN"]
    assert tree.parent.tolist() == [-1, 0, 0, 2]
    for row, number in enumerate(tree.inode.tolist()):
        inode = fat.inode(number)
        told = (chr(tree.type[row]), tree.mode[row], tree.size[row], tree.mtime_ns[row])
        assert told == (inode.type, inode.mode, inode.size, NO_TIME if inode.mtime_ns is None else inode.mtime_ns)
    assert [number for number, _ in fat.directories()] == [fat.root, lookup(fat, b"/DIR")]
    assert np.all(tree.offset == -1)


def test_a_directory_that_is_its_own_child_ends():
    disk = fat12()
    put(disk, 34 * 512 + 96, fat_entry(b"AGAIN      ", 0x10, 3, 0))
    fat = open_filesystem(Buffer("p1", bytes(disk)))
    assert len(fat.tree(fat.root)) < 10
    assert len(list(fat.directories())) < 10


def test_an_inode_that_is_not_there(fat):
    for read in (fat.inode, fat.read, fat.extents, fat.target):
        with pytest.raises(FormatError):
            read(1 << 40)


def walk_all(fs):
    tree = fs.tree(fs.root)
    for number, kind in zip(tree.inode.tolist(), tree.type.tolist(), strict=True):
        try:
            fs.extents(number)
            if kind == ord("f"):
                fs.read(number, 0, MIB)
        except FormatError:
            continue


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from([0, 512, 19 * 512, 34 * 512]), st.integers(0, 127), st.integers(0, 255)), max_size=8),
    st.none() | st.integers(1, 60 * 512),
)
def test_any_damage_is_a_format_error_and_takes_no_time(changes, cut):
    disk = fat12()
    for part, offset, value in changes:
        disk[part + offset] = value
    start = time.monotonic()
    try:
        fs = open_filesystem(Buffer("p1", bytes(disk[:cut])))
        if fs is not None:
            walk_all(fs)
    except CtrForensicsError:
        return
    finally:
        assert time.monotonic() - start < 10


# -- as others make them --------------------------------------------------------------------------------------------------------


def test_fat32_of_mkfs_and_mtools(tmp_path):
    path = tmp_path / "efi.img"
    path.write_bytes(bytes(40 * MIB))
    run("mkfs.vfat", "-F", "32", "-n", "EFISYS", "-i", "CAFE0123", path)
    (tmp_path / "A long name äöü.txt").write_bytes(BIG)
    run("mmd", "-i", path, "::/EFI")
    run("mcopy", "-i", path, tmp_path / "A long name äöü.txt", "::/EFI/")
    with open_disk_image(path) as disk:
        fs = open_filesystem(disk)
        assert (fs.kind, fs.label, fs.uuid) == ("fat", "EFISYS", "CAFE-0123")
        assert [entry.name for entry in fs.entries(fs.root)] == [b"EFI"]
        assert fs.read(lookup(fs, "/EFI/A long name äöü.txt".encode())) == BIG


def test_iso9660_with_joliet(tmp_path):
    (tmp_path / "in" / "Folder").mkdir(parents=True)
    (tmp_path / "in" / "Folder" / "some file.bin").write_bytes(BIG)
    run("genisoimage", "-quiet", "-J", "-V", "CONFIG-2", "-o", tmp_path / "seed.iso", tmp_path / "in")
    with open_disk_image(tmp_path / "seed.iso") as disk:
        fs = open_filesystem(disk)
        assert (fs.kind, fs.label) == ("iso9660", "CONFIG-2")
        number = lookup(fs, b"/Folder/some file.bin")
        assert fs.read(number) == BIG
        assert [disk.read(extent.offset, len(BIG)) for extent in fs.extents(number)] == [BIG]


@pytest.mark.parametrize(("tool", "options", "kind"), [("mkntfs", ("-F", "-q"), "ntfs"), ("mkfs.exfat", (), "exfat")])
def test_empty_filesystems_of_other_systems(tmp_path, tool, options, kind):
    path = tmp_path / "data.img"
    path.write_bytes(bytes(16 * MIB))
    run(tool, *options, path)
    with open_disk_image(path) as disk:
        fs = open_filesystem(disk)
        assert (fs.kind, fs.entries(fs.root), len(fs.tree(fs.root))) == (kind, [], 1)
        assert fs.uuid
