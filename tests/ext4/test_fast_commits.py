"""Fast commits written record by record; names, links and contents after replay are held against e2fsck's replay."""

import os
import struct

import pytest

from forensics.filesystem import lookup
from forensics.filesystems.ext4.fast_commit import replace
from forensics.filesystems.ext4.journal import PARTLY, REPLAYED, replay
from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from parsers.ext4_inode import Run
from support import ext4_images as lab

ADD_RANGE, DEL_RANGE, CREAT, LINK, UNLINK, INODE = 1, 2, 3, 4, 5, 6
SIZE = 1024
EXTENTS = 0x80000
FREE = 14_000  # a block that nothing uses


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A filesystem with a few files."""
    where = tmp_path_factory.mktemp("fast")
    files = where / "files"
    (files / "dir" / "old").mkdir(parents=True)
    for name in ("a", "b", "c", "dir/d"):
        (files / name).write_bytes(b"".join(bytes([65 + n]) * SIZE for n in range(12)))
    os.link(files / "b", files / "dir" / "b2")
    made = lab.make(where / "fs.img", "-b", "1024", "-J", "size=2", "-O", "fast_commit", "-N", "512", "-d", files)
    return made.read_bytes()


@pytest.fixture
def writer(blank, tmp_path):
    path = tmp_path / "fs.img"
    path.write_bytes(blank)
    writer = lab.JournalWriter(path, incompat=lab.CSUM_V3 | lab.FAST_COMMIT)
    writer.fs = Ext4(lab.image(path))
    writer.transaction({15_000: b"x" * SIZE})
    return writer


def number(writer, path):
    return lookup(writer.fs, path)


def raw(writer, path, **fields):
    """A file's inode as it is, with some fields changed."""
    inode = bytearray(writer.fs.tables.raw(number(writer, path))[:160])
    places = {"size": (4, "<I"), "links": (26, "<H"), "mode": (0, "<H"), "mtime": (16, "<I"), "generation": (100, "<I")}
    for name, value in fields.items():
        struct.pack_into(places[name][1], inode, places[name][0], value)
    return bytes(inode)


def inode(at, content):
    return INODE, struct.pack("<I", at) + content


def dentry(tag, parent, at, name):
    return tag, struct.pack("<II", parent, at) + name


def add(at, logical, count, physical, unwritten=False):
    return ADD_RANGE, struct.pack("<IIHHI", at, logical, count + (32768 if unwritten else 0), physical >> 32, physical)


def delete(at, logical, count):
    return DEL_RANGE, struct.pack("<III", at, logical, count)


def view(fs):
    """Every name: type, size, links of files, times of files, content."""
    tree = fs.tree(fs.root)
    seen = {}
    paths = [b""]
    for row in range(1, len(tree)):
        paths.append(paths[tree.parent[row]] + b"/" + tree.names[row])
        at = int(tree.inode[row])
        if chr(tree.type[row]) == "f":
            seen[paths[row]] = ("f", int(tree.nlink[row]), int(tree.mtime_ns[row]), fs.read(at))
        else:
            seen[paths[row]] = (chr(tree.type[row]),)
    return seen


def check(writer, state=REPLAYED):
    """Close the log, and hold what is seen against what e2fsck leaves."""
    path = writer.close()
    fs = open_ext4(lab.image(path))
    assert fs.state == state, fs.problems
    assert view(fs) == view(Ext4(lab.image(lab.after_e2fsck(path))))
    return fs


def test_names_come_go_and_change(writer):
    a, b, c = (number(writer, name) for name in (b"a", b"b", b"c"))
    directory = number(writer, b"dir")
    writer.fast_commit(
        [
            dentry(LINK, directory, a, b"moved"),
            dentry(UNLINK, 2, a, b"a"),
            inode(a, raw(writer, b"a", mtime=1_600_000_000)),
            dentry(UNLINK, 2, b, b"b"),
            inode(b, raw(writer, b"b", links=1)),
            dentry(LINK, 2, c, b"another \xff\n"),
            inode(c, raw(writer, b"c", links=2)),
            dentry(UNLINK, directory, number(writer, b"dir/d"), b"d"),
        ]
    )
    seen = view(check(writer))
    assert seen[b"/dir/moved"][:3] == ("f", 1, 1_600_000_000 * 10**9)
    assert {b"/a", b"/b", b"/dir/d"}.isdisjoint(seen)
    assert seen[b"/another \xff\n"][1] == 2


