"""Unallocated space of XFS, held against what xfs_db says of the same filesystem."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.xfs.mount import open_xfs
from forensics.recovery.files.unallocated import unallocated
from support import xfs_images as lab
from support.disks import run

LAYOUTS = {"v5": (), "many-groups": ("-d", "agcount=3"), "v4": ("-m", "crc=0")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_what_xfs_db_tells(layout, tmp_path):
    path = lab.make(tmp_path / "fs.img", *LAYOUTS[layout])
    fs = open_xfs(lab.Image(path))
    s = fs.superblock
    text = run("xfs_db", "-r", "-c", "freesp -d", path)
    told = sorted((int(group) * s.ag_blocks + int(first), int(count)) for group, first, count in
                  re.findall(r"^\s+(\d+)\s+(\d+)\s+(\d+)\s*$", text.split("from")[0], re.MULTILINE))  # fmt: skip
    merged = []
    for first, count in told:
        if merged and sum(merged[-1]) == first:
            merged[-1][1] += count
        else:
            merged.append([first, count])
    found = unallocated(fs)
    kept = 4 * s.ag_count  # xfs_db counts the four blocks that a fresh allocation group keeps for its own trees
    assert found.size // s.block_size == sum(count for _, count in merged) - kept
    for offset, length in found:
        block, blocks = offset // s.block_size, length // s.block_size
        assert any(first <= block and block + blocks <= first + count for first, count in merged)
    assert fs.problems == []


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return lab.make(tmp_path_factory.mktemp("free") / "fs.img")


@settings(max_examples=80, deadline=None)
@given(changes=st.dictionaries(st.integers(512, 8 * 4096), st.binary(min_size=1, max_size=8), min_size=1, max_size=8))
def test_damage_is_bounded(plain, changes):
    fs = open_xfs(lab.Image(plain, changes))
    found = unallocated(fs)
    assert (found.starts < found.ends).all()
    assert (found.starts[1:] > found.ends[:-1]).all()
    assert not len(found.ends) or found.ends[-1] <= fs.superblock.blocks * fs.block_size
