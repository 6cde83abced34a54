"""Keys of a bbolt file that its live tree does not have: those of the transaction before, and those in pages given up.

What is told of each: `previous`, it is in the tree of the older meta page, whole and consistent as it was; `stale`, it stands
in a page that neither tree has; `superseded`, either of them, but the live tree has the key with another value. What the live
tree has with the same value is not deleted and not told. Nothing is told twice, the previous tree goes before the pages.

Whether a stale page's bucket is known, and how, is its `basis`: a `pointer` from old pages above it (see bbolt_stale);
`content`, most of its keys and values stand in one live bucket, so it is an older state of that one; or just the `page`: then
the bucket's path lacks its beginning, and a value may be one that is also live somewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from parsers.bbolt_content import Index, Indexer
from parsers.bbolt_find import PageCache, find_key
from parsers.bbolt_layouts import HEADER, PageFile, pages_in
from parsers.bbolt_pages import Page, inline_page
from parsers.bbolt_stale import find_stale, places, suffix
from parsers.bbolt_tree import MAX_DEPTH, Bucket, Claims, Key, Path, walk
from parsers.errors import FormatError


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key that is not live. txid: the last transaction that can have written it, None where no meta page is left.

    basis: what its bucket's path is known by: tree, pointer, content; or page, where the path lacks its beginning. missing:
    bytes of its value that are lost.
    """

    key: Key
    state: str
    txid: int | None
    basis: str
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a walk over the whole live tree leaves for telling what is not in it: the pages that it took, and the keys."""

    claims: Claims
    index: Index


def walk_and_see(file: PageFile, live: Bucket, seen: list[Seen]) -> Iterator[Key]:
    """Every key of the live tree; at the end, what was seen is added to `seen`."""
    claims, indexer = Claims(file.limit), Indexer()
    for key in walk(file, live, (), claims):
        indexer.add(key)
        yield key
    seen.append(Seen(claims, indexer.index()))


def deleted(
    cache: PageCache, live: Bucket, txid: int, previous: tuple[Bucket, int] | None, seen: Seen | None = None
) -> Iterator[Deleted]:
    """Every key outside the live tree. Problems there are none.

    previous: the root of the older meta's tree and its txid. seen: of the live tree, which is walked for it where it is None.
    """
    told: set[int] = set()
    file = replace(cache.file, problems=[])
    if seen is None:
        found: list[Seen] = []
        deque(walk_and_see(file, live, found), maxlen=0)
        seen = found[0]
    claims, index = seen.claims, seen.index
    trees = [claims]
    if previous is not None:
        trees.append(Claims(file.limit))
        for key in walk(file, previous[0], (), trees[1], known=claims):
            state = _state(cache, live, key, "previous", told)
            if state is not None:
                yield Deleted(key, state, previous[1], "tree")
    whole = replace(file, limit=pages_in(file.reader, file.page_size))
    stale = find_stale(whole, cache, live, tuple(trees))
    known = places(stale, index)
    for pgid in sorted(stale.heads):
        page = stale.page(pgid)
        if page is None or not page.is_leaf:
            continue
        path, basis = known[pgid] if pgid in known else (suffix(stale, known, pgid), "page")
        rows = page_rows(whole, page, path)
        if basis == "page" and _is_told(rows, told):
            continue
        for key, missing in rows:
            state = "stale" if basis == "page" else _state(cache, live, key, "stale", told, missing)
            if state is not None:
                yield Deleted(key, state, txid, basis, missing)


def _is_told(rows: list[tuple[Key, int]], told: set[int]) -> bool:
    """Whether a page with the same keys, values and names above it was told before."""
    mark = hash(tuple((key.bucket, key.key, key.value, key.root) for key, _ in rows))
    known = mark in told
    told.add(mark)
    return known


def page_rows(file: PageFile, page: Page, path: Path) -> list[tuple[Key, int]]:
    """The keys of an old leaf page and of the inline buckets in it, each with how many bytes of its value are lost."""
    rows = []
    try:
        for row in _every_key(file, page, path):
            rows.append(row)
    except FormatError:  # a page that is too large to hold cannot be read to its end
        pass
    return rows


def _every_key(file: PageFile, page: Page, path: Path) -> Iterator[tuple[Key, int]]:
    pending = deque([(page, path)])
    while pending:
        page, path = pending.popleft()
        for flags, start, middle, stop in page.leaf:
            name = page.data[start:middle]
            if not flags:
                yield Key(path, name, page.data[middle:stop], page.id, page.offset + start), 0
                continue
            root, sequence = file.layouts.bucket.unpack(page.data[middle : middle + HEADER].ljust(HEADER, b"\0"))
            yield Key(path, name, None, page.id, page.offset + start, sequence, root), 0
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
