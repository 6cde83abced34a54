"""Damage loses itself only, is told with its place, and hostile structures neither crash nor stall nor fill the memory."""

import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystem import lookup
from forensics.filesystems.open import identify, open_filesystem
from forensics.filesystems.xfs.mount import open_xfs
from parsers.crc32c import crc32c
from parsers.errors import FormatError, UnsupportedFormat
from parsers.xfs import CRC_AT, SUPERBLOCK
from support.disks import MIB
from support.kernel_views import fill, mounted, noise
from support.xfs_images import Image, log_place, make

MAGICS = (b"XFSB", b"XAGI", b"IAB3", b"BMA3", b"XDB3", b"XDD3", b"XSLM", b"XARM")
FILES = 600


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """/many with names in data blocks, /few with names in its inode, all empty files; made without root."""
    place = tmp_path_factory.mktemp("plain")
    few = "".join(f"  f{n} ---644 0 0 /dev/null\n" for n in range(5))
    many = "".join(f"  a-rather-long-name-so-that-blocks-fill-{n:05} ---644 0 0 /dev/null\n" for n in range(FILES))
    (place / "proto").write_text(f"/x\n0 0\nd--755 0 0\n few d--755 0 0\n{few} $\n many d--755 0 0\n{many} $\n$\n$\n")
    return make(place / "fs.img", "-p", place / "proto")


@pytest.fixture(scope="module", params=["clean", "dirty"])
def filled(request, tmp_path_factory):
    """A filesystem with everything in it, and (offset, 512 bytes) of its metadata or, where it is dirty, of its log."""
    place = tmp_path_factory.mktemp(request.param)
    path = made = make(place / "fs.img", "-b", "size=1024")
    with mounted(path, place / "m") as top:
        fill(top, noise())
        if request.param == "dirty":
            made = place / "cut.img"
            made.write_bytes(path.read_bytes())
    start, length = log_place(made)
    data = made.read_bytes()
    sectors = [(at, data[at : at + 512]) for at in range(0, len(data), 512) if any(data[at : at + 512])]
    if request.param == "dirty":
        return made, [(at, raw) for at, raw in sectors if start <= at < start + length]
    return made, [
        (at, raw) for at, raw in sectors if raw[:4] in MAGICS or raw[:2] == b"IN" or raw[8:10] in (b"\x3b\xee", b"\x3e\xbe")
    ]


def read_all(fs):
    """Ask everything; how many names there are."""
    tree = fs.tree(fs.root)
    list(fs.directories())
    numbers = list(dict.fromkeys(tree.inode.tolist()))
    for number in numbers[:150]:
        try:
            kind = fs.inode(number).type
            fs.xattrs(number)
            fs.extents(number)
            fs.read(number, 0, MIB)
            if kind == "d":
                fs.entries(number)
            if kind == "l":
                fs.target(number)
        except FormatError:
            continue
    fs.extents_of(numbers)
    return len(tree)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 32))
def test_any_damage_ends_in_an_error_or_a_problem(filled, seed):
    path, sectors = filled
    chance = random.Random(seed)
    changes = {}
    for _ in range(chance.choice((1, 1, 2, 8))):
        at, raw = chance.choice(sectors)
        bad = bytearray(raw)
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(0, 504)
            bad[place : place + 8] = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8), bad[place : place + 8]))
            bad[place] ^= 1 << chance.randrange(8)
        changes[at] = bytes(bad)
    began = time.monotonic()
    try:
        read_all(open_xfs(Image(path, changes)))
    except FormatError as error:
        assert str(error)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("size", [0, 100, 511, 512, 4096, 65536, 7 * MIB, 90 * MIB, 200 * MIB])
def test_a_cut_off_filesystem(plain, size):
    try:
        fs = open_xfs(Image(plain, size=size))
        read_all(fs)
    except FormatError:
        return
    assert any("behind the end" in problem.error for problem in fs.problems)


def group_size(path):
    """The length of an allocation group in bytes."""
    return struct.unpack_from(">I", path.read_bytes()[:512], 84)[0] * 4096


def superblock(path, **fields):
    """A superblock with other fields and a checksum that is right."""
    raw = bytearray(path.read_bytes()[:512])
    for name, (code, value) in fields.items():
        struct.pack_into(code, raw, SUPERBLOCK.offset_of(name), value)
    raw[CRC_AT : CRC_AT + 4] = bytes(4)
    raw[CRC_AT : CRC_AT + 4] = (crc32c(raw) ^ 0xFFFFFFFF).to_bytes(4, "little")
    return {0: bytes(raw)}


def test_features_that_are_not_known_are_named(plain):
    changes = superblock(plain, sb_features_incompat=(">I", 0x1 | 0x200 | 0x40000000))
    with pytest.raises(UnsupportedFormat, match="zoned, incompatible features 0x40000000"):
        open_xfs(Image(plain, changes))


@pytest.mark.parametrize(
    ("name", "code", "value"),
    [
        ("sb_blocksize", ">I", 5000), ("sb_inodesize", ">H", 100), ("sb_agblocks", ">I", 0),
        ("sb_agblklog", "B", 63), ("sb_agcount", ">I", 0), ("sb_dblocks", ">Q", 1 << 60), ("sb_dirblklog", "B", 200),
        ("sb_rootino", ">Q", 0), ("sb_sectsize", ">H", 0), ("sb_inopblog", "B", 9),
    ],
)  # fmt: skip
def test_superblocks_that_cannot_be(plain, name, code, value):
    damaged = superblock(plain, **{name: (code, value)})
    with pytest.raises(FormatError, match=name):
        open_xfs(Image(plain, damaged | {group * group_size(plain): bytes(512) for group in range(1, 4)}))
    fs = open_xfs(Image(plain, damaged))
    assert read_all(fs) > FILES
    assert [problem.what for problem in fs.problems] == ["superblock"]


