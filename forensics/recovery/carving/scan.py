"""One look at every block that is searched: where something may begin, told by its first bytes. Nothing is believed here.

Blocks are compared as columns of numbers, and only what is no row of zeros is searched for the few texts that begin anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers
from forensics.recovery.carving.space import Space
from forensics.source import Source
from parsers.bbolt import MAGIC, VERSION
from parsers.bbolt_layouts import BRANCH, BUCKET_FLAG, HEADER, LEAF, MAX_PAGES, META
from parsers.errors import EvidenceError, FormatError
from parsers.sqlite_file import JOURNAL_MAGIC

OBJECT, ARRAY, JOURNAL, TEXT, PAGE, ELF, SCRIPT = "object", "array", "journal", "text", "page", "elf", "script"
"""What a block may begin with: a JSON object, an array of such, a rollback journal of SQLite's, text that began elsewhere, a
page of a bbolt file, an ELF file, a script."""

SPEC, TAIL = b'{"ociVersion":"', b'"HostsPath":"'
RECORD, LOCK = b'},{"id":"', b'","lockID":'
"""What stands between two records of containers/storage's lists, and behind the name of a container of libpod's."""

JSON_LINE, STDOUT_LINE, STDERR_LINE = b'","stream":"std', b" stdout F ", b" stderr F "
LOG_LINES = (JSON_LINE, STDOUT_LINE, STDERR_LINE)
"""What stands in the middle of a line of Docker's json-file, and of the CRI's logs."""

ANYWHERE = (SPEC, TAIL, RECORD, LOCK, *LOG_LINES)
"""Texts that are looked for at every byte; one hit in a block is enough."""

HEAD = 32  # bytes of a block that are looked at
OVERLAP = 64  # bytes of the piece before that are looked at again with the next
MOST = 1 << 20  # hits of one kind in one volume; those after it are counted only
CHUNK = 4 << 20
SPAN = 64 << 10  # bytes that are searched or skipped together

_ZEROS = bytes(SPAN)
_U16, _U32 = np.uint64(0xFFFF), np.uint64(0xFFFFFFFF)
_META = np.uint64(VERSION << 32 | MAGIC)
_OBJECT, _ARRAY = int.from_bytes(b'{"', "little"), int.from_bytes(b"[{", "little")
_BROKEN = int.from_bytes(b"{\n", "little")  # an object that is written with line breaks
_ELF, _SCRIPT = np.uint64(int.from_bytes(b"\x7fELF", "little")), int.from_bytes(b"#!", "little")
_JOURNAL = np.uint64(int.from_bytes(JOURNAL_MAGIC, "little"))
_PRINTABLE = np.uint64(0x8080808080808080)
_SPACES = np.uint64(0x2020202020202020)

Words = NDArray[np.uint64]


@dataclass
class Hits:
    """Where something may begin in one volume, by kind or text: bytes in its source, ascending. more: hits that were too many."""

    space: Space
    found: dict[str | bytes, list[int]] = field(default_factory=dict)
    texts: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    more: int = 0
    unreadable: list[int] = field(default_factory=list)

    def of(self, kind: str | bytes) -> list[int]:
        """The hits of one kind."""
        return self.found.get(kind, [])


class Scanner:
    """Looks at the pieces of one volume as they are read, in order; what lies outside of the space is passed over."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._found: dict[str | bytes, list[Numbers]] = {}
        self._counts: dict[str | bytes, int] = {}
        self._more = 0
        self._tail, self._tail_end = b"", 0
        self._unreadable: list[int] = []

    def look(self, position: int, data: bytes) -> None:
        """The bytes at a position of the volume's source."""
        if self._tail and self._tail_end == position:
            data, position = self._tail + data, position - len(self._tail)
        self._tail, self._tail_end = data[-OVERLAP:], position + len(data)
        starts, ends = self.space.starts, self.space.ends
        first, last = int(np.searchsorted(ends, position, "right")), int(np.searchsorted(starts, position + len(data)))
        for at in range(first, last):
            low, high = max(int(starts[at]), position), min(int(ends[at]), position + len(data))
            self._blocks(data, position, low, high)
            self._anywhere(data, position, low, high)

    def look_within(self, position: int, data: bytes) -> None:
        """As look, of a piece of the evidence that may begin before the volume or end behind it."""
        before = max(0, -position)
        inside = data[before : before + max(0, self.space.source.size - position - before)]
        if inside:
            self.look(position + before, inside)

    def unreadable(self, position: int) -> None:
        """A place that the device did not give."""
        self._unreadable.append(position)

    def hits(self) -> Hits:
        """What was seen."""
        found: dict[str | bytes, list[int]] = {}
        texts = np.zeros(0, np.int64)
        for kind, parts in self._found.items():
            places = np.unique(np.concatenate(parts))
            if kind == TEXT:
                texts = places
            else:
                found[kind] = places.tolist()
        return Hits(self.space, found, texts, self._more, self._unreadable)

    def _blocks(self, data: bytes, position: int, low: int, high: int) -> None:
        """What blocks between two bytes begin with."""
        size = self.space.block_size
        start = -(-low // size) * size
        count = (high - start - HEAD) // size + 1 if high - start >= HEAD else 0
        if count <= 0:
            return
        words = np.frombuffer(data, "<u8", count=((count - 1) * size + HEAD) // 8, offset=start - position)
        heads = words[:: size // 8]
        if not heads.any():
            return
        pair = heads & np.uint64(0xFFFF)
        places = start + np.arange(count, dtype=np.int64) * size
        self._add(OBJECT, places[(pair == _OBJECT) | (pair == _BROKEN)])
        self._add(ARRAY, places[pair == _ARRAY])
        self._add(JOURNAL, places[heads == _JOURNAL])
        self._add(ELF, places[heads & _U32 == _ELF])
        self._add(SCRIPT, places[pair == _SCRIPT])
        self._add(TEXT, places[_printable(heads) & (pair != _OBJECT)])
        self._add(PAGE, places[_pages(heads, words[1 :: size // 8], words[2 :: size // 8])])

    def _anywhere(self, data: bytes, position: int, low: int, high: int) -> None:
        """Where texts stand that may begin at any byte, in the spans that are not all zeros."""
        for span in range(low, high, SPAN):
            stop = min(high, span + SPAN)
            if data.startswith(_ZEROS[: stop - span], span - position):
                continue
            for text in ANYWHERE:
                self._find(text, data, position, max(low, span - len(text)), stop)

    def _find(self, text: bytes, data: bytes, position: int, low: int, high: int) -> None:
        size = self.space.block_size
        places = []
        at = data.find(text, low - position, high - position)
        while at >= 0:
            places.append(position + at)
            following = (position + at) // size * size + size  # one in a block is enough
            at = data.find(text, max(following - position, at + 1), high - position)
        if places:
            self._add(text, np.array(places, np.int64))

    def _add(self, kind: str | bytes, places: Numbers) -> None:
        if not len(places):
            return
        room = MOST - self._counts.get(kind, 0)
        self._more += max(0, len(places) - room) if kind != TEXT else 0
        self._counts[kind] = self._counts.get(kind, 0) + len(places[:room])
        self._found.setdefault(kind, []).append(places[:room])


def scan_space(
    space: Space, advance: Callable[[int], object], data_from: Callable[[int], int] = lambda position: position
) -> Hits:
    """Reads all of a space, in the order in which it lies.

    advance hears of each number of bytes that was done. data_from: the first place from a given one on that is to be read;
    what is before it is known to be zeros.
    """
    scanner = Scanner(space)
    for start, end in zip(space.starts.tolist(), space.ends.tolist(), strict=True):
        position = start
        while position < end:
            first = min(end, data_from(position))
            wanted = min(CHUNK, end - first)
            if wanted:
                look_at(scanner, space.source, first, wanted)
            advance(first + wanted - position)
            position = first + wanted
    return scanner.hits()


def look_at(scanner: Scanner, source: Source, position: int, size: int) -> None:
    """Looks at a part of a source, and where it cannot be read as a whole, at the pieces of it that can."""
    try:
        scanner.look(position, source.read(position, size))
        return
    except (EvidenceError, FormatError):
        if size <= SPAN:
            scanner.unreadable(position)
            return
    for piece in range(position, position + size, SPAN):
        look_at(scanner, source, piece, min(SPAN, position + size - piece))


def scanners_for(all_spaces: Sequence[Space], start: int, size: int) -> list[tuple[int, Scanner]]:
    """A scanner for each space that lies in one piece in a part of the evidence, with the place where its volume begins."""
    return [
        (space.offset, Scanner(space))
        for space in all_spaces
        if space.offset is not None and start <= space.offset and space.offset + space.source.size <= start + size
    ]


def _pages(ids: Words, heads: Words, firsts: Words) -> NDArray[np.bool_]:
    """Which blocks begin as a page of a bbolt file does: see parsers.bbolt_layouts, and bbolt_carved for the first element."""
    flags, count, overflow = heads & _U16, heads >> np.uint64(16) & _U16, heads >> np.uint64(32)
    pages = (ids >= 2) & (ids < MAX_PAGES) & (count > 0) & (overflow < _U16)
    position = np.where(flags == LEAF, firsts >> np.uint64(32), firsts & _U32)
    known = (flags == BRANCH) | ((flags == LEAF) & (firsts & _U32 <= BUCKET_FLAG))
    metas = (ids < 2) & (flags == META) & (firsts == _META)
    found: NDArray[np.bool_] = (pages & known & (position == count * np.uint64(HEADER))) | metas
    return found


def _printable(heads: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which blocks begin with eight characters of ASCII text: none has its highest bit set, none is below a space."""
    high = (heads & _PRINTABLE) == 0
    text: NDArray[np.bool_] = high & (((heads | _PRINTABLE) - _SPACES) & _PRINTABLE == _PRINTABLE)
    return text
