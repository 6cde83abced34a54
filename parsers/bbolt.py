"""bbolt files: the two meta pages, the choice between them, and the keys of the tree that the chosen one points to.

Source of the format: go.etcd.io/bbolt v1.3.6, db.go (meta.validate, mmap), tx.go (writeMeta). Transaction T writes its meta
to page T mod 2 when all else is on the disk, so the newer valid meta is the state of the file and the older one, until its
pages are used again, the state before. Layouts: bbolt_pages; trees: bbolt_tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from parsers.bbolt_check import PageState, check, page_states, survey
from parsers.bbolt_find import PageCache, find_bucket, find_key
from parsers.bbolt_free import Deleted, Seen, deleted, walk_and_see
from parsers.bbolt_layouts import BIG, HEADER, LITTLE, MAX_PAGES, Layouts, PageFile, Problem, Reader, pages_in
from parsers.bbolt_tree import Bucket, Claims, Key, Path, walk
from parsers.errors import EvidenceError, FormatError

MAGIC = 0xED0CDAED
VERSION = 2
META_SIZE = 64  # bytes, behind the page header
CHECKED = 56  # bytes of the meta that its checksum covers
INITIAL = 1  # bolt before 1.3 made new files' metas, of transactions 0 and 1, with no checksum; every commit writes one
NO_FREELIST = 0xFFFFFFFFFFFFFFFF  # the freelist was not written (NoFreelistSync)
PAGE_SIZES = tuple(1024 << shift for shift in range(15))


@dataclass(frozen=True, slots=True)
class Meta:
    """A meta page. page: 0 or 1. freelist: None where it was not synced. fault: why it is not valid, None where it is."""

    page: int
    offset: int
    page_size: int
    root: int
    sequence: int
    freelist: int | None
    hwm: int
    txid: int
    checksum: int
    fault: str | None

    @property
    def valid(self) -> bool:
        """Whether bbolt would use it."""
        return self.fault is None


@dataclass(frozen=True)
class Bolt:
    """An open bbolt file. metas: page 0 and 1 as they are. meta: the one in force. hwm: the first page id never used."""

    file: PageFile
    metas: tuple[Meta, Meta]
    meta: Meta
    cache: PageCache
    _seen: list[Seen] = field(default_factory=list, repr=False)

    @property
    def page_size(self) -> int:
        """Bytes of a page."""
        return self.file.page_size

    @property
    def txid(self) -> int:
        """The number of the last transaction."""
        return self.meta.txid

    @property
    def hwm(self) -> int:
        """The first page id that was never used."""
        return self.meta.hwm

    @property
    def problems(self) -> list[Problem]:
        """What was found broken so far; grows while reading."""
        return self.file.problems

    @property
    def previous(self) -> Meta | None:
        """The other meta, where it is valid: the tree of the transaction before."""
        other = self.metas[1 - self.meta.page]
        return other if other.valid and other.txid < self.meta.txid else None

    def walk(self, meta: Meta | None = None, start: Path = (), deep: bool = True) -> Iterator[Key]:
        """Every key in the bucket at `start` and, if deep, below it, in key order, a bucket before its content.

        meta: the tree to walk, by default the live one. No keys where there is no such bucket.
        """
        bucket = self._bucket(start, meta or self.meta)
        if bucket is not None:
            yield from walk(self.file, bucket, start, Claims(self.file.limit), deep=deep)

    def walk_once(self) -> Iterator[Key]:
        """As `walk` over the live tree; the next call of `deleted` needs no walk of its own then."""
        yield from walk_and_see(self.file, tree(self.meta), self._seen)

    def get(self, bucket: Path, key: bytes) -> bytes | None:
        """A live key's value; None where there is no such key or it is a bucket."""
        return find_key(self.cache, tree(self.meta), bucket, key)[1]

    def bucket(self, path: Path) -> dict[bytes, bytes]:
        """The live keys of one bucket and their values, without the buckets in it; empty where there is no such bucket."""
        return {key.key: key.value for key in self.walk(start=path, deep=False) if key.value is not None}

    def buckets(self, path: Path = ()) -> list[bytes]:
        """The names of the live buckets right in one bucket."""
        return [key.key for key in self.walk(start=path, deep=False) if key.value is None]

    def sequence(self, path: Path) -> int | None:
        """The sequence of a live bucket, None where there is no such bucket."""
        where = self._bucket(path, self.meta)
        return where.sequence if where is not None else None

    def deleted(self) -> Iterator[Deleted]:
        """Every key of the file that is not live, with where it stands; see bbolt_free."""
        older = self.previous
        seen = self._seen.pop() if self._seen else None  # once: it is large
        return deleted(self.cache, tree(self.meta), self.txid, (tree(older), older.txid) if older else None, seen)

    def pages(self) -> Iterator[PageState]:
        """Every page of the file, in order, with what it is and what refers to it."""
        found = survey(self.file, tree(self.meta), self.meta.freelist)
        older = Claims(self.file.limit) if self.previous else None
        if self.previous is not None and older is not None:
            for _ in walk(replace(self.file, problems=[]), tree(self.previous), (), older, known=found.claims):
                pass
        yield from page_states(self.file, found, older)

    def check(self) -> list[Problem]:
        """Everything that is wrong with the file: its metas, trees and freelist; empty for a sound one."""
        check(self.file, survey(self.file, tree(self.meta), self.meta.freelist))
        return self.problems

    def _bucket(self, path: Path, meta: Meta) -> Bucket | None:
        try:
            return find_bucket(self.cache, tree(meta), path)
        except FormatError as error:
            self.file.report(Problem(error.what, None, error.offset or 0))
            return None


