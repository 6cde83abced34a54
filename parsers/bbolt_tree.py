"""The trees of a bbolt file: every key of a bucket and of all buckets below it, in key order, and the way down to one key.

Source: go.etcd.io/bbolt v1.3.6, bucket.go (openBucket), cursor.go (seek). The walk holds one leaf page for each level of
nested buckets and visits no page twice, so cycles and shared pages end it; what is broken loses its subtree only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import ge
from typing import NamedTuple

from parsers.bbolt_layouts import BRANCH, HEADER, LEAF, PageFile, Problem
from parsers.bbolt_pages import LeafElement, Page, inline_page, read_page
from parsers.errors import FormatError

MAX_DEPTH = 1024  # of nested buckets; engines use ten
MAX_LEVELS = 64  # of branch pages; two elements in each reach any page id

Path = tuple[bytes, ...]


class Key(NamedTuple):
    """One key of a bucket, or one bucket in a bucket.

    bucket: the path of bucket names that leads here. value: None for a bucket, which has a sequence and the page id of its
    root, 0 where its content stands in this page. offset: of the key's bytes in the file; the value stands right behind its key.
    """

    bucket: Path
    key: bytes
    value: bytes | None
    page: int
    offset: int
    sequence: int | None = None
    root: int | None = None

    @property
    def inline(self) -> bool:
        """Whether it is a bucket whose content stands in the value."""
        return self.root == 0

    @property
    def depth(self) -> int:
        """How many buckets it stands in; 0 at the top."""
        return len(self.bucket)


class Bucket(NamedTuple):
    """Where a bucket's content is: a root page, or (root 0) a leaf page inside the value that names the bucket."""

    root: int
    sequence: int
    inline: Page | None = None


class Claims:
    """Which pages a walk has taken, as what, and for which bucket; buckets are numbered from 1 in the order of the walk."""

    def __init__(self, pages: int) -> None:
        self.taken = bytearray(pages)
        self.kind = bytearray(pages)  # BRANCH or LEAF in a page's first, 0 in its overflow pages
        self.owner = memoryview(bytearray(4 * pages)).cast("I")
        self.buckets: list[int] = [0]
        self.broken: set[int] = set()

    def enter(self, path: Path) -> int:
        """The number of one more bucket."""
        self.buckets.append(hash(path))
        return len(self.buckets) - 1

    def take(self, page: Page, number: int) -> None:
        """Marks a page and its overflow pages as one bucket's."""
        self.kind[page.id] = LEAF if page.is_leaf else BRANCH
        for pgid in range(page.id, min(page.id + page.pages, len(self.taken))):
            self.taken[pgid] = 1
            self.owner[pgid] = number

    def has(self, pgid: int, path: Path) -> bool:
        """Whether a page was taken for the bucket at this path."""
        return pgid < len(self.owner) and self.owner[pgid] > 0 and self.buckets[self.owner[pgid]] == hash(path)


@dataclass(slots=True)
class _Frame:
    """A bucket that a walk is in the middle of."""

    path: Path
    leaves: Iterator[Page]
    page: Page | None = None
    rows: Iterator[LeafElement] = field(default_factory=lambda: iter(()))


def walk(
    file: PageFile, bucket: Bucket, path: Path, claims: Claims, known: Claims | None = None, deep: bool = True
) -> Iterator[Key]:
    """Every key in a bucket and, if deep, below it, in key order, a bucket before its content.

    known: the claims of the live tree's walk, for the tree of an older meta: a page that the live tree has for the same bucket
    is passed over with all below it, and a page whose keys are out of place was used again since and is no part of it.
    """
    stack = [_Frame(path, _leaves(file, bucket, path, claims, known))]
    while stack:
        frame = stack[-1]
        path, page = frame.path, frame.page
        if page is not None:
            data, offset, pgid = page.data, page.offset, page.id
            for flags, start, middle, stop in frame.rows:
                try:
                    name = data[start:middle]
                    if not flags:
                        yield Key(path, name, data[middle:stop], pgid, offset + start)
                        continue
                    child = open_bucket(file, page, middle, stop)
                except FormatError as error:
                    file.report(Problem(error.what, pgid, offset + start))
                    continue
                if child is None:
                    continue
                yield Key(path, name, None, pgid, offset + start, child.sequence, child.root)
                if not deep:
                    continue
                if len(stack) >= MAX_DEPTH:
                    file.report(Problem(f"buckets are nested deeper than {MAX_DEPTH}", pgid, offset + start))
                    continue
                below = (*path, name)
                stack.append(_Frame(below, _leaves(file, child, below, claims, known)))
                break
            if stack[-1] is not frame:
                continue
        frame.page = next(frame.leaves, None)
        if frame.page is None:
            stack.pop()
        else:
            frame.rows = iter(frame.page.leaf)


