"""What is remembered of the last way down changes no answer: each is as of a file that was just opened, damaged ones, too."""

import random
import struct

import pytest

from parsers.bbolt import tree
from parsers.bbolt_find import PageCache, find_key
from parsers.bbolt_layouts import PageFile
from parsers.errors import CtrForensicsError
from support.bolt_files import SMALL, bolt_bytes, listing, opened, page_size

DEEP = ("chaos0004", "cri-2.1-meta", "many", "binary", "emptied", "page-1k")


def fresh(bolt, path, key):
    """The answer of a cache that has nothing in it."""
    file = PageFile(bolt.file.reader, bolt.file.layouts, bolt.file.page_size, bolt.file.limit)
    return find_key(PageCache(file), tree(bolt.meta), path, key)


def asked(name, rng, count):
    """Keys that are there and some that are not, in any order; each path a tuple of its own."""
    rows = sorted({row[:2] for row in listing(name, "live")}) or [((), b"a")]
    found = []
    while len(found) < count:
        at = rng.randrange(len(rows))
        for path, key in rows[at : at + rng.choice((1, 1, 4, 30))]:
            other = rng.choice((key, key, key + b"\0", key[:-1], b"", b"\xff" * 9, rng.choice(rows)[1]))
            deeper = rng.choice((path, path, path[:-1], (*path, key), (*path, b"none")))
            found.append((tuple(deeper), other))
    return found


def damaged(data, rng):
    raw = bytearray(data)
    size = page_size(data)
    for _ in range(rng.choice((1, 3, 20))):
        page = rng.randrange(2, max(3, len(raw) // size)) * size
        at = min(page + rng.choice((rng.randrange(16), rng.randrange(16, 256), rng.randrange(size))), len(raw) - 8)
        rng.choice(
            (
                lambda at: raw.__setitem__(at, rng.randrange(256)),
                lambda at: struct.pack_into("<Q", raw, at, rng.choice((0, 2, 1 << 63))),
            )
        )(at)
    if rng.random() < 0.4:  # a branch page whose children are in no order
        pages = [page for page in range(2 * size, len(raw) - size + 1, size) if raw[page + 8] == 1]
        for page in pages:
            rows = [bytes(raw[page + 16 + 16 * n : page + 32 + 16 * n]) for n in range(min(raw[page + 10], 8))]
            if len(rows) > 1:
                one, other = rng.sample(range(len(rows)), 2)
                first, second = (struct.unpack("<IIQ", rows[n]) for n in (one, other))
                struct.pack_into("<IIQ", raw, page + 16 + 16 * one, (second[0] + 16 * (other - one)) % (1 << 32), *second[1:])
                struct.pack_into("<IIQ", raw, page + 16 + 16 * other, (first[0] + 16 * (one - other)) % (1 << 32), *first[1:])
    return bytes(raw)


@pytest.mark.parametrize("name", SMALL)
def test_of_whole_files(name):
    rng = random.Random(name)
    bolt = opened(bolt_bytes(name))
    for path, key in asked(name, rng, 120):
        assert find_key(bolt.cache, tree(bolt.meta), path, key) == fresh(bolt, path, key), (path, key)


@pytest.mark.parametrize("name", DEEP)
def test_of_damaged_files(name):
    for seed in range(30):
        rng = random.Random(f"{name} {seed}")
        data = damaged(bolt_bytes(name), rng)
        try:
            bolt = opened(data)
        except CtrForensicsError:
            continue
        for path, key in asked(name, rng, 60):
            assert find_key(bolt.cache, tree(bolt.meta), path, key) == fresh(bolt, path, key), (seed, path, key)