def test_blocks_come_go_and_move(writer):
    a, b, c = (number(writer, name) for name in (b"a", b"b", b"c"))
    for block in range(6):
        writer.data[(FREE + block) * SIZE :][:SIZE] = bytes(SIZE)
        at = (FREE + block) * SIZE
        writer.data[at : at + SIZE] = bytes([97 + block]) * SIZE
    after = writer.fast_commit(
        [
            add(a, 12, 2, FREE),
            inode(a, raw(writer, b"a", size=13 * SIZE + 100)),
            delete(b, 3, 4),
            inode(b, raw(writer, b"b")),
            add(c, 5, 1, FREE + 3),
            delete(c, 8, 2**31 - 1),
            inode(c, raw(writer, b"c", size=7 * SIZE + 5)),
        ]
    )
    writer.fast_commit(
        [add(b, 4, 1, FREE + 4), add(b, 14, 2, FREE + 5, True), inode(b, raw(writer, b"b", size=16 * SIZE))], after, False
    )
    fs = check(writer)
    assert fs.read(number(writer, b"a"))[12 * SIZE :] == b"a" * SIZE + b"b" * 100
    assert fs.read(number(writer, b"b"))[2 * SIZE : 6 * SIZE] == b"C" * SIZE + bytes(SIZE) + b"e" * SIZE + bytes(SIZE)
    assert fs.read(number(writer, b"b"))[12 * SIZE :] == bytes(4 * SIZE)
    assert fs.read(number(writer, b"c"))[4 * SIZE :] == b"E" * SIZE + b"d" * SIZE + b"G" * SIZE + b"H" * 5


def test_a_new_file(writer):
    new = 400
    writer.data[FREE * SIZE : FREE * SIZE + 5] = b"hello"
    made = inode(new, raw(writer, b"a", size=5, generation=8))
    writer.fast_commit([made, add(new, 0, 1, FREE), dentry(CREAT, number(writer, b"dir"), new, b"file"), made])
    fs = check(writer)
    assert fs.read(lookup(fs, b"dir/file")) == b"hello"
    assert fs.inode(new).generation == 8
    place = fs.inode(new).offset
    assert bytes(writer.data[place : place + 40]) == fs.tables.raw(new)[:40]


def test_a_new_directory(writer):
    """Not held against e2fsck 1.47.0, which makes no directories; its one link is what the kernel leaves."""
    folder, file = 401, 402
    writer.fast_commit(
        [
            inode(folder, raw(writer, b"dir", generation=7)),
            dentry(CREAT, 2, folder, b"folder"),
            inode(file, raw(writer, b"a", size=0)),
            dentry(CREAT, folder, file, b"file"),
            dentry(LINK, folder, number(writer, b"c"), b"c"),
        ]
    )
    fs = open_ext4(lab.image(writer.close()))
    assert (fs.state, fs.problems) == (REPLAYED, [])
    assert [entry.name for entry in fs.entries(folder)] == [b"c", b"file"]
    assert (fs.inode(folder).type, fs.inode(folder).nlink) == ("d", 1)
    assert fs.read(lookup(fs, b"folder/c")) == writer.fs.read(number(writer, b"c"))
    assert fs.problems == []


def test_a_number_that_is_used_again(writer):
    a = number(writer, b"a")
    writer.data[FREE * SIZE : FREE * SIZE + 5] = b"fresh"
    writer.fast_commit(
        [
            dentry(UNLINK, 2, a, b"a"),
            inode(a, raw(writer, b"b", size=2 * SIZE, links=1, generation=99)),
            add(a, 0, 1, FREE),
            dentry(CREAT, 2, a, b"again"),
        ]
    )
    fs = open_ext4(lab.image(writer.close()))
    assert fs.read(lookup(fs, b"again")) == (b"fresh").ljust(2 * SIZE, b"\0")
    assert lookup(fs, b"a") is None


def test_commits_over_several_blocks_and_one_that_was_cut_off(writer):
    c = number(writer, b"c")
    many = [
        record for n in range(40) for record in (dentry(LINK, 2, c, b"name-%03d" % n), inode(c, raw(writer, b"c", links=2 + n)))
    ]
    after = writer.fast_commit(many)
    assert after > 5
    after = writer.fast_commit([dentry(UNLINK, 2, c, b"c"), inode(c, raw(writer, b"c", links=40))], after, False)
    writer.fast_commit([dentry(UNLINK, 2, c, b"name-001")], after, False)
    writer.journal(writer.end + 1 + after)[6] ^= 1
    fs = check(writer)
    assert lookup(fs, b"c") is None
    assert lookup(fs, b"name-001") == c
    assert fs.inode(c).nlink == 40


