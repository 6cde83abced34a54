"""Pages of a bbolt file: one branch or leaf page read and checked.

Source: go.etcd.io/bbolt v1.3.6, page.go, node.go (write). A page is one buffer of (overflow + 1) * pageSize bytes: a 16-byte
header, `count` elements of 16 bytes, then each element's key and value, one after the other without a gap. An element's `pos`
counts from the element itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parsers.bbolt_layouts import BRANCH, BUCKET_FLAG, HEADER, LEAF, Layouts, PageFile, Problem
from parsers.errors import FormatError

PRELOAD = 1 << 20  # a page of more bytes is not held in memory as a whole


class Window:
    """A page too large to hold: slices of it are read when asked for. FormatError where the evidence cannot give them."""

    def __init__(self, file: PageFile, offset: int, size: int) -> None:
        self.file, self.offset, self.size = file, offset, size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        data = self.file.read(self.offset + start, max(0, stop - start))
        if len(data) < stop - start:
            raise FormatError("the file ends within a page", self.file.reader.name, self.offset + start + len(data))
        return data

    def __len__(self) -> int:
        return self.size


LeafElement = tuple[int, int, int, int]
"""flags, start of the key, start of the value, end of the value: positions in the page's data."""


class Page(NamedTuple):
    """A branch or leaf page.

    base: where the header stands in `data` (not 0 in an inline bucket). offset: of `data` in the file. pages: how many pages its
    content really takes. leaf, children: the sound elements. cut: leaf elements whose key is there and whose value runs out of
    the page. damaged: what is wrong with the page, where parts of it can be used all the same.
    """

    id: int
    is_leaf: bool
    data: bytes | Window
    base: int
    offset: int
    pages: int
    leaf: Sequence[LeafElement] = ()
    children: Sequence[tuple[bytes | None, int]] = ()
    cut: Sequence[LeafElement] = ()
    damaged: Problem | None = None


class _Decoded(NamedTuple):
    """Elements of one page. content: position of the end of what they hold. bad: how many are
    damaged, and the position of the first of them.
    """

    leaf: Sequence[LeafElement] = ()
    children: Sequence[tuple[bytes | None, int]] = ()
    cut: Sequence[LeafElement] = ()
    content: int = 0
    bad: tuple[int, int] = (0, 0)


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
    header = file.layouts.page.unpack(raw)
    ident, flags, _, overflow = header
    if ident != pgid:
        raise FormatError(f"page {pgid} calls itself page {ident}", file.reader.name, offset)
    if flags not in (BRANCH, LEAF):
        raise FormatError(f"page {pgid} is no branch or leaf page but has flags 0x{flags:02x}", file.reader.name, offset)
    end = min(pgid + overflow + 1, file.limit)
    foreign = taken.find(1, pgid + 1, end) if taken is not None else -1
    size = min(((end if foreign < 0 else foreign) - pgid) * file.page_size, file.reader.size - offset)
    data: bytes | Window = raw
    if size > PRELOAD:
        data = Window(file, offset, size)
    elif size > len(raw):
        data = file.read(offset, size)
    return _decode(file, header, pgid, data, 0, offset)


def inline_page(file: PageFile, pgid: int, value: bytes | Window, base: int, stop: int, offset: int) -> Page:
    """The leaf page of an inline bucket, whose header stands at `base` in the data of page `pgid` and which ends at `stop`."""
    where = offset + base
    raw = value[base : base + HEADER]
    if stop - base < HEADER or len(raw) < HEADER:
        raise FormatError(f"an inline bucket in page {pgid} is cut off", file.reader.name, where)
    header = file.layouts.page.unpack(raw)
    ident, flags, _, overflow = header
    if ident != 0 or flags != LEAF or overflow != 0:
        raise FormatError(f"an inline bucket in page {pgid} does not begin with a leaf page's header", file.reader.name, where)
    return _decode(file, header, pgid, value, base, offset, stop)


