"""A SQLite database file with its rollback journal or write-ahead log: the bytes that SQLite itself would read.

Source of the layouts: sqlite.org/fileformat2.html, sections 1.3 (database header), 3 (rollback journal) and 4 (write-ahead log).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from construct import Bytes, Int8ub, Int16ub, Int32ub, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

HEADER = Struct(
    "magic" / Bytes(16),
    "page_size" / Int16ub,
    "write_version" / Int8ub,
    "read_version" / Int8ub,
    "reserved" / Int8ub,
    "fractions" / Bytes(3),
    "change_counter" / Int32ub,
    "pages" / Int32ub,
)
JOURNAL = Struct(
    "magic" / Bytes(8),
    "records" / Int32ub,
    "nonce" / Int32ub,
    "pages" / Int32ub,
    "sector_size" / Int32ub,
    "page_size" / Int32ub,
)
WAL = Struct(
    "magic" / Int32ub,
    "version" / Int32ub,
    "page_size" / Int32ub,
    "checkpoint" / Int32ub,
    "salt1" / Int32ub,
    "salt2" / Int32ub,
    "sum1" / Int32ub,
    "sum2" / Int32ub,
)
FRAME = Struct("page" / Int32ub, "commit" / Int32ub, "salt1" / Int32ub, "salt2" / Int32ub, "sum1" / Int32ub, "sum2" / Int32ub)
MAGIC = b"SQLite format 3\0"
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
WAL_MAGIC = 0x377F0682  # its lowest bit: checksums of big-endian words
ALL_RECORDS = 0xFFFFFFFF
MAX_GROWTH = 64 << 20  # bytes by which a page may lie behind the end: free pages are in no log
PAGE_SIZES = frozenset(1 << bit for bit in range(9, 17))

_JOURNAL, _WAL, _FRAME = Layout(JOURNAL), Layout(WAL), Layout(FRAME)


class JournalHeader(NamedTuple):
    """The head of a rollback journal's segment. records: ALL_RECORDS where the journal's length tells."""

    records: int
    nonce: int
    pages: int
    sector: int
    page_size: int


def journal_header(data: bytes) -> JournalHeader | None:
    """The header that some bytes begin with; None where they are too short."""
    if len(data) < JOURNAL.sizeof():
        return None
    _, records, nonce, pages, sector, page_size = _JOURNAL.unpack(data[: JOURNAL.sizeof()])
    return JournalHeader(records, nonce, pages, sector, page_size)


def database_image(data: bytes, journal: bytes, log: bytes, problems: list[str]) -> bytes:
    """The database with a hot journal rolled back, or with the log's committed frames; marked as one without a log.

    What does not fit is told in `problems`. Raises FormatError where there is no database.
    """
    if not data.startswith(MAGIC) or len(data) < HEADER.sizeof():
        raise FormatError(f"no SQLite database, it begins with {data[:16]!r}", offset=0)
    header = HEADER.parse(data[: HEADER.sizeof()])
    page_size = 65536 if header.page_size == 1 else header.page_size
    if page_size not in PAGE_SIZES:
        raise FormatError(f"a page size of {page_size}", offset=16)
    image = bytearray(data)
    if journal.startswith(JOURNAL_MAGIC):
        _roll_back(image, journal, page_size, problems)
    if len(log) > WAL.sizeof() and header.read_version == 2:
        _replay(image, log, page_size, problems)
    image[18:20] = b"\1\1"
    return bytes(image)


def _roll_back(image: bytearray, journal: bytes, page_size: int, problems: list[str]) -> None:
    """Put back the pages that the journal kept. Its segments begin at sectors; a record with a wrong checksum ends it."""
    at = 0
    pages = None
    while journal[at : at + 8] == JOURNAL_MAGIC and at + JOURNAL.sizeof() <= len(journal):
        _, records, nonce, before, sector, size = _JOURNAL.unpack(journal[at : at + JOURNAL.sizeof()])
        if size != page_size or (sector not in PAGE_SIZES and sector != 32):
            problems.append(f"its journal is for pages of {size} bytes in sectors of {sector}; not rolled back")
            return
        pages = before if pages is None else pages
        at += sector
        left = (len(journal) - at) // (page_size + 8) if records == ALL_RECORDS else records
        for _ in range(left):
            record = journal[at : at + page_size + 8]
            if len(record) < page_size + 8:
                break
            page, content = int.from_bytes(record[:4], "big"), record[4:-4]
            if int.from_bytes(record[-4:], "big") != journal_sum(nonce, content):
                break
            if 0 < page <= before:
                _put(image, page, content, page_size)
            at += page_size + 8
        at = -(-at // sector) * sector
    if pages is not None and pages * page_size < len(image):
        del image[pages * page_size :]


def journal_sum(nonce: int, content: bytes) -> int:
    """pager.c, pager_cksum: every 200th byte, from the end."""
    return (nonce + sum(content[len(content) - 200 : 0 : -200])) & 0xFFFFFFFF


def _replay(image: bytearray, log: bytes, page_size: int, problems: list[str]) -> None:
    """Put the committed frames of a write-ahead log in their places."""
    magic, _, size, _, _, _, _, _ = _WAL.unpack(log[: WAL.sizeof()])
    if magic & ~1 != WAL_MAGIC or size != page_size:
        problems.append("its write-ahead log is none, or for other pages; not applied")
        return
    pending: dict[int, bytes] = {}
    for _, page, commit, content in _frames(log, page_size):
        pending[page] = content
        if commit:
            for number, content_of in sorted(pending.items()):
                if number <= commit:
                    _put(image, number, content_of, page_size)
            del image[commit * page_size :]
            pending.clear()


def log_pages(log: bytes, page_size: int) -> Iterator[tuple[int, int, bytes]]:
    """Every version of a page in a write-ahead log, the oldest first: where it stands, its number and its content."""
    if len(log) > WAL.sizeof() and _WAL.unpack(log[: WAL.sizeof()])[0] & ~1 == WAL_MAGIC and page_size in PAGE_SIZES:
        for at, page, _, content in _frames(log, page_size):
            yield at, page, content


def _frames(log: bytes, page_size: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Each frame up to the first that is not valid: where its content stands, which page's, and what it is.

    Between these, the size of the database after a commit, else 0.
    """
    magic, _, _, _, salt1, salt2, sum1, sum2 = _WAL.unpack(log[: WAL.sizeof()])
    order = ">" if magic & 1 else "<"
    sums = _wal_sum(order, log[:24], (0, 0))
    if sums != (sum1, sum2):
        return
    step = FRAME.sizeof() + page_size
    for at in range(WAL.sizeof(), len(log) - step + 1, step):
        head = log[at : at + FRAME.sizeof()]
        content = log[at + FRAME.sizeof() : at + step]
        page, commit, frame1, frame2, sum1, sum2 = _FRAME.unpack(head)
        sums = _wal_sum(order, head[:8] + content, sums)
        if (frame1, frame2) != (salt1, salt2) or sums != (sum1, sum2) or page == 0:
            return
        yield at + FRAME.sizeof(), page, commit, content


def _wal_sum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    s0, s1 = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x0, x1 in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + x0 + s1) & 0xFFFFFFFF
        s1 = (s1 + x1 + s0) & 0xFFFFFFFF
    return s0, s1


def _put(image: bytearray, page: int, content: bytes, page_size: int) -> None:
    """Write a page; one behind the end makes the database longer, one much farther off is no page of it."""
    at = (page - 1) * page_size
    if at > 2 * len(image) + MAX_GROWTH:
        return
    if at > len(image):
        image.extend(bytes(at - len(image)))
    image[at : at + page_size] = content
