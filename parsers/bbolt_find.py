"""The way down to one key of a bbolt file.

Source: go.etcd.io/bbolt v1.3.6, cursor.go (seek, nsearch).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from parsers.bbolt_layouts import PageFile, Problem
from parsers.bbolt_pages import LeafElement, Page, read_page
from parsers.bbolt_tree import MAX_LEVELS, Bucket, Path, open_bucket, page_keys
from parsers.errors import FormatError

CACHE_BYTES = 2 << 20


class _Leaf(NamedTuple):
    """A leaf page that a way down ended in, and which keys the same way leads to, by the branch pages above.

    keys: its own, None where the page is too large to hold. low, high: None for no bound.
    """

    bucket: Bucket
    page: Page
    keys: list[bytes] | None
    low: bytes | None
    high: bytes | None

    def is_for(self, bucket: Bucket, key: bytes) -> bool:
        """Whether the way down to a key ends here."""
        if self.bucket is not bucket or (self.low is not None and key < self.low):
            return False
        return self.high is None or key < self.high

    def key(self, row: LeafElement) -> bytes:
        """The key of one of its elements."""
        return self.page.data[row[1] : row[2]]


@dataclass
class PageCache:
    """The pages read last, up to CACHE_BYTES of them, for going down the tree again and again; most often to a neighbour.

    way: the buckets that the last way down led through, from the root, which has no name. asked, answer: the last path and its
    bucket. missing: the path of the bucket that was not there, where there was none. leaf: where the last key was looked for.
    """

    file: PageFile
    pages: OrderedDict[int, Page] = field(default_factory=OrderedDict)
    way: list[tuple[bytes, Bucket]] = field(default_factory=list)
    asked: Path | None = None
    answer: Bucket | None = None
    missing: Path | None = None
    leaf: _Leaf | None = None

    def get(self, pgid: int) -> Page | None:
        """A branch or leaf page; None, and a problem, where it cannot be read."""
        page = self.pages.get(pgid)
        if page is not None:
            self.pages.move_to_end(pgid)
            return page
        try:
            page = read_page(self.file, pgid)
        except FormatError as error:
            self.file.report(Problem(error.what, pgid, error.offset or 0))
            return None
        if page.damaged:
            self.file.report(page.damaged)
        self.pages[pgid] = page
        while len(self.pages) * self.file.page_size > CACHE_BYTES and len(self.pages) > 1:
            self.pages.popitem(last=False)
        return page


def find(cache: PageCache, bucket: Bucket, key: bytes) -> tuple[Page, LeafElement] | None:
    """The leaf element of one key in a bucket, found as bbolt's cursor seeks it. FormatError where the evidence fails."""
    leaf = cache.leaf
    if leaf is None or not leaf.is_for(bucket, key):
        leaf = cache.leaf = _leaf(cache, bucket, key)
        if leaf is None:
            return None
    rows = leaf.page.leaf
    at = bisect_left(rows, key, key=leaf.key) if leaf.keys is None else bisect_left(leaf.keys, key)
    return (leaf.page, rows[at]) if at < len(rows) and leaf.key(rows[at]) == key else None


def _leaf(cache: PageCache, bucket: Bucket, key: bytes) -> _Leaf | None:
    page = bucket.inline or cache.get(bucket.root)
    low: bytes | None = None
    high: bytes | None = None
    for _ in range(MAX_LEVELS):
        if page is None or page.is_leaf:
            break
        # what is not damaged has a name in each element
        sound = page.children if page.damaged is None else [row for row in page.children if row[0] is not None]
        if not sound:
            return None
        at, low, high = _place(sound, key, low, high)
        page = cache.get(sound[max(0, at - 1)][1])
    if page is None or not page.is_leaf:
        return None
    return _Leaf(bucket, page, page_keys(page) if isinstance(page.data, bytes) else None, low, high)


def _place(
    rows: Sequence[tuple[bytes | None, int]], key: bytes, low: bytes | None, high: bytes | None
) -> tuple[int, bytes | None, bytes | None]:
    """bisect_right, and the bounds drawn in to the names that the key was held against.

    In a damaged page, whose names may be in no order, only keys that lie to these as this one does go the same way.
    """
    first, last = 0, len(rows)
    while first < last:
        middle = (first + last) // 2
        name = rows[middle][0] or b""
        if key < name:
            last, high = middle, name if high is None else min(high, name)
        else:
            first, low = middle + 1, name if low is None else max(low, name)
    return first, low, high


def first_leaf(cache: PageCache, bucket: Bucket) -> Page | None:
    """The leaf page with a bucket's first keys."""
    page = bucket.inline or cache.get(bucket.root)
    for _ in range(MAX_LEVELS):
        if page is None or page.is_leaf:
            return page
        page = cache.get(page.children[0][1]) if page.children else None
    return None


def find_bucket(cache: PageCache, root: Bucket, path: Path) -> Bucket | None:
    """The bucket at a path of names, None where there is none."""
    if not cache.way or cache.way[0][1] != root:
        cache.way[:] = [(b"", root)]
        cache.asked = cache.missing = None
    if path is not cache.asked:
        cache.asked, cache.answer = path, _find_bucket(cache, path)
    return cache.answer


def _find_bucket(cache: PageCache, path: Path) -> Bucket | None:
    if cache.missing is not None and path[: len(cache.missing)] == cache.missing:
        return None
    way = cache.way
    known = 1
    for name, (same, _) in zip(path, way[1:], strict=False):
        if name != same:
            break
        known += 1
    del way[known:]
    for name in path[known - 1 :]:
        found = find(cache, way[-1][1], name)
        if found is None or not found[1][0]:
            cache.missing = path[: len(way)]
            return None
        page, (_, _, start, stop) = found
        bucket = open_bucket(cache.file, page, start, stop)
        if bucket is None:
            return None
        way.append((name, bucket))
    return way[-1][1]


def find_key(cache: PageCache, root: Bucket, path: Path, key: bytes) -> tuple[bool, bytes | None]:
    """Whether a bucket has a key, and its value, None where it is a bucket. A part that cannot be read has no keys."""
    try:
        bucket = find_bucket(cache, root, path)
        found = find(cache, bucket, key) if bucket is not None else None
        if found is None:
            return False, None
        page, (flags, _, start, stop) = found
        return True, None if flags else page.data[start:stop]
    except FormatError as error:
        cache.file.report(Problem(error.what, None, error.offset or 0))
        return False, None
