"""Old pages of a bbolt file that no tree refers to any more, and the buckets that they were part of.

A page carries neither its bucket's name nor the transaction that wrote it. What tells where it belongs are other old pages:
branch elements and bucket elements that point to it. A page that was pointed to may have been written again since, as part of
something else, so a pointer counts only where the page's content fits: behind a branch element, if its first key is the
element's (bbolt writes them equal); behind a bucket's name, if it shares key names with the live bucket there, or with that
bucket's neighbours where it is gone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import numpy as np

from parsers.bbolt_content import Index, likeness
from parsers.bbolt_find import PageCache, find, find_bucket, first_leaf
from parsers.bbolt_layouts import BRANCH, FREELIST, LEAF, PageFile, page_headers
from parsers.bbolt_pages import Page, read_page
from parsers.bbolt_tree import MAX_DEPTH, Bucket, Claims, Path, open_bucket, page_keys, walk
from parsers.errors import FormatError

NEIGHBOURS = 8  # buckets beside a removed one that are asked what keys such a bucket has
MAX_SUFFIX = 8  # names that a path without a beginning has
MAX_PLACES = 4  # places in the tree that are tried for one page


@dataclass(frozen=True)
class Stale:
    """The old pages of a file. taken: pages in use, and the first page of every old one.

    links: from a page to those below it, each with its bucket's name, or None behind a branch element; parents: back again.
    """

    file: PageFile
    cache: PageCache
    live: Bucket
    taken: bytearray
    heads: frozenset[int]
    links: dict[int, list[tuple[bytes | None, int]]] = field(default_factory=dict)
    parents: dict[int, list[tuple[bytes | None, int]]] = field(default_factory=dict)

    def page(self, pgid: int) -> Page | None:
        """An old page, as far as it was not written over; None where nothing of it can be used."""
        try:
            return read_page(self.file, pgid, self.taken)
        except FormatError:  # an old page has no claim to be whole
            return None


def find_stale(file: PageFile, cache: PageCache, live: Bucket, trees: tuple[Claims, ...]) -> Stale:
    """The old pages that none of the given walks took. `file` must reach to the end of the file, not only to the hwm."""
    taken = bytearray(file.limit)
    for claims in trees:
        part = np.frombuffer(taken, np.uint8, count=min(len(claims.taken), file.limit))
        part |= np.frombuffer(claims.taken, np.uint8, count=len(part))
    heads = []
    for pgid, ident, flags, count, _ in page_headers(file):
        if pgid < 2 or taken[pgid] or ident != pgid or flags not in (BRANCH, LEAF, FREELIST):
            continue
        taken[pgid] = 1  # whatever was written last into an old page's overflow pages begins with a header
        if flags != FREELIST and count:
            heads.append(pgid)
    stale = Stale(file, cache, live, taken, frozenset(heads))
    link_pages(stale)
    return stale


def link_pages(stale: Stale) -> None:
    """Notes which old pages refer to which."""
    for pgid in sorted(stale.heads):
        for name, child in _links(stale, pgid):
            stale.links.setdefault(pgid, []).append((name, child))
            stale.parents.setdefault(child, []).append((name, pgid))


def _links(stale: Stale, pgid: int) -> list[tuple[bytes | None, int]]:
    """The old pages that one refers to."""
    page = stale.page(pgid)
    try:
        found = list(_pointers(stale, page)) if page is not None else []
    except FormatError:  # a page that is too large to hold cannot be read to its end
        return []
    return [(name, child) for name, child in found if child in stale.heads and child != pgid]


def _pointers(stale: Stale, page: Page) -> Iterator[tuple[bytes | None, int]]:
    if page.is_leaf:
        for flags, start, middle, stop in page.leaf:
            if flags and stop - middle >= stale.file.layouts.bucket.size:
                head = page.data[middle : middle + stale.file.layouts.bucket.size]
                yield page.data[start:middle], stale.file.layouts.bucket.unpack(head)[0]
        return
    for key, child in page.children:
        below = stale.page(child) if child in stale.heads else None
        if below is not None and key is not None and page_keys(below)[:1] == [key]:
            yield None, child


def places(stale: Stale, index: Index) -> dict[int, tuple[Path, str]]:
    """The bucket path of old pages, by page id, and what tells it: content, or a pointer from an old page whose place is known.

    A page that fits equally well in more than one place is left out, unless the name of just one of them stands in it.
    """
    tops = frozenset(key.key for key in walk(stale.cache.file, stale.live, (), Claims(stale.cache.file.limit), deep=False))
    fits: dict[int, dict[Path, int]] = {}
    content: set[int] = set()
    copies: dict[int, Path] = {}
    for pgid in sorted(stale.heads):
        page = stale.page(pgid)
        if page is None or not page.is_leaf:
            continue
        try:
            is_root, alike = _is_root(page, tops), likeness(stale.file, index, page)
        except FormatError:  # as above
            continue
        if is_root:
            fits[pgid] = {(): 2}
        elif alike.state is not None:
            content.add(pgid)
            fits[pgid] = {alike.state: 2}
        elif alike.copy is not None:
            copies[pgid] = alike.copy
    fixed = frozenset(fits)
    queue = deque((pgid, place) for pgid, known in sorted(fits.items()) for place in known)
    while queue:
        pgid, path = queue.popleft()
        for name, child in stale.links.get(pgid, ()):
            place = path if name is None else (*path, name)
            known = fits.setdefault(child, {})
            if child in fixed or place in known or len(known) >= MAX_PLACES or len(place) > MAX_DEPTH:
                continue
            known[place] = _fit(stale, child, place) if name is not None else fits[pgid][path]
            if known[place]:
                queue.append((child, place))
    found = {pgid: (place, "content") for pgid, place in copies.items()}
    for pgid, known in fits.items():
        best = _best(stale, pgid, known)
        if best is not None:
            found[pgid] = (best, "content" if pgid in content else "pointer")
    return found


def suffix(stale: Stale, known: Container[int], pgid: int) -> Path:
    """The end of the bucket path of a page whose place is not known: the names that all old pages above it agree on."""
    path: Path = ()
    seen = {pgid}
    while len(path) < MAX_SUFFIX:
        above = [link for link in stale.parents.get(pgid, ()) if link[1] not in known]
        if len(above) != 1 or above[0][1] in seen:
            names = {name for name, _ in above}
            return (name, *path) if len(names) == 1 and (name := names.pop()) is not None else path
        name, pgid = above[0]
        seen.add(pgid)
        path = path if name is None else (name, *path)
    return path


def _best(stale: Stale, pgid: int, fits: dict[Path, int]) -> Path | None:
    """The one place where a page fits best, None where there is none or more than one."""
    top = max(fits.values(), default=0)
    best = [place for place, fit in sorted(fits.items()) if fit == top and top]
    if len(best) > 1:
        page = stale.page(pgid)
        data = page.data if page is not None and isinstance(page.data, bytes) else b""
        best = [place for place in best if place and place[-1] in data]
    return best[0] if len(best) == 1 else None


def _is_root(page: Page, tops: frozenset[bytes]) -> bool:
    """Whether a page was the root bucket's: it holds buckets only, named as the live ones are."""
    return bool(page.leaf) and all(flags for flags, *_ in page.leaf) and tops.issuperset(page_keys(page))


