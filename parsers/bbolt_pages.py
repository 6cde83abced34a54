"""Pages of a bbolt file: the layouts, and one page read and checked.

Source of the layouts: go.etcd.io/bbolt v1.3.6, page.go (page, branchPageElement, leafPageElement), db.go (meta), bucket.go
(bucket); the same in v1.4's internal/common. Integers are in the byte order of the machine that wrote the file.

A page is one buffer of (overflow + 1) * pageSize bytes: a 16-byte header, `count` elements of 16 bytes, then each element's
key and value, one after the other without a gap. An element's `pos` counts from the element itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from construct import FormatField, Struct

from parsers.errors import EvidenceError, FormatError

BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET_FLAG = 0x01  # in a leaf element: the value is a bucket
HEADER = 16  # bytes of a page header, of an element of either kind, and of a bucket
PRELOAD = 1 << 20  # a page of more bytes is not held in memory as a whole
MAX_PROBLEMS = 10_000


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


def _flat(layout: Any) -> str:
    """The struct codes of a declared layout, so that hot tables are decoded by the declaration itself."""
    inner = getattr(layout, "subcon", layout)
    if isinstance(inner, FormatField):
        return str(inner.fmtstr)[1:]
    return "".join(_flat(part) for part in inner.subcons)


@dataclass(frozen=True)
class Layouts:
    """The five layouts in one byte order, `<` or `>`."""

    order: str
    page: Any
    meta: Any
    branch_element: struct.Struct
    leaf_element: struct.Struct
    bucket: struct.Struct


def _layouts(order: str) -> Layouts:
    uint16, uint32, uint64 = FormatField(order, "H"), FormatField(order, "L"), FormatField(order, "Q")
    bucket = Struct("root" / uint64, "sequence" / uint64)
    return Layouts(
        order,
        page=Struct("id" / uint64, "flags" / uint16, "count" / uint16, "overflow" / uint32),
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
        branch_element=_fast(order, Struct("pos" / uint32, "ksize" / uint32, "pgid" / uint64)),
        leaf_element=_fast(order, Struct("flags" / uint32, "pos" / uint32, "ksize" / uint32, "vsize" / uint32)),
        bucket=_fast(order, bucket),
    )


def _fast(order: str, layout: Any) -> struct.Struct:
    return struct.Struct(order + _flat(layout))


LITTLE, BIG = _layouts("<"), _layouts(">")


class Window:
    """A page too large to hold: slices of it are read when asked for."""

    def __init__(self, reader: Reader, offset: int, size: int) -> None:
        self.reader, self.offset, self.size = reader, offset, size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        return self.reader.read(self.offset + start, stop - start) if stop > start else b""

    def __len__(self) -> int:
        return self.size


LeafElement = tuple[int, int, int, int]
"""flags, start of the key, start of the value, end of the value: positions in the page's data."""


@dataclass(frozen=True, slots=True)
class Page:
    """A branch or leaf page. base: where the header stands in `data` (not 0 in an inline bucket). offset: of `data` in the file.

    pages: how many pages its content really takes. damaged: what is wrong with it, though parts of it can be used.
    """

    id: int
    is_leaf: bool
    data: bytes | Window
    base: int
    offset: int
    pages: int
    leaf: tuple[LeafElement, ...] | list[LeafElement] = ()
    children: tuple[tuple[bytes | None, int], ...] = ()
    damaged: Problem | None = None


