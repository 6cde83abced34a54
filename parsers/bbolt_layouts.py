"""A bbolt file as bytes and layouts.

Source of the layouts: go.etcd.io/bbolt v1.3.6, page.go (page, branchPageElement, leafPageElement), db.go (meta), bucket.go
(bucket); the same in v1.4's internal/common. Integers are in the byte order of the machine that wrote the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from construct import FormatField, Struct

from parsers.errors import CtrForensicsError, EvidenceError, FormatError
from parsers.layout import Layout

BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET_FLAG = 0x01  # in a leaf element: the value is a bucket
HEADER = 16  # bytes of a page header, of an element of either kind, and of a bucket
MAX_PROBLEMS = 10_000
MAX_PAGES = 1 << 22  # of one file, 16 GiB of the usual pages; a sparse file may claim any number
CHUNK = 64 << 10  # pages are small, and what is near is soon wanted too
CHUNKS = 32
ASKED = 8  # parts of which a page was read last: trees grow in no order, and a walk over one leaps from part to part
_ZEROS = bytes(CHUNK)


class Reader(Protocol):
    """The bytes of a bbolt file, wherever they stand."""

    @property
    def name(self) -> str:
        """What people call the file."""
        ...

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only where the file ends."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a bbolt file that is not as it must be. offset: in the file."""

    what: str
    page: int | None
    offset: int


@dataclass(frozen=True)
class Layouts:
    """The five layouts in one byte order, `<` or `>`."""

    order: str
    meta: Any
    page: Layout
    branch_element: Layout
    leaf_element: Layout
    bucket: Layout


def _layouts(order: str) -> Layouts:
    uint16, uint32, uint64 = FormatField(order, "H"), FormatField(order, "L"), FormatField(order, "Q")
    bucket = Struct("root" / uint64, "sequence" / uint64)
    return Layouts(
        order,
        meta=Struct(
            "magic" / uint32,
            "version" / uint32,
            "pageSize" / uint32,
            "flags" / uint32,
            "root" / bucket,
            "freelist" / uint64,
            "pgid" / uint64,
            "txid" / uint64,
            "checksum" / uint64,
        ),
        page=Layout(Struct("id" / uint64, "flags" / uint16, "count" / uint16, "overflow" / uint32)),
        branch_element=Layout(Struct("pos" / uint32, "ksize" / uint32, "pgid" / uint64)),
        leaf_element=Layout(Struct("flags" / uint32, "pos" / uint32, "ksize" / uint32, "vsize" / uint32)),
        bucket=Layout(bucket),
    )


LITTLE, BIG = _layouts("<"), _layouts(">")


@dataclass(frozen=True)
class PageFile:
    """A bbolt file as numbered pages. limit: the first page id that is not to be read. problems: grows while reading."""

    reader: Reader
    layouts: Layouts
    page_size: int
    limit: int
    problems: list[Problem] = field(default_factory=list)
    _known: set[Problem] = field(default_factory=set, init=False, repr=False)
    _chunks: OrderedDict[int, bytes] = field(default_factory=OrderedDict, init=False, repr=False)
    _asked: deque[int] = field(default_factory=lambda: deque(maxlen=ASKED), init=False, repr=False)

    def report(self, problem: Problem) -> None:
        """Keeps a problem, once."""
        if problem not in self._known and len(self._known) < MAX_PROBLEMS:
            self._known.add(problem)
            self.problems.append(problem)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`. FormatError where the evidence cannot give them."""
        first, last = offset // CHUNK, (offset + size - 1) // CHUNK
        if last - first <= 1 and size > 0:
            parts = [self._chunk(number, size > CHUNK // 2) for number in range(first, last + 1)]
            if all(part is not None for part in parts):
                data = b"".join(part for part in parts if part is not None) if last > first else parts[0] or b""
                return data[offset - first * CHUNK : offset - first * CHUNK + size]
        try:
            return self.reader.read(offset, size)
        except EvidenceError as error:
            raise FormatError(str(error), self.reader.name, offset) from error

    def _chunk(self, number: int, at_once: bool) -> bytes | None:
        """A part of the file, from those read last; None where it cannot be read as a whole, though pages in it may, or where
        it need not be: unless it is to be read at once, only a part that was asked for a short time ago is.
        """
        data = self._chunks.get(number)
        if data is not None:
            self._chunks.move_to_end(number)
            return data
        if not at_once and number not in self._asked:
            self._asked.append(number)
            return None
        try:
            data = self.reader.read(number * CHUNK, CHUNK)
        except CtrForensicsError:  # a smaller read tells where exactly
            return None
        if len(self._chunks) >= CHUNKS:
            self._chunks.popitem(last=False)
        self._chunks[number] = data
        return data


def pages_in(reader: Reader, page_size: int) -> int:
    """How many pages a file has room for, the last one perhaps not whole; MAX_PAGES at most."""
    return min(-(-reader.size // page_size), MAX_PAGES)


def page_header(file: PageFile, pgid: int) -> tuple[int, int, int, int] | None:
    """id, flags, count and overflow as they stand at a page's place, None where the file ends before it."""
    raw = file.read(pgid * file.page_size, HEADER)
    if len(raw) < HEADER:
        return None
    ident, flags, count, overflow = file.layouts.page.unpack(raw)
    return ident, flags, count, overflow


def page_headers(file: PageFile) -> Iterator[tuple[int, int, int, int, int]]:
    """Page id, and id, flags, count and overflow as they stand at its place, of all pages but those in long runs of zeros."""
    size, unpack = file.page_size, file.layouts.page.unpack
    step = max(1, CHUNK // size)
    for first in range(0, file.limit, step):
        pages = range(first, min(first + step, file.limit))
        try:
            data = file.read(first * size, CHUNK)
        except FormatError:  # then some of its pages can be read, or none
            yield from _single_headers(file, pages)
            continue
        if data != _ZEROS[: len(data)]:
            for pgid, at in zip(pages, range(0, len(data) - HEADER + 1, size), strict=False):
                ident, flags, count, overflow = unpack(data, at)
                yield pgid, ident, flags, count, overflow


def _single_headers(file: PageFile, pages: range) -> Iterator[tuple[int, int, int, int, int]]:
    for pgid in pages:
        try:
            header = page_header(file, pgid)
        except FormatError:
            continue
        if header is not None:
            yield pgid, *header