def open_bucket(file: PageFile, page: Page, start: int, stop: int) -> Bucket | None:
    """The bucket in a leaf element's value; None, and a problem, where the value is none."""
    raw = page.data[start : min(stop, start + HEADER)]
    if len(raw) < HEADER or stop - start < HEADER:
        what = f"a bucket in page {page.id} is {stop - start} bytes long"
        file.report(Problem(what, page.id, page.offset + start))
        return None
    root, sequence = file.layouts.bucket.unpack(raw)
    if root:
        return Bucket(root, sequence)
    try:
        inline = inline_page(file, page.id, page.data, start + HEADER, stop, page.offset)
    except FormatError as error:
        file.report(Problem(error.what, page.id, error.offset or 0))
        return None
    if inline.damaged:
        file.report(inline.damaged)
    return Bucket(0, sequence, inline)


def _leaves(file: PageFile, bucket: Bucket, path: Path, claims: Claims, known: Claims | None) -> Iterator[Page]:
    """The leaf pages of one bucket, in key order."""
    if bucket.inline is None:
        return _leaves_below(file, bucket, path, claims, known)
    return iter((bucket.inline,) if _in_order(file, bucket.inline, None, None) or known is None else ())


def _leaves_below(file: PageFile, bucket: Bucket, path: Path, claims: Claims, known: Claims | None) -> Iterator[Page]:
    """As _leaves, of a bucket that has pages of its own."""
    number = claims.enter(path)
    pending: list[tuple[int, bytes | None, bytes | None, int]] = [(bucket.root, None, None, 0)]
    while pending:
        pgid, low, high, level = pending.pop()
        if known is not None and known.has(pgid, path):
            continue
        page = _page(file, pgid, claims)
        if page is None or (not _in_order(file, page, low, high) and known is not None):
            continue
        claims.take(page, number)
        if page.is_leaf:
            yield page
        elif level >= MAX_LEVELS:
            file.report(Problem(f"branch pages are nested deeper than {MAX_LEVELS}", pgid, page.offset))
        else:
            highs = [*(key for key, _ in page.children[1:]), high][: len(page.children)]
            below = [(child, key, end, level + 1) for (key, child), end in zip(page.children, highs, strict=True)]
            pending.extend(reversed(below))


def _page(file: PageFile, pgid: int, claims: Claims) -> Page | None:
    """A page that was not visited yet; None, and a problem, where it was or cannot be read."""
    if pgid < len(claims.taken) and claims.taken[pgid]:
        file.report(Problem(f"page {pgid} is referred to more than once", pgid, pgid * file.page_size))
        return None
    try:
        page = read_page(file, pgid, claims.taken)
    except FormatError as error:
        file.report(Problem(error.what, pgid, error.offset or 0))
        claims.broken.add(pgid)
        return None
    if page.damaged:
        file.report(page.damaged)
        claims.broken.add(pgid)
    return page


def _in_order(file: PageFile, page: Page, low: bytes | None, high: bytes | None) -> bool:
    """Whether a page's keys ascend, within what the branch page above promised; a problem where not."""
    try:
        keys = page_keys(page)
    except FormatError as error:
        file.report(Problem(error.what, page.id, error.offset or 0))
        return False
    fault = None
    if any(map(ge, keys, keys[1:])):
        fault = f"the keys of page {page.id} are not in order"
    elif keys and ((low is not None and keys[0] < low) or (high is not None and keys[-1] >= high)):
        fault = f"page {page.id} has keys beyond its place in the tree"
    if fault is not None:
        file.report(Problem(fault, page.id, page.offset + page.base))
    return fault is None


def page_keys(page: Page) -> list[bytes]:
    """The keys of a page's sound elements. FormatError where the evidence cannot give them."""
    if page.is_leaf:
        data = page.data
        return [data[start:middle] for _, start, middle, _ in page.leaf]
    return [key for key, _ in page.children if key is not None]