@dataclass(frozen=True)
class PageFile:
    """A bbolt file as numbered pages. limit: the first page id that is not to be read. problems: grows while reading."""

    reader: Reader
    layouts: Layouts
    page_size: int
    limit: int
    problems: list[Problem] = field(default_factory=list)
    _known: set[Problem] = field(default_factory=set, repr=False)

    def report(self, problem: Problem) -> None:
        """Keeps a problem, once."""
        if problem not in self._known and len(self._known) < MAX_PROBLEMS:
            self._known.add(problem)
            self.problems.append(problem)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`. FormatError where the evidence cannot give them."""
        try:
            return self.reader.read(offset, size)
        except EvidenceError as error:
            raise FormatError(str(error), self.reader.name, offset) from error


def page_header(file: PageFile, pgid: int) -> Any | None:
    """The header at a page's place as it stands there, None where the file ends before it."""
    raw = file.read(pgid * file.page_size, HEADER)
    return file.layouts.page.parse(raw) if len(raw) == HEADER else None


def read_page(file: PageFile, pgid: int, taken: bytearray | None = None) -> Page:
    """A branch or leaf page. FormatError where nothing of it can be used.

    taken: marks pages that belong to others, so that no content is looked for from the first of them on.
    """
    offset = pgid * file.page_size
    if not 2 <= pgid < file.limit:
        raise FormatError(f"page {pgid} is outside the {file.limit} pages of the file", file.reader.name, offset)
    raw = file.read(offset, file.page_size)
    if len(raw) < HEADER:
        raise FormatError(f"page {pgid} is cut off", file.reader.name, offset)
    header = file.layouts.page.parse(raw)
    if header.id != pgid:
        raise FormatError(f"page {pgid} calls itself page {header.id}", file.reader.name, offset)
    if header.flags not in (BRANCH, LEAF):
        raise FormatError(f"page {pgid} is no branch or leaf page but has flags 0x{header.flags:02x}", file.reader.name, offset)
    end = min(pgid + header.overflow + 1, file.limit)
    foreign = taken.find(1, pgid + 1, end) if taken is not None else -1
    size = min(((end if foreign < 0 else foreign) - pgid) * file.page_size, file.reader.size - offset)
    data: bytes | Window = raw
    if size > PRELOAD:
        data = Window(file.reader, offset, size)
    elif size > len(raw):
        data = file.read(offset, size)
    return _decode(file, header, pgid, data, 0, offset)


def inline_page(file: PageFile, pgid: int, value: bytes | Window, base: int, stop: int, offset: int) -> Page:
    """The leaf page of an inline bucket, whose header stands at `base` in the data of page `pgid` and which ends at `stop`."""
    where = offset + base
    raw = value[base : base + HEADER]
    if stop - base < HEADER or len(raw) < HEADER:
        raise FormatError(f"an inline bucket in page {pgid} is cut off", file.reader.name, where)
    header = file.layouts.page.parse(raw)
    if header.id != 0 or header.flags != LEAF or header.overflow != 0:
        raise FormatError(f"an inline bucket in page {pgid} does not begin with a leaf page's header", file.reader.name, where)
    return _decode(file, header, pgid, value, base, offset, stop)


def _decode(
    file: PageFile, header: Any, pgid: int, data: bytes | Window, base: int, offset: int, stop: int | None = None
) -> Page:
    end = len(data) if stop is None else stop
    kind = "leaf" if header.flags == LEAF else "branch"
    if header.flags == LEAF:
        elements, content, bad = _leaf_elements(file.layouts, data, base, header.count, end)
        children: tuple[tuple[bytes | None, int], ...] = ()
    else:
        elements = []
        children, content, bad = _branch_elements(file.layouts, data, base, header.count, end)
    damaged = None
    if bad:
        damaged = Problem(f"{len(bad)} of the {header.count} elements of {kind} page {pgid} are damaged", pgid, offset + bad[0])
    elif header.flags == BRANCH and not header.count:
        damaged = Problem(f"branch page {pgid} has no elements", pgid, offset + base)
    elif header.overflow > content // file.page_size:
        what = f"page {pgid} claims {header.overflow} overflow pages and has content for {content // file.page_size}"
        damaged = Problem(what, pgid, offset + base)
    pages = min(header.overflow, content // file.page_size) + 1
    return Page(pgid, header.flags == LEAF, data, base, offset, pages, elements, children, damaged)


def _leaf_elements(
    layouts: Layouts, data: bytes | Window, base: int, count: int, end: int
) -> tuple[list[LeafElement], int, list[int]]:
    """The sound elements, the bytes from `base` to the end of the content, and where the damaged elements stand in `data`."""
    at = base + HEADER
    whole = min(count, max(0, end - at) // HEADER)
    table = data[at : at + HEADER * whole]
    whole = len(table) // HEADER
    elements = []
    expected = at + HEADER * count
    chained = whole == count
    for flags, pos, ksize, vsize in layouts.leaf_element.iter_unpack(table[: HEADER * whole]):
        start = at + pos
        value = start + ksize
        if start != expected or not ksize or flags > BUCKET_FLAG:
            chained = False
        expected = value + vsize
        elements.append((flags, start, value, expected))
        at += HEADER
    if chained and expected <= end:
        return elements, expected - base, []
    first = base + HEADER
    spans = [(start, stop, flags <= BUCKET_FLAG and value > start) for flags, start, value, stop in elements]
    sound, content = _sound(spans, first + HEADER * count, end)
    bad = [first + HEADER * i for i in range(count) if i >= whole or not sound[i]]
    return [element for i, element in enumerate(elements) if sound[i]], max(content, first) - base, bad


def _branch_elements(
    layouts: Layouts, data: bytes | Window, base: int, count: int, end: int
) -> tuple[tuple[tuple[bytes | None, int], ...], int, list[int]]:
    """As `_leaf_elements`, but a damaged element keeps its child, with None for its key."""
    at = base + HEADER
    whole = min(count, max(0, end - at) // HEADER)
    table = data[at : at + HEADER * whole]
    whole = len(table) // HEADER
    rows = list(layouts.branch_element.iter_unpack(table[: HEADER * whole]))
    spans = [(at + HEADER * i + pos, at + HEADER * i + pos + ksize, ksize > 0) for i, (pos, ksize, _) in enumerate(rows)]
    sound, content = _sound(spans, at + HEADER * count, end)
    bad = [at + HEADER * i for i in range(count) if i >= whole or not sound[i]]
    children = tuple((data[spans[i][0] : spans[i][1]] if sound[i] else None, row[2]) for i, row in enumerate(rows))
    return children, max(content, at) - base, bad


def _sound(spans: list[tuple[int, int, bool]], first: int, end: int) -> tuple[list[bool], int]:
    """Which elements' contents begin after the element table, and end where the next one's begins or the page ends.

    bbolt writes contents in order without gaps, so an element that breaks the chain has a wrong position or size.
    """
    sound, content = [], first
    for i, (start, stop, plausible) in enumerate(spans):
        follows = start >= first and (i > 0 or start == first)
        good = plausible and follows and stop <= end and (i + 1 == len(spans) or stop == spans[i + 1][0])
        sound.append(good)
        if good:
            content = max(content, stop)
    return sound, content


def freelist_ids(file: PageFile, pgid: int) -> Iterator[int]:
    """The ids of the free pages, as a freelist page lists them. FormatError where it is no freelist page or is cut off."""
    offset = pgid * file.page_size
    header = page_header(file, pgid) if 2 <= pgid < file.limit else None
    if header is None or header.id != pgid or header.flags != FREELIST:
        raise FormatError(f"page {pgid} is no freelist page", file.reader.name, offset)
    number = file.layouts.order + "Q"
    at, count = offset + HEADER, header.count
    if count == 0xFFFF:
        raw = file.read(at, 8)
        if len(raw) < 8:
            raise FormatError("the freelist is cut off", file.reader.name, at)
        (count,) = struct.unpack(number, raw)
        at += 8
    end = min(offset + min(header.overflow + 1, file.limit - pgid) * file.page_size, file.reader.size)
    if count > (end - at) // 8:
        raise FormatError(f"a freelist of {count} pages does not fit its own page", file.reader.name, offset)
    while count:
        part = min(count, 1 << 16)
        raw = file.read(at, 8 * part)
        if len(raw) < 8 * part:
            raise FormatError("the freelist is cut off", file.reader.name, at)
        yield from (ident for (ident,) in struct.iter_unpack(number, raw))
        at += 8 * part
        count -= part
