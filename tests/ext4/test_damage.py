"""Damage loses itself only, is told with its place, and hostile structures neither crash nor stall nor fill the memory."""

import random
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from parsers.errors import EvidenceError, FormatError, UnsupportedFormat
from parsers.ext4_inode import INODE
from support.disks import MIB, run
from support.ext4_damage import BLOCK, RAW_LAYOUTS, entry_at, field_of, first_block_at, inode_at, number_of, opened, paths
from support.ext4_images import Image, debugfs, image, make


def test_the_image_is_sound(whole):
    fs = opened(whole)
    assert {b"/var/lib/store/a/diff/etc/conf", b"/pieces"} < paths(fs.tree(2))
    assert fs.problems == []


@pytest.mark.parametrize("damage", ["zeros", "random", "cut"])
def test_a_directory_block_loses_its_names_only(whole, damage):
    at = first_block_at(whole, b"/var/lib/store")
    data = bytearray(whole)
    kept = 40 if damage == "cut" else 0
    filling = random.Random(1).randbytes(BLOCK) if damage == "random" else bytes(BLOCK)
    data[at + kept : at + BLOCK] = filling[kept:]
    fs = opened(data)
    found = paths(fs.tree(2))
    assert {b"/many", b"/pieces", b"/var/lib/store"} < found
    assert b"/var/lib/store/c" not in found
    problem = fs.problems[0]
    assert problem.where == "/var/lib/store"
    assert at <= problem.offset < at + BLOCK
    # the layers still know which directory they stood in
    lost = [path for path in found if re.fullmatch(rb"/var/lib/store/#\d+", path)]
    assert len(lost) == (2 if damage == "cut" else 3)
    assert all(path + b"/diff/etc/conf" in found for path in lost)
    alone = opened(data)
    assert [e.name for e in alone.entries(number_of(whole, b"/var/lib/store"))] == sorted(
        path.rpartition(b"/")[2] for path in found if path.startswith(b"/var/lib/store/") and path.count(b"/") == 4
    )


def test_one_block_of_many_is_lost_alone(whole):
    blocks = opened(whole).extents(number_of(whole, b"/many"))
    at = blocks[0].offset + 3 * BLOCK
    data = bytearray(whole)
    data[at : at + BLOCK] = bytes(BLOCK)
    fs = opened(data)
    left = len(fs.entries(number_of(whole, b"/many")))
    assert 160 < left < 200
    assert [problem.offset for problem in fs.problems] == [at]


def test_the_root_directory_may_be_lost(whole):
    at = first_block_at(whole, b"/")
    data = bytearray(whole)
    data[at : at + BLOCK] = bytes(BLOCK)
    assert any(path.endswith(b"/lib/store/a/diff/etc/conf") for path in paths(opened(data).tree(2)))


def test_inodes_that_are_not_in_use(whole, tmp_path):
    path = tmp_path / "fs.img"
    path.write_bytes(whole)
    debugfs(path, "clri /var/lib/store/b", "sif /pieces links_count 0")
    fs = open_ext4(image(path))
    list(fs.directories())
    found = paths(fs.tree(2))
    assert b"/pieces" not in found
    assert {b"/var/lib/store/a/diff/big", b"/var/lib/store/c/diff/big"} < found
    (lost,) = [path for path in found if re.fullmatch(rb"/var/lib/store/b/#\d+", path)]
    assert lost + b"/etc/conf" in found
    assert {p.where for p in fs.problems} == {"/", "/var/lib/store/b"}
    assert fs.inode(number_of(whole, b"/var/lib/store/b")).mode == 0
    assert fs.inode(number_of(whole, b"/pieces")).nlink == 0


def test_the_kernel_leaves_old_bytes_behind_the_name_of_the_parent(whole):
    """It writes `..` and one zero: the byte behind stays as it was when the block held something else."""
    data = bytearray(whole)
    block = first_block_at(whole, b"/var/lib/store/a")
    assert data[block + 20 : block + 24] == b"..\0\0"
    data[block + 23] = 0x41
    at = first_block_at(whole, b"/var/lib/store")
    data[at : at + BLOCK] = bytes(BLOCK)
    found = paths(opened(data).tree(2))
    assert sum(path.endswith(b"/diff/etc/conf") for path in found) == 3


@pytest.mark.parametrize("filling", [bytes(256), random.Random(4).randbytes(256)], ids=["zeros", "noise"])
@pytest.mark.parametrize("path", [b"/", b"/var", b"/var/lib"])
def test_the_inode_of_a_directory_above_all_may_be_lost(whole, path, filling):
    at = inode_at(whole, path)
    data = bytearray(whole)
    data[at : at + 256] = filling
    fs = opened(data)
    fs.find(2, b"var")  # the first look may be at anything
    assert any(path.endswith(b"/a/diff/etc/conf") for path in paths(fs.tree(2)))
    assert at in {problem.offset for problem in fs.problems}


