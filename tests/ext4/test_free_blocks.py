"""Unallocated space, held against what dumpe2fs says of the same filesystem."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.ext4.mount import open_ext4
from forensics.recovery.files.unallocated import Unallocated, unallocated
from parsers.errors import FormatError
from support import ext4_images as lab
from support.disks import MIB, run

LAYOUTS = {
    "default": ((), 48 * MIB),
    "1k": (("-b", "1024"), 48 * MIB),
    "uninit-bg": (("-b", "1024", "-O", "^metadata_csum,uninit_bg", "-E", "lazy_itable_init=1"), 48 * MIB),
    "many-groups": (("-b", "1024", "-g", "1024"), 24 * MIB),
    "no-flex": (("-b", "1024", "-O", "^flex_bg"), 48 * MIB),
    "meta-bg": (("-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"), 48 * MIB),
    "sparse-super2": (("-b", "1024", "-O", "sparse_super2,^resize_inode"), 48 * MIB),
    "bigalloc": (("-b", "4096", "-O", "bigalloc", "-C", "16384"), 64 * MIB),
    "bigalloc-1k": (("-b", "1024", "-O", "bigalloc", "-C", "16384"), 512 * MIB),
    "32bit": (("-b", "1024", "-O", "^64bit,^metadata_csum"), 48 * MIB),
    "ext2": (("-b", "1024", "-O", "none"), 24 * MIB),
}


def told(path, unit):
    """The free blocks that dumpe2fs lists group by group, as a set of (first, last) merged."""
    text = run("dumpe2fs", path).split("\n\n", 1)[1]
    free = []
    for line in re.findall(r"^\s+Free blocks: (.*)$", text, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line):
            free.append((int(first), int(last or first) + unit - 1))  # of a cluster its first block is told
    merged = []
    for first, last in sorted(free):
        if merged and merged[-1][1] + 1 == first:
            merged[-1][1] = last
        else:
            merged.append([first, last])
    return [tuple(pair) for pair in merged]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_what_dumpe2fs_tells(layout, tmp_path):
    options, size = LAYOUTS[layout]
    path = lab.make(tmp_path / "fs.img", *options, size=size, kind="ext2" if layout == "ext2" else "ext4")
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    lab.debugfs(path, f"write {tmp_path / 'file'} a", "mkdir d", f"write {tmp_path / 'file'} d/b", "rm a")
    fs = open_ext4(lab.image(path))
    found = unallocated(fs)
    blocks = [(start // fs.block_size, end // fs.block_size - 1) for start, end in zip(found.starts, found.ends, strict=True)]
    expected = told(path, fs.superblock.cluster_size // fs.block_size)
    assert blocks == expected
    assert fs.problems == []
    assert found.size == sum(length for _, length in found)


def test_a_lost_bitmap_is_a_problem_and_nothing_is_free_there(tmp_path):
    path = lab.make(tmp_path / "fs.img", "-b", "1024", "-O", "^flex_bg", size=24 * MIB)
    fs = open_ext4(lab.image(path))
    fs.geometry.block_bitmaps[1] = -1
    fs.geometry.unwritten[:] = False
    found = unallocated(fs)
    assert found.free_bytes((8192 + 1) * 1024, 8192 * 1024) == 0
    assert [p.what for p in fs.problems] == ["block bitmap"]


RUNS = Unallocated(np.array([10, 50]), np.array([20, 60]))


@pytest.mark.parametrize(
    ("offset", "length", "free"),
    [(0, 10, 0), (0, 11, 1), (10, 10, 10), (5, 100, 20), (19, 1, 1), (20, 30, 0), (15, 40, 10), (60, 5, 0), (12, 3, 3)],
)
def test_bytes_of_a_range(offset, length, free):
    assert RUNS.free_bytes(offset, length) == free
    assert RUNS.is_free(offset, length) == (free == length)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Path(lab.make(tmp_path_factory.mktemp("free") / "fs.img", "-b", "1024", size=4 * MIB)).read_bytes()


@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(1024, 40 * 1024), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 4 * MIB),
)
def test_damage_costs_no_more_than_what_it_damaged(plain, flips, cut):
    data = bytearray(plain[: 4 * MIB - cut // 8])
    for at, value in flips:
        data[at] = value
    try:
        fs = open_ext4(lab.Image("x", bytes(data)))
    except FormatError:
        return
    found = unallocated(fs)
    assert (found.starts < found.ends).all()
    assert (found.starts[1:] > found.ends[:-1]).all()
    assert not len(found.ends) or found.ends[-1] <= fs.source.size
