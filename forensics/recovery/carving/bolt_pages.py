"""Pages of bbolt files in unallocated space, and in deleted files: which of them were of one file, and what they hold.

Pages of one file that lie as the file had them have one place in common: that where its page 0 is or was. Of a file that was
in several pieces, each is a file of its own here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.records import BoltKey, Provenance
from forensics.recovery.carving.scan import PAGE, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.containers.deleted_clues import IN_LAYER
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_source import DeletedSource
from forensics.recovery.limits import Limits
from forensics.source import Source
from forensics.text import readable
from parsers.bbolt import MAGIC, META_SIZE, PAGE_SIZES, open_bolt
from parsers.bbolt_carved import Steps, carved_keys, leaf_and_branch_pages
from parsers.bbolt_free import Deleted
from parsers.bbolt_layouts import HEADER, LITTLE, MAX_PAGES, META
from parsers.errors import EvidenceError, FormatError

PAGE_SIZE = 4096
MAX_FOUND = 50_000  # pages of one volume
MAX_SPAN = 1 << 22  # pages of all files of one volume of which a meta page is left, as their pages' ids say
MAX_DELETED = 4 << 30  # bytes of all deleted files that are looked into
MAX_KEYS = 200_000  # of one file
MAX_ALL = 300_000  # of all pages of one volume
MAX_VALUE = 64 << 10  # bytes of a value that are kept
MAX_KEPT = 16 << 20  # bytes of values of one file; what comes then is listed without


@dataclass(frozen=True)
class LostDatabase:
    """A bbolt file that is gone, and its keys. path: of a deleted file, None where only pages are left.

    confidence: of a deleted file's path and content. how: what a key's place is called.
    """

    partition: int
    path: str | None
    source: Source
    keys: tuple[Deleted, ...]
    how: str
    inode: int | None = None
    confidence: str | None = None

    def provenance(self, offset: int, more: str = "") -> Provenance:
        """Where a key stands. offset: in the file."""
        return Provenance(self.partition, self.path or "", self.inode, self.locate(offset), self.how + more)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image of one in the file."""
        try:
            return self.source.locate(offset)
        except FormatError:
            return None

    def bolt_keys(self) -> Iterator[BoltKey]:
        """The keys with a value, as rows of the case."""
        kept = 0
        for each in self.keys:
            key = each.key
            if key.value is not None:
                value = key.value[:MAX_VALUE] if kept < MAX_KEPT else None
                kept += len(value or b"")
                where, size = self.locate(key.offset), len(key.value) + each.missing
                yield BoltKey(self.path, key.bucket, key.key, value, size, key.page, where, each.state, each.txid, self.partition)