def tree(meta: Meta) -> Bucket:
    """The root bucket that a meta points to."""
    return Bucket(meta.root, meta.sequence)


def open_bolt(reader: Reader) -> Bolt:
    """Opens a bbolt file by its newer valid meta page. FormatError where neither is valid."""
    try:
        layouts, metas = _metas(reader)
    except EvidenceError as error:
        raise FormatError(str(error), reader.name, 0) from error
    usable = [meta for meta in metas if meta.valid]
    if not usable:
        raise FormatError(f"no valid bbolt meta page (0: {metas[0].fault}; 1: {metas[1].fault})", reader.name, 0)
    meta = max(usable, key=lambda each: each.txid)
    file = PageFile(reader, layouts, meta.page_size, min(meta.hwm, pages_in(reader, meta.page_size)))
    for each in metas:
        if not each.valid:
            file.report(Problem(f"meta page {each.page}: {each.fault}", each.page, each.offset))
    if reader.size < meta.hwm * meta.page_size:
        what = f"the file ends at byte {reader.size}, before the end of its {meta.hwm} pages of {meta.page_size} bytes"
        file.report(Problem(what, None, reader.size))
    if reader.size > MAX_PAGES * meta.page_size and meta.hwm > MAX_PAGES:
        file.report(Problem(f"{meta.hwm} pages; only the first {MAX_PAGES} are read", None, MAX_PAGES * meta.page_size))
    return Bolt(file, metas, meta, PageCache(file))


def _metas(reader: Reader) -> tuple[Layouts, tuple[Meta, Meta]]:
    """Both metas; where the first gives no page size, the second is looked for at every place that it can have."""
    for layouts in (LITTLE, BIG):
        first = _meta(reader, layouts, 0, 0)
        if first.valid:
            return layouts, (first, _meta(reader, layouts, 1, first.page_size))
    first = _meta(reader, LITTLE, 0, 0)
    for page_size in PAGE_SIZES:
        for layouts in (LITTLE, BIG):
            second = _meta(reader, layouts, 1, page_size)
            if second.valid:
                return layouts, (_meta(reader, layouts, 0, 0), second)
    return LITTLE, (first, _meta(reader, LITTLE, 1, first.page_size if first.page_size in PAGE_SIZES else 4096))


def _meta(reader: Reader, layouts: Layouts, page: int, offset: int) -> Meta:
    raw = reader.read(offset + HEADER, META_SIZE)
    meta = layouts.meta.parse(raw.ljust(META_SIZE, b"\0"))
    fault = None
    if len(raw) < META_SIZE:
        fault = "the file ends before it"
    elif meta.magic != MAGIC:
        fault = f"its magic is 0x{meta.magic:08x}"
    elif meta.version != VERSION:
        fault = f"its version is {meta.version}"
    elif meta.checksum != fnv1a(raw[:CHECKED]) and (meta.checksum or meta.txid > INITIAL):
        fault = "its checksum is wrong"
    elif meta.pageSize not in PAGE_SIZES or (page == 1 and meta.pageSize != offset):
        fault = f"its page size is {meta.pageSize}"
    freelist = None if meta.freelist == NO_FREELIST else meta.freelist
    root, sequence = meta.root.root, meta.root.sequence
    return Meta(page, offset, meta.pageSize, root, sequence, freelist, meta.pgid, meta.txid, meta.checksum, fault)


def fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits, as Go's hash/fnv gives it."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
