"""Extent trees and chunks that lie, with right checksums: what is told to be free lies on the disk, or a problem tells."""

import random
import struct
import time

import pytest

from forensics.filesystems.btrfs.free import free_space
from forensics.filesystems.btrfs.reader import open_btrfs
from parsers import btrfs
from parsers.btrfs_extents import EXTENT_ITEM
from parsers.errors import CtrForensicsError
from support.disks import run
from support.xfs_images import Image

SUPER, HEAD, ITEM, POINTER = 64 << 10, btrfs.node_header.size, btrfs.leaf_item.size, btrfs.key_pointer.size
CHUNKS, EXTENTS = 3, btrfs.EXTENT_TREE
U64 = (1 << 64) - 1
VALUES = (
    0, 1, 4096, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 61, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, (1 << 63) - 1, 1 << 63, U64,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small filesystem, its nodes by tree (address, level, places), and what is free in it."""
    place = tmp_path_factory.mktemp("free")
    (place / "root").mkdir()
    for number in range(300):
        (place / "root" / str(number)).write_bytes(random.Random(number).randbytes(3000 + number * 100))
    path = place / "fs.img"
    with path.open("wb") as file:
        file.truncate(128 << 20)
    run("mkfs.btrfs", "-q", "-n", "4096", "-r", place / "root", path)
    fs = open_btrfs(Image(path))
    yield path, nodes(fs.reader), free(fs)
    path.unlink()


def nodes(reader):
    found = {CHUNKS: [], EXTENTS: [], 0: []}
    for chunk in reader.logical.chunks:
        for address in range(chunk.logical, chunk.logical + chunk.length, 4096) if chunk.type & 6 else ():
            head = btrfs.node_header.fields(reader.logical.read(address, HEAD))
            if head["fsid"] == reader.superblock.fsid and head["bytenr"] == address:
                each = address, head["level"], [place for ((_, place),) in reader.logical.places(address)[0]]
                for tree in {0, head["owner"]} & found.keys():
                    found[tree].append(each)
    return found


def free(fs):
    return {
        (source.name, *run) for source, starts, ends in free_space(fs) for run in zip(starts.tolist(), ends.tolist(), strict=True)
    }


def sealed(block):
    block[:4] = btrfs.checksums(0, bytes(block[32:]), len(block) - 32)
    return bytes(block)


def lies(rng, path, known):
    """Some blocks with other values in them, by their places."""
    changes = {}
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if rng.random() < 0.1:
            places, at, width = [SUPER], btrfs.SYS_CHUNK_ARRAY + rng.randrange(200), rng.choice((1, 8))
            block = bytearray(changes.get(SUPER) or Image(path).read(SUPER, 4096))
        else:
            _, level, places = rng.choice(known[rng.choice((EXTENTS, EXTENTS, CHUNKS, 0))])
            block = bytearray(changes.get(places[0]) or Image(path).read(places[0], 4096))
            row = HEAD + rng.randrange(min(int.from_bytes(block[96:100], "little") or 1, 100)) * (POINTER if level else ITEM)
            width, at = rng.choice(((8, row), (1, row + 8), (8, row + 9), (8, row + 17), (8, rng.randrange(80, HEAD))))
            if not level and rng.random() < 0.5:
                (offset,) = struct.unpack_from("<I", block, min(row + 17, 4000))
                at = HEAD + offset + rng.choice((0, 8, 16, 24, 40, 44, 48, 56, 64, 72))
        at = min(at, len(block) - 8)
        value = rng.choice((*VALUES, rng.randrange(1 << 64), rng.choice(known[0])[0], rng.randrange(128 << 20)))
        block[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        changes |= dict.fromkeys(places, sealed(block))
    return changes


@pytest.mark.parametrize("batch", range(2))
def test_any_field_may_lie(made, batch):
    path, known, _ = made
    opened = 0
    for seed in range(batch * 250, batch * 250 + 250):
        start = time.monotonic()
        try:
            fs = open_btrfs(Image(path, lies(random.Random(seed), path, known)))
        except CtrForensicsError:
            continue
        for source, starts, ends in free_space(fs):
            assert (starts >= 0).all(), seed
            assert (starts < ends).all(), seed
            assert (ends <= max(source.size, fs.reader.logical.size)).all(), seed
            assert (ends[:-1] <= starts[1:]).all(), seed
        assert all("\n" not in problem.error for problem in fs.problems), seed
        assert time.monotonic() - start < 10, seed
        opened += 1
    assert opened > 100


def changed(path, node, *changes):
    _, _, places = node
    block = bytearray(Image(path).read(places[0], 4096))
    for at, form, value in changes:
        struct.pack_into(form, block, at, value)
    return Image(path, dict.fromkeys(places, sealed(block)))


def the_root(known):
    return next(each for each in known[EXTENTS] if each[1])


def is_less(fs, before):
    """That nothing is free that was not; what is told of the rest."""
    after = free(fs)
    assert all(any(low <= start and end <= high for _, low, high in before) for _, start, end in after)
    assert sum(end - start for _, start, end in after) <= sum(end - start for _, start, end in before)
    return [problem.error for problem in fs.problems]


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [(96, "<I", 0), (HEAD + POINTER, "<Q", U64), (HEAD + 2 * POINTER, "<Q", 0), (HEAD + POINTER + 17, "<Q", 1 << 63)],
)
def test_a_node_above_the_leaves_that_lies(made, at, form, value):
    path, known, before = made
    (told,) = is_less(open_btrfs(changed(path, the_root(known), (at, form, value))), before)
    assert "is not known" in told


def test_the_item_of_an_extent_that_is_in_a_lost_leaf_while_what_refers_to_it_is_not(made):
    path, known, before = made
    root = the_root(known)
    block = Image(path).read(root[2][0], 4096)
    keys = [struct.unpack_from("<QBQQ", block, HEAD + n * POINTER) for n in range(int.from_bytes(block[96:100], "little"))]
    at = next(n for n, key in enumerate(keys) if n and key[1] == EXTENT_ITEM)
    image = changed(path, root, (HEAD + (at - 1) * POINTER + 17, "<Q", 1 << 63), (HEAD + at * POINTER + 8, "<B", 178))
    (told,) = is_less(open_btrfs(image), before)
    assert f"from logical address {keys[at - 1][0]} to " in told
    assert f"to {keys[at][0]} " not in told


def test_chunks_in_each_other(made):
    path, known, before = made
    leaf = next(each for each in known[CHUNKS] if not each[1])
    block = Image(path).read(leaf[2][0], 4096)
    rows = [HEAD + n * ITEM for n in range(int.from_bytes(block[96:100], "little"))]
    chunks = [row for row in rows if block[row + 8] == btrfs.CHUNK_ITEM]
    (last,) = struct.unpack_from("<Q", block, chunks[-1] + 9)
    (offset,) = struct.unpack_from("<I", block, chunks[-2] + 17)
    (start,) = struct.unpack_from("<Q", block, chunks[-2] + 9)
    fs = open_btrfs(changed(path, leaf, (HEAD + offset, "<Q", last - start + (1 << 20))))
    told = is_less(fs, before) if fs.forest.own.get(EXTENTS) else []
    assert any("begins in another" in each for each in told)