@dataclass(frozen=True)
class _Pieces:
    """What is left of a file whose page 0 stood at a byte of a volume; may be negative, where it was in several pieces."""

    space: Space
    base: int
    size: int
    name: str = "pages"

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`. EvidenceError where a part of them is in use by now."""
        start = self.base + offset
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        run = self.space.run(start) if start >= 0 else None
        if run is None or start + size > run[1]:
            raise EvidenceError(f"byte {start} is in no unallocated run of {size} bytes")
        return self.space.source.read(start, size)

    def locate(self, offset: int) -> int | None:
        """Where in the disk image."""
        return self.space.source.locate(self.base + offset)


def lost_databases(
    hits: Sequence[Hits],
    filesystems: Mapping[int, Filesystem],
    deleted: Iterable[Numbered],
    is_containers_own: Callable[[int, int], bool],
    limits: Limits | None = None,
) -> Iterator[LostDatabase]:
    """Every bbolt file of which pages are left; deleted files first. A page is told once."""
    limits = limits or Limits()
    told: set[tuple[int, int]] = set()
    left = MAX_DELETED
    for each in deleted:
        path, size = each.file.path, each.file.size or 0
        if path is not None and path.endswith(b".db") and not IN_LAYER.search(path) and each.file.extents:
            if size > left:
                limits.cut(
                    f"deleted bbolt files of more than {MAX_DELETED} bytes: not looked into", each.partition, readable(path)
                )
                continue
            left -= size
            found = _deleted(each, filesystems[each.partition], limits)
            if found is not None:
                told.update((each.partition, place) for key in found.keys if (place := found.locate(key.key.offset)) is not None)
                yield found
    for volume in hits:
        yield from _in_space(volume, told, is_containers_own, limits)


def _deleted(each: Numbered, fs: Filesystem, limits: Limits) -> LostDatabase | None:
    source = DeletedSource(fs, each.file)
    try:
        bolt = open_bolt(source)
        size = bolt.page_size
    except FormatError:
        try:
            head = source.read(HEADER, 4)
        except EvidenceError:
            head = b""
        if head and head != MAGIC.to_bytes(4, "little") and any(head):
            return None  # something else that is called so
        size = PAGE_SIZE
    steps = Steps()
    found = carved_keys(source, size, leaf_and_branch_pages(source, size), steps=steps)
    keys = tuple(limits.first(found, MAX_KEYS, "keys", each.partition, source.name))
    _tell_steps(steps, limits, each.partition, source.name)
    how = f"deleted file, {each.file.method}"
    return LostDatabase(each.partition, source.name, source, keys, how, each.file.inode, each.file.confidence) if keys else None


def _in_space(
    hits: Hits, told: set[tuple[int, int]], is_containers_own: Callable[[int, int], bool], limits: Limits
) -> Iterator[LostDatabase]:
    space = hits.space
    possible = (each for each in hits.of(PAGE) if not is_containers_own(space.partition, each))
    places = list(limits.first(possible, MAX_FOUND, "pages of lost bbolt files", space.partition))
    heads, sizes = _heads(space, places)
    spans, room = 0, MAX_ALL
    for base, size, pages in _files(heads, sizes):
        last = max(pages)
        run = space.run(base + last * size)
        count = min(last + 1 + pages[last], (run[1] - base) // size) if run is not None else last
        if count <= last or count > MAX_PAGES:
            continue
        source = _Pieces(space, base, count * size)
        ends = {(run[1] - base) // size for pgid in pages if (run := space.run(base + pgid * size)) is not None}
        old = [pgid for pgid in pages if pgid >= 2]
        spans += count if len(old) < len(pages) else 0
        metas = len(old) < len(pages) and spans <= MAX_SPAN
        if len(old) < len(pages) and not metas:
            limits.cut(f"lost bbolt files of more than {MAX_SPAN} pages: read without their trees", space.partition)
        steps = Steps()
        carved = carved_keys(source, size, old, sorted(ends), metas, steps)
        keys = tuple(limits.first(carved, min(MAX_KEYS, room), "keys of lost bbolt files", space.partition))
        _tell_steps(steps, limits, space.partition)
        room -= len(keys)
        known = [key for key in keys if (space.partition, source.locate(key.key.offset)) not in told]
        if known:
            how = f"{space.how_at(base + min(pages) * size)}, page of a bbolt file"
            yield LostDatabase(space.partition, None, source, tuple(known), how)


def _tell_steps(steps: Steps, limits: Limits, partition: int, path: str | None = None) -> None:
    """Of pages to which there are too many ways."""
    if steps.left <= 0:
        limits.cut("too many links between the pages of a lost bbolt file: the buckets of some are not known", partition, path)


def _heads(space: Space, places: Sequence[int]) -> tuple[list[tuple[int, int, int]], set[int]]:
    """Place, page id and overflow of each page, and the sizes that pages may have, as meta pages say."""
    found: list[tuple[int, int, int]] = []
    sizes = {PAGE_SIZE}
    for place in places:
        try:
            raw = space.source.read(place, HEADER + META_SIZE)
        except EvidenceError:
            continue
        if len(raw) == HEADER + META_SIZE:
            pgid, flags, _, overflow = LITTLE.page.unpack(raw[:HEADER])
            found.append((place, pgid, overflow))
            told = int.from_bytes(raw[HEADER + 8 : HEADER + 12], "little")
            if flags == META and told in PAGE_SIZES and len(sizes) < len(PAGE_SIZES):
                sizes.add(told)
    return found, sizes


def _files(heads: Sequence[tuple[int, int, int]], sizes: set[int]) -> Iterator[tuple[int, int, dict[int, int]]]:
    """Page 0's place, the size of pages, and the overflow of each page, of all files; a page goes with the most others."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (place, pgid, _) in enumerate(heads):
        for size in sizes:
            groups.setdefault((place - pgid * size, size), []).append(number)
    done: set[int] = set()
    for (base, size), numbers in sorted(groups.items(), key=lambda each: (-len(each[1]), each[0][1] != PAGE_SIZE, each[0])):
        mine = [number for number in numbers if number not in done]
        done.update(mine)
        if mine:
            yield base, size, {heads[number][1]: heads[number][2] for number in mine}
