"""Keys of a bbolt file that is gone, of which pages are left: carved ones, or those of a deleted file.

Where a meta page and the tree below it are left, bbolt's own way through them is gone. Every other page is read on its own: as
the real page parser reads it, believed only where its elements are sound and its keys ascend. Its bucket is what other such
pages say that point to it; nothing says that they were of the same time, so a path counts only where it leads up to a root.

Source of the layouts: go.etcd.io/bbolt v1.3.6, page.go, node.go (write): an element's `pos` counts from the element, so the
first one's is 16 times their count; a page takes exactly as many overflow pages as its content needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import ge

from parsers.bbolt import Bolt, open_bolt
from parsers.bbolt_find import PageCache
from parsers.bbolt_free import Deleted, page_rows
from parsers.bbolt_layouts import BRANCH, LEAF, LITTLE, PageFile, Reader, page_headers, pages_in
from parsers.bbolt_pages import Page
from parsers.bbolt_stale import Stale, link_pages, suffix
from parsers.bbolt_tree import Bucket, Path, page_keys
from parsers.errors import FormatError

CARVED = "carved"
ROOTS = frozenset((b"v1", b"libnetwork", b"ctr", b"all-ctrs", b"id-registry", b"name-registry", b"exit-code"))
"""Names of engines' buckets at the top of a file: containerd's, Docker's, libpod's."""

MAX_STEPS = 500  # links that are followed up from one page
MAX_LEVELS = 24  # pages above each other


@dataclass
class Steps:
    """How many links may still be followed in a file."""

    left: int = 300_000


def leaf_and_branch_pages(reader: Reader, page_size: int) -> list[int]:
    """The ids of a file's pages that call themselves branch or leaf pages."""
    file = PageFile(reader, LITTLE, page_size, pages_in(reader, page_size))
    return [pgid for pgid, own, flags, count, _ in page_headers(file) if pgid == own >= 2 and flags in (BRANCH, LEAF) and count]


def carved_keys(
    reader: Reader,
    page_size: int,
    heads: Collection[int],
    foreign: Iterable[int] = (),
    metas: bool = True,
    steps: Steps | None = None,
) -> Iterator[Deleted]:
    """Every key that the pages of a file still hold, once, in the order of pages but for the tree's, which come first.

    reader: raises EvidenceError where the file's bytes are lost. heads: the pages that call themselves branch or leaf pages.
    foreign: pages that are lost, the first one behind each run of such as are left. metas: whether a meta page may be left, and
    the tree be looked for. steps: what is left of them afterwards. Of a key without a bucket that is known,
    the basis is `page`; txid is None where no meta page is left.
    """
    told: set[int] = set()
    seen: set[int] = set()
    bolt = _open(reader, page_size) if metas else None
    for each in _by_tree(bolt) if bolt is not None else ():
        told.add(each.key.page)
        seen.add(hash((each.key.key, each.key.value)))
        yield each
    file = PageFile(reader, LITTLE, page_size, pages_in(reader, page_size))
    taken = bytearray(file.limit)
    for pgid in (*heads, *foreign):
        if pgid < file.limit:
            taken[pgid] = 1
    stale = Stale(file, PageCache(file), Bucket(0, 0), taken, frozenset(pgid for pgid in heads if pgid not in told))
    link_pages(stale)
    tops = frozenset(pgid for pgid in stale.heads if _is_top(stale, pgid))
    steps = steps or Steps()
    for pgid in sorted(stale.heads):
        page = stale.page(pgid)
        if page is None or not page.is_leaf or not is_sound(page):
            continue
        above = _paths_up(stale, pgid, tops, steps)
        path = above[0] if len(above) == 1 else suffix(stale, (), pgid)
        rows = page_rows(file, page, path)
        marks = {hash((key.key, key.value)) for key, _ in rows}
        if not marks <= seen:
            yield from (Deleted(key, CARVED, None, "pointer" if len(above) == 1 else "page", missing) for key, missing in rows)
        seen |= marks


def is_sound(page: Page) -> bool:
    """Whether a page is all that its header says, or all of it that is left: elements in bounds, keys ascending."""
    try:
        keys = page_keys(page)
    except FormatError:  # a page that is too large to hold cannot be read to its end
        return False
    return bool(keys) and (page.damaged is None or bool(page.cut)) and not any(map(ge, keys, keys[1:]))


def _open(reader: Reader, page_size: int) -> Bolt | None:
    try:
        bolt = open_bolt(reader)
    except FormatError:  # then its pages are all that there is
        return None
    return bolt if bolt.page_size == page_size else None


def _by_tree(bolt: Bolt) -> Iterator[Deleted]:
    """The keys of a tree of which a meta page is left, and the old ones beside it."""
    for key in bolt.walk():
        yield Deleted(key, CARVED, bolt.txid, "tree")
    for each in bolt.deleted():
        rooted = each.basis == "page" and each.key.bucket[:1] and each.key.bucket[0] in ROOTS
        yield replace(each, state=CARVED, basis="pointer" if rooted else each.basis)


def _paths_up(stale: Stale, pgid: int, tops: frozenset[int], steps: Steps) -> list[Path]:
    """Every bucket path from a page at the top of the file to a page, by what old pages say; no two of one, and at most a few.

    A name of the top's buckets further down is a pointer that is older than what stands there now.
    """
    found: dict[Path, None] = {}
    pending: list[tuple[int, Path, tuple[int, ...]]] = [(pgid, (), (pgid,))]
    room = min(MAX_STEPS, steps.left)
    while pending:
        here, path, passed = pending.pop()
        if here in tops and not ROOTS.intersection(path[1:]):
            found[path] = None
        for name, parent in stale.parents.get(here, ()) if len(passed) < MAX_LEVELS else ():
            if parent in passed:
                continue
            room, steps.left = room - 1, steps.left - 1
            if room < 0:
                return []
            pending.append((parent, path if name is None else (name, *path), (*passed, parent)))
    return list(found)


def _is_top(stale: Stale, pgid: int) -> bool:
    """Whether a page has nothing but buckets that engines have at the top of a file."""
    page = stale.page(pgid)
    return page is not None and bool(page.leaf) and all(flags for flags, *_ in page.leaf) and ROOTS.issuperset(page_keys(page))