def _decode(
    file: PageFile, header: tuple[int, ...], pgid: int, data: bytes | Window, base: int, offset: int, stop: int | None = None
) -> Page:
    end = len(data) if stop is None else stop
    _, flags, count, overflow = header
    is_leaf = flags == LEAF
    got = (_leaf_elements if is_leaf else _branch_elements)(file.layouts, data, base, count, end)
    needed = (got.content - base) // file.page_size
    damaged = None
    bad, first_bad = got.bad
    if bad:
        damaged = Problem(f"{bad} of the {count} elements of page {pgid} are damaged", pgid, offset + first_bad)
    elif not is_leaf and not count:
        damaged = Problem(f"branch page {pgid} has no elements", pgid, offset + base)
    elif overflow > needed:
        what = f"page {pgid} claims {overflow} overflow pages and has content for {needed}"
        damaged = Problem(what, pgid, offset + base)
    pages = min(overflow, needed) + 1
    return Page(pgid, is_leaf, data, base, offset, pages, got.leaf, got.children, got.cut, damaged)


def _leaf_elements(layouts: Layouts, data: bytes | Window, base: int, count: int, end: int) -> _Decoded:
    at = base + HEADER
    first = expected = at + HEADER * count
    table = _table(data, at, count, end)
    elements = []
    chained = len(table) == HEADER * count
    for flags, pos, ksize, vsize in layouts.leaf_element.rows(table):
        start = at + pos
        value = start + ksize
        if start != expected or not ksize or flags > BUCKET_FLAG:
            chained = False
        expected = value + vsize
        elements.append((flags, start, value, expected))
        at += HEADER
    if chained and expected <= end:
        return _Decoded(leaf=elements, content=expected)
    sound = _sound([(start, stop, flags <= BUCKET_FLAG and value > start) for flags, start, value, stop in elements], first)
    whole = [element for element, good in zip(elements, sound, strict=True) if good and element[3] <= end]
    cut = [element for element, good in zip(elements, sound, strict=True) if good and element[2] <= end < element[3]]
    bad = _bad(base, count, [good and element[3] <= end for element, good in zip(elements, sound, strict=True)])
    return _Decoded(leaf=whole, cut=cut, content=min(end, max((element[3] for element in whole + cut), default=first)), bad=bad)


def _branch_elements(layouts: Layouts, data: bytes | Window, base: int, count: int, end: int) -> _Decoded:
    """A damaged element keeps its child, with None for its key."""
    at = base + HEADER
    first = at + HEADER * count
    rows = list(layouts.branch_element.rows(_table(data, at, count, end)))
    spans = [(at + HEADER * i + pos, at + HEADER * i + pos + ksize, ksize > 0) for i, (pos, ksize, _) in enumerate(rows)]
    sound = [good and stop <= end for good, (_, stop, _) in zip(_sound(spans, first), spans, strict=True)]
    children = [
        (data[start:stop] if good else None, child)
        for (start, stop, _), (_, _, child), good in zip(spans, rows, sound, strict=True)
    ]
    content = max((stop for (_, stop, _), good in zip(spans, sound, strict=True) if good), default=first)
    return _Decoded(children=children, content=min(content, end), bad=_bad(base, count, sound))


def _table(data: bytes | Window, at: int, count: int, end: int) -> bytes:
    """The whole elements of the element table that begins at `at`, as many as there are before `end`."""
    table = data[at : at + HEADER * min(count, max(0, end - at) // HEADER)]
    return table[: len(table) // HEADER * HEADER]


def _sound(spans: Sequence[tuple[int, int, bool]], first: int) -> list[bool]:
    """Which elements' contents begin behind the element table and end where the next one's begins.

    bbolt writes contents in order without gaps, so an element that breaks the chain has a wrong position or size.
    """
    sound, reached = [], first
    for i, (start, stop, plausible) in enumerate(spans):
        begins = start == first if i == 0 else start >= reached
        sound.append(plausible and begins and (i + 1 == len(spans) or stop == spans[i + 1][0]))
        if sound[-1]:
            reached = stop
    return sound


def _bad(base: int, count: int, sound: Sequence[bool]) -> tuple[int, int]:
    """How many elements are damaged, those that the page is too short for included, and where the first of them stands."""
    first = next((i for i, good in enumerate(sound) if not good), len(sound))
    return count - sum(sound), base + HEADER * (first + 1)
