"""Pages of a SQLite database on their own: those that a rollback journal kept, and the rows in a table's leaf page.

Source of the layouts: sqlite.org/fileformat2.html, sections 1.6 (b-tree pages), 2.1 (record format), 3 (rollback journal). A
page that is no part of the database any more has no claim to be whole: every number in it is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from parsers.sqlite_file import ALL_RECORDS, JOURNAL_MAGIC, PAGE_SIZES, journal_header, journal_sum

LEAF_TABLE = 0x0D
HEADER = 8  # bytes of a leaf page's header
FIRST_PAGE = 100  # bytes of the database header before that of page 1
MAX_PAYLOAD = 16 << 20
FREED_MARK = b"\x81\x0d"
"""A text of 64 bytes as the first column's serial type: what the records of libpod's tables of containers begin with."""
MAX_COLUMNS = 64
MAX_COLUMNS_BEFORE = 512  # bytes of a row's other columns and its header
USUAL_PAGE = 4096  # what SQLite makes since 3.12
MAX_PAGES = 1 << 16

Value = int | bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row. offset: of its cell in the page. values: texts and blobs as bytes; floating point numbers are None.

    own: how much of the last value, a text or blob, stands in the row's own page. whole: the rest of it follows in other pages;
    where one of those is lost, the last value is what the own page has. That another page was not written anew since is not told.
    """

    offset: int
    values: tuple[Value, ...]
    own: int = 0
    whole: bool = True