@pytest.mark.parametrize("transaction", [1, 3])
def test_fast_commits_onto_another_transaction_are_old(writer, transaction):
    writer.fast_commit([dentry(UNLINK, 2, number(writer, b"a"), b"a")], transaction=transaction)
    assert lookup(check(writer), b"a") is not None


@pytest.mark.parametrize(("at", "value"), [(4, b"\1"), (30, b"\xff"), (14, b"\xff\xff")])
def test_a_first_commit_that_the_kernel_refuses(writer, at, value):
    """The kernel does not mount then; the transactions are replayed, and what happened is told."""
    writer.fast_commit([dentry(UNLINK, 2, number(writer, b"a"), b"a")])
    writer.journal(writer.end + 1)[at : at + len(value)] = value
    done = replay(Ext4(lab.image(writer.close())))
    assert (done.state, done.transactions, done.fast_commits) == (PARTLY, 1, 0)
    assert done.problems[0].what == "fast commits"


def test_a_new_directory_with_the_number_of_a_removed_one(writer):
    """The kernel's replay leaves the old directory's blocks, fails on the new one, and leaves its name out."""
    old = number(writer, b"dir/old")
    writer.fast_commit(
        [
            dentry(UNLINK, number(writer, b"dir"), old, b"old"),
            inode(old, raw(writer, b"dir/old", generation=3)),
            dentry(CREAT, 2, old, b"new"),
        ]
    )
    fs = open_ext4(lab.image(writer.close()))
    assert (fs.state, lookup(fs, b"new"), lookup(fs, b"dir/old")) == (PARTLY, None, None)
    assert fs.problems[-1].where == f"inode {old}"


def test_records_about_nothing_change_nothing(writer):
    a = number(writer, b"a")
    before = view(writer.fs)
    writer.fast_commit(
        [
            dentry(UNLINK, 2, a, b"no such name"),
            dentry(UNLINK, 2, 450, b"a"),
            dentry(UNLINK, 450, a, b"a"),
            dentry(LINK, 2, a, b"b"),
            dentry(LINK, 2, 0, b"zero"),
            dentry(LINK, 2, 10**9, b"far"),
            add(450, 0, 1, FREE),
            delete(10**9, 0, 1),
            inode(10**9, raw(writer, b"a")),
            add(a, 0, 1, 10**9),
            dentry(CREAT, 2, 451, b"gone"),
        ]
    )
    fs = open_ext4(lab.image(writer.close()))
    assert view(fs) == before
    assert {problem.where for problem in fs.problems} == {f"inode {a}", "inode 451", f"inode {10**9}"}


@pytest.mark.parametrize(
    ("first", "end", "left"),
    [
        (0, 5, [(20, 5, 900), (30, 2, 500)]),
        (0, 22, [(22, 3, 902), (30, 2, 500)]),
        (21, 23, [(20, 1, 900), (23, 2, 903), (30, 2, 500)]),
        (23, 31, [(20, 3, 900), (31, 1, 501)]),
        (25, 30, [(20, 5, 900), (30, 2, 500)]),
        (0, 1 << 32, []),
    ],
)
def test_runs_are_cut(first, end, left):
    runs = [Run(20, 5, 900, False), Run(30, 2, 500, False)]
    replace(runs, first, end, [])
    assert [run[:3] for run in runs] == left
    replace(runs, first, end, [Run(first, end - first, 7, True)])
    covered = sorted([*left, (first, end - first, 7)])
    assert [run[:3] for run in runs] == covered


def test_a_file_that_outgrew_its_inode(tmp_path):
    """Its blocks are recorded before the inode that has them; Linux 6.18 crashes on that, e2fsck 1.47.0 gives up."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "small").write_bytes(b"\x0a\xf3inline")
    made = ("-b", "1024", "-J", "size=2", "-O", "fast_commit,inline_data", "-I", "256", "-d", tmp_path / "files")
    path = lab.make(tmp_path / "fs.img", *made)
    writer = lab.JournalWriter(path, incompat=lab.CSUM_V3 | lab.FAST_COMMIT)
    writer.fs = Ext4(lab.image(path))
    writer.transaction({15_000: b"x" * SIZE})
    writer.data[FREE * SIZE : (FREE + 2) * SIZE] = b"grown" * 409 + b"end"
    small = number(writer, b"small")
    grown = bytearray(raw(writer, b"small", size=2 * SIZE))
    struct.pack_into("<I", grown, 32, EXTENTS)
    writer.fast_commit([add(small, 0, 2, FREE), inode(small, bytes(grown))])
    fs = open_ext4(lab.image(writer.close()))
    assert (fs.state, fs.problems) == (REPLAYED, [])
    assert fs.read(small) == b"grown" * 409 + b"end"