def test_a_block_of_inodes(whole):
    at = inode_at(whole, b"/var/lib/store/b") // BLOCK * BLOCK
    for filling in (bytes(BLOCK), random.Random(3).randbytes(BLOCK)):
        data = bytearray(whole)
        data[at : at + BLOCK] = filling
        fs = opened(data)
        assert b"/many" in paths(fs.tree(2))
        assert fs.problems


@pytest.mark.parametrize("name", [b"with/slash", b"with\0null!", b".", b".."])
def test_names_that_no_file_has(whole, name):
    data = bytearray(whole)
    at = entry_at(whole, b"/many", b"a-rather-long-name-so-that-blocks-fill-0003")
    data[at + 6] = len(name)
    data[at + 8 : at + 8 + len(name)] = name
    fs = opened(data)
    assert len(fs.entries(number_of(whole, b"/many"))) == 199
    assert fs.problems[0].offset == at
    assert all(b"/" not in n and b"\0" not in n and n not in (b".", b"..") for n in fs.tree(2).names)


def test_an_entry_beyond_all_inodes(whole):
    data = bytearray(whole)
    at = entry_at(whole, b"/many", b"a-rather-long-name-so-that-blocks-fill-0003")
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    fs = opened(data)
    assert b"/pieces" in paths(fs.tree(2))
    assert fs.problems[0].offset == at


def test_a_directory_below_itself(whole):
    """Two names for one directory, one of them below it: entered once, told, and never a loop."""
    data = bytearray(whole)
    at = entry_at(whole, b"/var/lib/store/a/diff", b"etc")
    data[at : at + 4] = number_of(whole, b"/var").to_bytes(4, "little")
    for fs in (opened(data), opened(data)):
        tree = fs.tree(2)
        assert len(tree) < 400
        assert any("more than one name" in problem.error for problem in fs.problems)
        list(fs.directories())


def test_directories_linked_twice_do_not_multiply(tmp_path):
    """Forty levels of two names each for the next directory: a trillion paths, forty directories."""
    path = make(tmp_path / "fs.img", "-b", "1024", size=8 * MIB)
    commands, here = [], ""
    for _ in range(40):
        commands += [f"mkdir {here}/d", f"ln {here}/d {here}/e"]
        here += "/d"
    debugfs(path, *commands)
    fs = open_ext4(image(path))
    assert len(fs.tree(2)) == 1 + 80 + 1
    assert len(list(fs.directories())) == 1 + 40 + 1


def test_a_size_that_costs_nothing(whole):
    data = field_of(whole, b"/pieces", "i_size_high", 1 << 28)
    tracemalloc.start()
    fs = opened(data)
    number = number_of(whole, b"/pieces")
    assert fs.inode(number).size > 1 << 59
    assert len(fs.extents(number)) == 20
    assert fs.read(number, 1 << 50, 10) == bytes(10)
    with pytest.raises(FormatError):
        fs.read(number)
    fs.tree(2)
    assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    tracemalloc.stop()


def test_a_negative_size_is_no_file(whole):
    data = field_of(whole, b"/pieces", "i_size_high", 0xFFFFFFFF)
    fs = opened(data)
    assert b"/pieces" not in paths(fs.tree(2))
    assert fs.problems


def test_a_directory_that_claims_a_size(whole):
    for size in (0xFFFFFC00, 0, 77):
        fs = opened(field_of(whole, b"/many", "i_size_lo", size))
        assert len(fs.entries(number_of(whole, b"/many"))) == 200
        assert fs.problems


def test_an_encrypted_directory_is_named(whole):
    data = field_of(whole, b"/var/lib/store/b", "i_flags", 0x80800)
    fs = opened(data)
    found = paths(fs.tree(2))
    assert b"/var/lib/store/b" in found
    assert not any(path.startswith(b"/var/lib/store/b/") for path in found)
    list(fs.directories())
    assert any("encrypted" in problem.error for problem in fs.problems)
    assert not any(b"#" in name for name in fs.tree(2).names)


def test_an_encrypted_file_is_not_read(whole):
    fs = opened(field_of(whole, b"/pieces", "i_flags", 0x80800))
    for read in (fs.read, fs.extents):
        with pytest.raises(UnsupportedFormat, match="encrypted"):
            read(number_of(whole, b"/pieces"))
    assert number_of(whole, b"/pieces") not in fs.extents_of([number_of(whole, b"/pieces")])


class Failing(Image):
    """A device with sectors that cannot be read."""

    bad = range(0)

    def read(self, offset, size):
        if offset < self.bad.stop and offset + size > self.bad.start:
            raise EvidenceError(f"cannot be read at byte {self.bad.start}")
        return super().read(offset, size)