def _fit(stale: Stale, pgid: int, place: Path) -> int:
    """How well a page fits as the content of the bucket at a place: 2 it shares keys with it, 1 nothing tells, 0 not at all."""
    page = stale.page(pgid)
    try:
        return _fitness(stale, page, place) if page is not None else 0
    except FormatError:  # as above
        return 0


def _fitness(stale: Stale, page: Page, place: Path) -> int:
    here = find_bucket(stale.cache, stale.live, place)
    if here is not None:
        return 2 if _shares_keys(stale, page, here) else int(not _kinds(stale, here))
    parent = find_bucket(stale.cache, stale.live, place[:-1])
    beside = first_leaf(stale.cache, parent) if parent is not None else None
    rows = [row for row in beside.leaf if row[0]][:NEIGHBOURS] if beside is not None else []
    found = [open_bucket(stale.cache.file, beside, row[2], row[3]) for row in rows] if beside is not None else []
    siblings = [sibling for sibling in found if sibling is not None]
    if any(_shares_keys(stale, page, sibling) for sibling in siblings):
        return 2
    firsts = [first_leaf(stale.cache, sibling) for sibling in siblings]
    keys = Counter(key for first in firsts if first is not None for key in page_keys(first))
    if max(keys.values(), default=0) > 1:
        return 0  # such buckets have keys in common, and this page has none of them
    own = {flags for flags, *_ in page.leaf}
    return int(all(not own or _kinds(stale, sibling) in (set(), own) for sibling in siblings))


def _shares_keys(stale: Stale, page: Page, bucket: Bucket) -> bool:
    """Whether one of a page's first keys is in a live bucket."""
    return any(find(stale.cache, bucket, name) for name in page_keys(page)[:NEIGHBOURS])


def _kinds(stale: Stale, bucket: Bucket) -> set[int]:
    """What a live bucket begins with: values (0), buckets (1) or both."""
    first = first_leaf(stale.cache, bucket)
    return {flags for flags, *_ in first.leaf} if first is not None else set()