def journal_pages(data: bytes) -> tuple[int, dict[int, tuple[int, bytes]]]:
    """The page size, and the pages that a journal kept: by number, where each one's content stands, and the content.

    A record with a wrong checksum ends them. Nothing where this is no journal.
    """
    pages: dict[int, tuple[int, bytes]] = {}
    size = at = 0
    while data[at : at + len(JOURNAL_MAGIC)] == JOURNAL_MAGIC and len(pages) < MAX_PAGES:
        header = journal_header(data[at:])
        if header is None or header.page_size not in PAGE_SIZES or (header.sector not in PAGE_SIZES and header.sector != 32):
            break
        size = size or header.page_size
        at += header.sector
        left = (len(data) - at) // (size + 8)
        for _ in range(left if header.records == ALL_RECORDS else min(left, header.records)):
            number, content = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 4 + size]
            if int.from_bytes(data[at + 4 + size : at + 8 + size], "big") != journal_sum(header.nonce, content):
                return size, pages
            pages.setdefault(number, (at + 4, content))
            at += size + 8
        at = -(-at // header.sector) * header.sector
    return size, pages


def leaf_rows(page: bytes, number: int, page_of: Callable[[int], bytes | None]) -> Iterator[Row]:
    """The rows in a table's leaf page. page_of: other pages, for long values."""
    start = FIRST_PAGE if number == 1 else 0
    if page[start : start + 1] != bytes([LEAF_TABLE]):
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    for at in range(start + HEADER, min(start + HEADER + 2 * count, len(page) - 1), 2):
        offset = int.from_bytes(page[at : at + 2], "big")
        size, body = _varint(page, offset)
        _, body = _varint(page, body)
        payload = _content(page, body, size, page_of)
        types, header = _header(payload.content) if payload is not None else ([], 0)
        row = _row(offset, types, payload, header) if payload is not None else None
        if row is not None:
            yield row


def freed_rows(page: bytes, number: int, page_of: Callable[[int], bytes | None], columns: int) -> Iterator[Row]:
    """The rows deleted from a table's leaf page, of `columns` columns, the first a text of 64 bytes.

    SQLite puts the freed cell on a list whose four bytes write over its beginning (section 1.6, freeblocks), the sizes; what
    follows tells them again. A page that was given up with its last row has other numbers at its beginning (1.5, the
    freelist). Rows that are there are left out.
    """
    start = FIRST_PAGE if number == 1 else 0
    leaf = page[start : start + 1] == bytes([LEAF_TABLE])
    count = int.from_bytes(page[start + 3 : start + 5], "big") if leaf else 0
    pointers = range(start + HEADER, min(start + HEADER + 2 * count, len(page) - 1), 2)
    live = {_begin(page, int.from_bytes(page[at : at + 2], "big")) for at in pointers}
    at = page.find(FREED_MARK, start + HEADER + 2 * count if leaf else 1)
    while at >= 0:
        types, body = _types(page, at, columns)
        size = body - at + 1 + sum(map(_size, types))  # the byte before the types is their length
        if at not in live and len(types) == columns and size <= MAX_PAYLOAD:
            payload = _content(page, at - 1, size, page_of)
            row = _row(at - 1, types, payload, body - at + 1) if payload is not None else None
            if row is not None:
                yield row
        at = page.find(FREED_MARK, at + 1)


def record_before(block: bytes, at: int, page_size: int = USUAL_PAGE, columns: int = 4) -> Row | None:
    """The row of which the last column's text begins at a byte of a block, told by the record's header in front of it.

    block: a part of a file, in which pages may begin anywhere. own: how much of the text its page has, as the page's size says.
    """
    mark = block.rfind(FREED_MARK, max(0, at - MAX_COLUMNS_BEFORE), at)
    if mark < 1:
        return None
    types, body = _types(block, mark, columns)
    values = _values(types[:-1], block[body:at])
    text, size = _size(types[-1]), body - mark + 1 + sum(map(_size, types))
    if values is None or len(types) != columns or types[-1] < 13 or not 0 < size <= MAX_PAYLOAD:
        return None
    local = min(text, _local(page_size, size) - (at - mark + 1), len(block) - at)
    return Row(mark - 1, (*values, block[at : at + local]), local, local == text) if local > 0 else None


def _begin(page: bytes, offset: int) -> int:
    """Where the serial types of a cell's record stand: behind its size, its row's number and the header's length."""
    _, at = _varint(page, offset)
    _, at = _varint(page, at)
    return at + 1


def _types(page: bytes, at: int, columns: int) -> tuple[list[int], int]:
    """So many serial types, and where they end."""
    types: list[int] = []
    while len(types) < columns and at < len(page):
        kind, at = _varint(page, at)
        types.append(kind)
    return types, at


@dataclass(frozen=True, slots=True)
class _Payload:
    """A cell's content, or where the rest of it is lost, what its own page has. own: bytes in that page."""

    content: bytes
    own: int
    whole: bool


def _content(page: bytes, at: int, size: int, page_of: Callable[[int], bytes | None]) -> _Payload | None:
    """A payload put together from its page and the overflow pages behind it; None where its page does not hold its part."""
    if not 0 < size <= MAX_PAYLOAD or at >= len(page):
        return None
    local = _local(len(page), size)
    content = page[at : at + local]
    if len(content) < local:
        return None
    following = int.from_bytes(page[at + local : at + local + 4], "big") if local < size else 0
    parts, left, seen = [content], size - local, set[int]()
    while left > 0:
        overflow = page_of(following) if following and following not in seen else None
        if overflow is None or len(overflow) <= 4:
            return _Payload(content, local, False)
        seen.add(following)
        parts.append(overflow[4 : 4 + left])
        left -= len(parts[-1])
        following = int.from_bytes(overflow[:4], "big")
    return _Payload(b"".join(parts), local, True)


def _local(page_size: int, size: int) -> int:
    """How many of a payload's bytes stand in a table's leaf page; no page of libpod's database has reserved space."""
    most, least = page_size - 35, (page_size - 12) * 32 // 255 - 23
    if size <= most:
        return size
    kept = least + (size - least) % (page_size - 4)
    return kept if kept <= most else least


def _row(offset: int, types: Sequence[int], payload: _Payload, header: int) -> Row | None:
    """The row that a payload is, None where it is none. header: the bytes before its values."""
    body = payload.content[header:]
    if not types or not header:
        return None
    if not payload.whole:  # of the last value, a part
        missing = sum(map(_size, types)) - len(body)
        last = (_size(types[-1]) - missing) * 2 + 12 if types[-1] >= 12 and 0 <= missing < _size(types[-1]) else 0
        types = (*types[:-1], last) if last else ()
    values = _values(types, body) if types else None
    if values is None:
        return None
    last_value = values[-1]
    begin = len(body) - len(last_value) if isinstance(last_value, bytes) else len(body)
    return Row(offset, values, max(0, payload.own - header - begin), payload.whole)


def _header(payload: bytes) -> tuple[list[int], int]:
    """The serial types of a record's values, and where those begin; nothing where it is no record."""
    header, at = _varint(payload, 0)
    types: list[int] = []
    while at < header and len(types) < MAX_COLUMNS:
        kind, at = _varint(payload, at)
        types.append(kind)
    return (types, at) if types and at == header else ([], 0)


def _size(kind: int) -> int:
    """The bytes that a value of a serial type has."""
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind] if kind < 12 else (kind - 12) // 2


def _values(types: Sequence[int], content: bytes) -> tuple[Value, ...] | None:
    """The values of a record's body; None where they are not all of it."""
    values: list[Value] = []
    body = 0
    for kind in types:
        size = _size(kind)
        if body + size > len(content):
            return None
        value = content[body : body + size]
        body += size
        if kind in (8, 9):
            values.append(kind - 8)
        elif 1 <= kind <= 6:
            values.append(int.from_bytes(value, "big", signed=True))
        else:
            values.append(value if kind >= 12 else None)
    return tuple(values) if body == len(content) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends; behind the data's end it is 0."""
    value = 0
    for i in range(9):
        byte = data[at + i] if at + i < len(data) else 0
        if i == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value, at + 9