@pytest.mark.parametrize("length", [4, 512, 4096])
def test_a_superblock_that_is_gone(plain, length):
    fs = open_filesystem(Image(plain, {0: bytes(length)}))
    assert fs.kind == "xfs"
    assert read_all(fs) == read_all(open_xfs(Image(plain)))
    assert any("the copy at byte" in problem.error for problem in fs.problems)


def test_no_copy_is_believed_where_another_filesystem_begins(plain):
    assert identify(Image(plain, {0: b"LUKS\xba\xbe\0\2" + bytes(4088)})) == "luks"


def test_a_wrong_checksum_is_told_and_what_it_covers_is_read(plain):
    fs = open_xfs(Image(plain))
    assert fs.problems == []
    whole = read_all(fs)
    many = lookup(fs, b"/many")
    block = next(iter(fs.extents(many))).offset
    spare = fs.source.read(block, fs.block_size).rindex(b"a-rather-long-name")
    at = block + spare + len("a-rather-long-name-so-that-blocks-fill-")
    inode = fs.tables.offset(lookup(fs, b"/few/f1"))
    mtime = fs.inode(lookup(fs, b"/few/f1")).mtime_ns
    bad = open_xfs(Image(plain, {143: b"\1", at: b"9", inode + 47: b"\7"}))
    assert read_all(bad) == whole
    assert bad.inode(lookup(bad, b"/few/f1")).mtime_ns != mtime
    told = {(problem.what, problem.offset) for problem in bad.problems if "checksum" in problem.error}
    assert told == {("superblock", 0), ("directory", block), ("inode", inode)}


def test_names_lead_to_inodes_whose_tree_is_lost(plain):
    whole = read_all(open_xfs(Image(plain)))
    fs = open_xfs(Image(plain, {group * group_size(plain) + 2 * 512: bytes(512) for group in range(4)}))
    assert read_all(fs) == whole
    assert {problem.where for problem in fs.problems} == {f"allocation group {group}" for group in range(4)}


def test_a_directory_in_itself_is_entered_once(plain):
    fs = open_xfs(Image(plain))
    few = lookup(fs, b"/few")
    looped = bytearray(fs.tables.raw(few))
    entry = looped.index(b"f0", 176)
    looped[entry + 2 : entry + 7] = b"\2" + struct.pack(">I", fs.root)  # its type and its inode
    bad = open_xfs(Image(plain, {fs.tables.offset(few): bytes(looped)}))
    assert read_all(bad) > FILES
    assert any("more than one name" in problem.error for problem in bad.problems)


def test_a_log_elsewhere_is_told(tmp_path):
    log = tmp_path / "log.img"
    with log.open("wb") as file:
        file.truncate(80 * MIB)
    fs = open_xfs(Image(make(tmp_path / "fs.img", "-l", f"logdev={log},size=64m")))
    assert fs.state == "journal not replayed"
    assert [problem.what for problem in fs.problems] == ["journal"]
    assert "another volume" in fs.problems[0].error


def test_a_log_of_garbage_is_told(plain):
    start, length = log_place(plain)
    fs = open_xfs(Image(plain, {start: random.Random(1).randbytes(length)}))
    assert fs.state != "clean"
    assert [problem.what for problem in fs.problems] == ["journal"]
    assert read_all(fs) > FILES


def test_directories_whose_names_are_lost_keep_their_place(plain, tmp_path):
    few = "".join(f"  d{n:03}-with-a-name-that-fills-block d--755 0 0\n   inside ---600 0 0 /dev/null\n  $\n" for n in range(150))
    (tmp_path / "proto").write_text(f"/x\n0 0\nd--755 0 0\n top d--755 0 0\n{few} $\n$\n$\n")
    path = make(tmp_path / "fs.img", "-p", tmp_path / "proto")
    fs = open_xfs(Image(path))
    top = lookup(fs, b"/top")
    names = {entry.name: entry.inode for entry in fs.entries(top)}
    block = list(fs.extents(top))[1]
    bad = open_xfs(Image(path, {block.offset: bytes(fs.block_size)}))
    told = {entry.name: entry.inode for entry in bad.entries(top)}
    assert set(told.values()) == set(names.values())
    lost = {name for name in told if name not in names}
    assert lost == {b"#%d" % told[name] for name in lost} != set()
    tree = bad.tree(bad.root)
    assert len(tree) == 302
    assert {problem.offset for problem in bad.problems} >= {block.offset}


def test_a_directory_whose_inode_is_lost_keeps_its_subdirectories(tmp_path):
    below = "  below d--700 3 4\n   kept ---600 5 6 /dev/null\n  $\n"
    (tmp_path / "proto").write_text(f"/x\n0 0\nd--755 0 0\n top d--755 0 0\n  gone ---644 0 0 /dev/null\n{below} $\n$\n$\n")
    path = make(tmp_path / "fs.img", "-p", tmp_path / "proto")
    fs = open_xfs(Image(path))
    top, below = lookup(fs, b"/top"), lookup(fs, b"/top/below")
    bad = open_xfs(Image(path, {fs.tables.offset(top): bytes(512)}))
    tree = bad.tree(bad.root)
    assert set(tree.names) == {b"", b"top", b"#%d" % below, b"kept"}
    assert bad.inode(top).type == "d"
    assert [entry.inode for entry in bad.entries(top)] == [below]
    assert any(problem.offset == fs.tables.offset(top) for problem in bad.problems)
