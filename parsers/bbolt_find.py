"""The way down to one key of a bbolt file.

Source: go.etcd.io/bbolt v1.3.6, cursor.go (seek, nsearch).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field

from parsers.bbolt_layouts import PageFile, Problem
from parsers.bbolt_pages import LeafElement, Page, read_page
from parsers.bbolt_tree import MAX_LEVELS, Bucket, Path, open_bucket
from parsers.errors import FormatError

CACHE_BYTES = 4 << 20


@dataclass(frozen=True)
class PageCache:
    """The pages read last, up to CACHE_BYTES of them, for going down the tree again and again.

    way: the buckets that the last way down led through, from the root, which has no name. missing: the path of the bucket that
    was not found there last, where there was one: its keys are asked for one after another, too.
    """

    file: PageFile
    pages: OrderedDict[int, Page] = field(default_factory=OrderedDict)
    way: list[tuple[bytes, Bucket]] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)

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
    page = bucket.inline or cache.get(bucket.root)
    for _ in range(MAX_LEVELS):
        if page is None or page.is_leaf:
            break
        # what is not damaged has a name in each element
        sound = page.children if page.damaged is None else [row for row in page.children if row[0] is not None]
        if not sound:
            return None
        at = bisect_right(sound, key, key=_name)
        page = cache.get(sound[max(0, at - 1)][1])
    if page is None or not page.is_leaf:
        return None
    data = page.data
    at = bisect_left(page.leaf, key, key=lambda row: data[row[1] : row[2]])
    if at < len(page.leaf) and data[page.leaf[at][1] : page.leaf[at][2]] == key:
        return page, page.leaf[at]
    return None


def _name(row: tuple[bytes | None, int]) -> bytes:
    return row[0] or b""


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
    way = cache.way
    if not way or way[0][1] != root:
        way[:] = [(b"", root)]
        cache.missing.clear()
    if any(path[: len(gone)] == gone for gone in cache.missing):
        return None
    known = 1
    for name, (same, _) in zip(path, way[1:], strict=False):
        if name != same:
            break
        known += 1
    del way[known:]
    for name in path[known - 1 :]:
        found = find(cache, way[-1][1], name)
        if found is None or not found[1][0]:
            cache.missing[:] = [path[: len(way)]]
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
