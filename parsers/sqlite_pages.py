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
MAX_PAGES = 1 << 16

Value = int | bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row. offset: of its cell in the page. values: texts and blobs as bytes; floating point numbers are None."""

    offset: int
    values: tuple[Value, ...]


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
    """The rows in a table's leaf page; those of which a part is lost are left out. page_of: other pages, for long values."""
    start = FIRST_PAGE if number == 1 else 0
    if page[start : start + 1] != bytes([LEAF_TABLE]):
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    for at in range(start + HEADER, min(start + HEADER + 2 * count, len(page) - 1), 2):
        offset = int.from_bytes(page[at : at + 2], "big")
        payload = _payload(page, offset, page_of)
        values = _record(payload) if payload is not None else None
        if values is not None:
            yield Row(offset, values)


def freed_rows(page: bytes, number: int, page_of: Callable[[int], bytes | None], columns: int) -> Iterator[Row]:
    """The rows deleted from a table's leaf page, of `columns` columns, the first a text of 64 bytes.

    SQLite puts the freed cell on a list whose four bytes write over its beginning (section 1.6, freeblocks), the sizes; what
    follows tells them again. A page that was given up with its last row has other numbers at its beginning (1.5, the
    freelist). Rows that are there, and those of which a part is lost, are left out.
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
            values = _values(types, payload[body - at + 1 :]) if payload is not None else None
            if values is not None:
                yield Row(at - 1, values)
        at = page.find(FREED_MARK, at + 1)


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


def _payload(page: bytes, offset: int, page_of: Callable[[int], bytes | None]) -> bytes | None:
    """A cell's payload, put together from its page and the overflow pages behind it."""
    size, at = _varint(page, offset)
    _, at = _varint(page, at)
    return _content(page, at, size, page_of)


def _content(page: bytes, at: int, size: int, page_of: Callable[[int], bytes | None]) -> bytes | None:
    if not 0 < size <= MAX_PAYLOAD or at >= len(page):
        return None
    local = _local(len(page), size)
    content = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big") if local < size else 0
    parts, left, seen = [content], size - len(content), set[int]()
    while left > 0:
        overflow = page_of(following) if following and following not in seen else None
        if overflow is None or len(content) < local:
            return None
        seen.add(following)
        parts.append(overflow[4 : 4 + left])
        left -= len(parts[-1])
        following = int.from_bytes(overflow[:4], "big")
        if len(parts[-1]) == 0:
            return None
    return b"".join(parts)


def _local(page_size: int, size: int) -> int:
    """How many of a payload's bytes stand in a table's leaf page; no page of libpod's database has reserved space."""
    most, least = page_size - 35, (page_size - 12) * 32 // 255 - 23
    if size <= most:
        return size
    kept = least + (size - least) % (page_size - 4)
    return kept if kept <= most else least


def _record(payload: bytes) -> tuple[Value, ...] | None:
    """The values of a record, None where it is none."""
    header, at = _varint(payload, 0)
    types: list[int] = []
    while at < header and len(types) < MAX_COLUMNS:
        kind, at = _varint(payload, at)
        types.append(kind)
    return _values(types, payload[header:]) if types and at == header else None


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