def test_a_failing_device_loses_what_it_fails_in(whole):
    source = Failing("fs", whole)
    fs = open_ext4(source)
    at = first_block_at(whole, b"/var/lib/store")
    Failing.bad = range(at // 4096 * 4096, at // 4096 * 4096 + 4096)
    try:
        found = paths(fs.tree(2))
        assert b"/many" in found
        assert b"/var/lib/store/a" not in found
        with pytest.raises((FormatError, EvidenceError)):
            fs.read(number_of(whole, b"/var/lib/store"))
    finally:
        Failing.bad = range(0)


def everything(data):
    """Ask for all that can be asked, of what the image holds and of what it does not."""
    fs = opened(data)
    numbers = {0, 2, 5, 11, 10**9}
    for _, children in fs.directories():
        numbers.update(number for _, number in children)
    try:
        tree = fs.tree(fs.root)
        numbers.update(tree.inode.tolist())
        assert all(int(parent) < row for row, parent in enumerate(tree.parent))
    except FormatError as error:
        assert str(error)
    for number in sorted(numbers):
        for ask in (
            fs.inode,
            fs.entries,
            fs.xattrs,
            fs.target,
            fs.extents,
            lambda n: fs.read(n, 0, MIB),
            lambda n: fs.find(n, b"a"),
        ):
            try:
                ask(number)
            except FormatError as error:
                assert str(error)
    fs.extents_of(sorted(numbers))


@pytest.fixture(scope="module", params=["plain", "inline", "indirect", "meta-bg"])
def victim(request, directory, tmp_path_factory):
    options = {
        "plain": ("-b", "1024"), "inline": ("-b", "1024", "-O", "inline_data"), "indirect": RAW_LAYOUTS["indirect"],
        "meta-bg": ("-b", "1024", "-O", "meta_bg,^resize_inode,ea_inode"),
    }[request.param]  # fmt: skip
    path = make(tmp_path_factory.mktemp("victim") / "fs.img", *options, "-d", str(directory), size=4 * MIB)
    run("debugfs", "-w", "-R", "ea_set /many user.big " + "x" * 300, path)
    data = path.read_bytes()
    return data, [at for at in range(0, len(data), BLOCK) if any(data[at : at + BLOCK])]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False), st.sampled_from(["bits", "block", "zeros", "bytes", "cut", "swap"]))
def test_any_damage(victim, noise, how):
    whole, used = victim
    data = bytearray(whole)
    block = noise.choice(used)
    if how == "bits":
        for _ in range(noise.choice((1, 3, 30))):
            data[noise.choice(used) + noise.randrange(BLOCK)] ^= 1 << noise.randrange(8)
    elif how == "block":
        data[block : block + BLOCK] = noise.randbytes(BLOCK)
    elif how == "zeros":
        data[block : block + BLOCK] = bytes(BLOCK)
    elif how == "bytes":
        for _ in range(200):
            data[noise.choice(used) + noise.randrange(BLOCK)] = noise.randrange(256)
    elif how == "cut":
        del data[noise.randrange(len(data)) :]
    else:
        for _ in range(10):
            a, b = noise.choice(used), noise.choice(used)
            data[a : a + BLOCK], data[b : b + BLOCK] = data[b : b + BLOCK], data[a : a + BLOCK]
    start = time.monotonic()
    try:
        everything(data)
    except FormatError as error:
        assert str(error)
    assert time.monotonic() - start < 20


def test_directories_that_claim_the_whole_disk(tmp_path):
    """Each of a hundred directories claims the same six thousand blocks: they are read once, not a hundred times."""
    path = make(tmp_path / "fs.img", "-b", "1024", size=8 * MIB)
    debugfs(path, *(f"mkdir /d{number}" for number in range(100)))
    whole = path.read_bytes()
    data = bytearray(whole)
    extent = (0).to_bytes(4, "little") + (6000).to_bytes(2, "little") + bytes(2) + (1500).to_bytes(4, "little")
    tables = Ext4(Image("fs", whole)).tables
    for entry in opened(whole).entries(2):
        if entry.name != b"lost+found":
            at = tables.offset(entry.inode)
            data[at + INODE.offset_of("i_block") + 12 : at + INODE.offset_of("i_block") + 24] = extent
            data[at + INODE.offset_of("i_size_lo") : at + INODE.offset_of("i_size_lo") + 4] = (6000 * BLOCK).to_bytes(4, "little")
    read = 0

    class Counting(Image):
        def read(self, offset, size):
            nonlocal read
            read += size
            return super().read(offset, size)

    fs = open_ext4(Counting("fs", bytes(data)))
    list(fs.directories())
    assert read < 16 * MIB
    assert any("belong to others" in problem.error for problem in fs.problems)


@pytest.mark.parametrize("options", [("-O", "sparse_super2"), ("-O", "meta_bg,^resize_inode"), ("-O", "^metadata_csum,^64bit")])
def test_descriptors_without_a_backup(options, tmp_path):
    path = make(tmp_path / "fs.img", "-b", "1024", *options, size=4 * MIB)
    data = bytearray(path.read_bytes())
    data[2048:3072] = bytes(BLOCK)
    fs = opened(data)
    with pytest.raises(FormatError):
        fs.tree(2)
    assert list(fs.directories()) == []
    assert {problem.what for problem in fs.problems} == {"block group descriptor", "directory"}
