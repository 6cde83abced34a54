"""Keys of a bbolt file that its live tree does not have: those of the transaction before, and those in pages given up.

What is told of each: `previous`, it is in the tree of the older meta page, whole and consistent as it was; `stale`, it stands
in a page that neither tree has; `superseded`, either of them, but the live tree has the key with another value. What the live
tree has with the same value is not deleted and not told. Nothing is told twice, the previous tree goes before the pages.

Whether a stale page's bucket is known, and how, is its `basis`: a `pointer` from old pages above it (see bbolt_stale);
`content`, most of its keys and values stand in one live bucket, so it is an older state of that one; or just the `page`: then
the bucket's path lacks its beginning, and a value may be one that is also live somewhere.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parsers.bbolt_find import PageCache, find_key
from parsers.bbolt_layouts import HEADER, PageFile
from parsers.bbolt_pages import Page, inline_page
from parsers.bbolt_stale import Stale, find_stale, places, suffix
from parsers.bbolt_tree import MAX_DEPTH, Bucket, Claims, Key, Path, walk
from parsers.errors import FormatError

COMMON = 16  # a key and value that stand in more live buckets tell nothing of where they belong


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key that is not live. txid: the last transaction that can have written it. missing: bytes of its value that are lost.

    basis: what its bucket's path is known by: tree, pointer, content; or page, where the path lacks its beginning.
    """

    key: Key
    state: str
    txid: int
    basis: str
    missing: int = 0


@dataclass(frozen=True)
class _Index:
    """Which live buckets have a key with a value, by the hash of both. paths: of the buckets, by number."""

    hashes: NDArray[np.int64]
    buckets: NDArray[np.uint32]
    paths: list[Path]

    def holders(self, key: bytes, value: bytes) -> list[int]:
        """The numbers of the buckets that have it, none where too many do."""
        number = hash((key, value))
        low, high = np.searchsorted(self.hashes, [number], "left")[0], np.searchsorted(self.hashes, [number], "right")[0]
        return [int(each) for each in self.buckets[low:high]] if high - low <= COMMON else []


def deleted(cache: PageCache, live: Bucket, txid: int, previous: tuple[Bucket, int] | None) -> Iterator[Deleted]:
    """Every key outside the live tree. previous: the root of the older meta's tree and its txid. Problems there are none."""
    told: set[int] = set()
    file = replace(cache.file, problems=[])
    claims = Claims(file.limit)
    index = _index(walk(file, live, (), claims))
    trees = [claims]
    state: str | None
    if previous is not None:
        trees.append(Claims(file.limit))
        for key in walk(file, previous[0], (), trees[1], known=claims):
            state = _state(cache, live, key, "previous", told)
            if state is not None:
                yield Deleted(key, state, previous[1], "tree")
    whole = replace(file, limit=-(-file.reader.size // file.page_size))
    stale = find_stale(whole, cache, live, tuple(trees))
    known = places(stale)
    for pgid in sorted(stale.heads):
        page = stale.page(pgid)
        if page is None or not page.is_leaf:
            continue
        path, basis = _place(stale, known, page, index)
        for key, missing in _keys(whole, page, path):
            if basis == "page":
                state = "stale"
            else:
                state = _state(cache, live, key, "stale", told, missing)
            if state is not None:
                yield Deleted(key, state, txid, basis, missing)


def _index(keys: Iterator[Key]) -> _Index:
    hashes, buckets = array("q"), array("I")
    paths: list[Path] = []
    numbers: dict[int, int] = {}
    for key in keys:
        if key.value is None:
            continue
        if not paths or paths[-1] is not key.bucket:
            number = numbers.setdefault(hash(key.bucket), len(paths))
            if number == len(paths):
                paths.append(key.bucket)
        hashes.append(hash((key.key, key.value)))
        buckets.append(number)
    order = np.argsort(np.frombuffer(hashes, np.int64), kind="stable") if hashes else np.zeros(0, np.int64)
    return _Index(np.frombuffer(hashes, np.int64)[order], np.frombuffer(buckets, np.uint32)[order], paths)


def _place(stale: Stale, known: dict[int, Path], page: Page, index: _Index) -> tuple[Path, str]:
    """The bucket path of an old leaf page, and what it is known by."""
    if page.id in known:
        return known[page.id], "pointer"
    votes: Counter[int] = Counter()
    values = [row for row in page.leaf if not row[0]]
    for _, start, middle, stop in values:
        votes.update(set(index.holders(page.data[start:middle], page.data[middle:stop])))
    if votes:
        best, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        if 2 * count > len(page.leaf) and list(votes.values()).count(count) == 1:
            return index.paths[best], "content"
    return suffix(stale, known, page.id), "page"


def _keys(file: PageFile, page: Page, path: Path) -> Iterator[tuple[Key, int]]:
    """The keys of an old leaf page and of the inline buckets in it, each with how many bytes of its value are lost."""
    pending = [(page, path)]
    while pending:
        page, path = pending.pop()
        for flags, start, middle, stop in page.leaf:
            name = page.data[start:middle]
            if not flags:
                yield Key(path, name, page.data[middle:stop], page.id, page.offset + start), 0
                continue
            root, sequence = file.layouts.bucket.unpack(page.data[middle : middle + HEADER].ljust(HEADER, b"\0"))
            yield Key(path, name, None, page.id, page.offset + start, sequence, root == 0), 0
            if root == 0 and len(path) < MAX_DEPTH:
                try:
                    inline = inline_page(file, page.id, page.data, middle + HEADER, stop, page.offset)
                except FormatError:  # an old page has no claim to be whole
                    continue
                pending.append((inline, (*path, name)))
        for flags, start, middle, stop in page.cut:
            if not flags:
                there = page.data[middle : len(page.data)]
                yield Key(path, page.data[start:middle], there, page.id, page.offset + start), stop - middle - len(there)


def _state(cache: PageCache, live: Bucket, key: Key, state: str, told: set[int], missing: int = 0) -> str | None:
    """What a key is that the live tree may have too; None where it has it with the same value, or it was told before."""
    exists, value = find_key(cache, live, key.bucket, key.key)
    if exists and (value == key.value or (missing and value is not None and value.startswith(key.value or b""))):
        return None
    mark = hash((key.bucket, key.key, key.value))
    if mark in told:
        return None
    told.add(mark)
    return "superseded" if exists else state
