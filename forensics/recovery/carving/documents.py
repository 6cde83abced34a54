"""JSON documents put together from blocks: the block that one begins in, and those that go on with it.

A document goes on in the next block where that continues it as JSON, and where what the document says fits together; else in
another block nearby, of which exactly one may complete it. What is not completed keeps its first block only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from forensics.filesystems.bulk.reading import Numbers
from forensics.recovery.carving.space import Space
from parsers.errors import EvidenceError
from parsers.json_scan import COMPLETE, INVALID, JsonScan

MAX_DOCUMENT = 1 << 20  # bytes; engines' own are of a few thousand
MAX_NEIGHBOURS = 64  # blocks on each side that are tried for a continuation
MAX_TRIES = 200_000  # blocks that are tried in one volume
MAX_SPLITS = 16  # places in one document where it may go on elsewhere


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text. offset: in its volume's source. blocks: where its parts begin.

    whole: it ends as JSON does. clean: nothing but zeros stands behind it in its last block, as behind a file's end. pieced: its
    blocks are not neighbours.
    """

    text: bytes
    offset: int
    blocks: tuple[int, ...]
    whole: bool
    clean: bool = False
    pieced: bool = False


@dataclass
class DocumentReader:
    """Reads the documents of one space. texts: blocks that may be the middle of one. tries: how many blocks were tried."""

    space: Space
    texts: Numbers
    tries: int = 0
    _blocks: dict[int, bytes] = field(default_factory=dict)

    def read(self, offset: int, fits: Callable[[bytes], bool]) -> Document | None:
        """The document that begins at a byte; None where there is none. fits: whether a whole text agrees with itself."""
        first = self._block(offset)
        scan = JsonScan().feed(first)
        if scan.state == INVALID:
            return None
        if scan.state == COMPLETE:
            return self._document([(offset, first)], scan)
        chain = self._follow([(offset, first)], scan)
        if chain is not None and fits(chain.text):
            return chain
        return self._pieced(offset, first, scan, fits) or Document(first.rstrip(b"\0"), offset, (offset,), False)

    def _follow(self, parts: list[tuple[int, bytes]], scan: JsonScan) -> Document | None:
        """On from the last of some parts through its neighbours; None where they do not complete it."""
        parts = list(parts)
        while scan.state not in (COMPLETE, INVALID):
            at = self._end(parts[-1])
            run = self.space.run(parts[-1][0])
            if run is None or at >= run[1] or scan.seen > MAX_DOCUMENT:
                return None
            block = self._block(at)
            if not block:
                return None  # the device ends there, or fails
            self.tries += 1
            parts.append((at, block))
            scan = scan.feed(block)
        return self._document(parts, scan) if scan.state == COMPLETE else None

    def _pieced(self, offset: int, first: bytes, scan: JsonScan, fits: Callable[[bytes], bool]) -> Document | None:
        """The one way to complete a document with blocks that do not follow each other."""
        parts = [(offset, first)]
        for _ in range(MAX_SPLITS):
            found: dict[bytes, Document] = {}
            for place in self._near(parts[-1][0]):
                if self.tries > MAX_TRIES:
                    return None
                self.tries += 1
                block = self._block(place)
                after = scan.feed(block)
                if after.state == INVALID or place in (at for at, _ in parts):
                    continue
                document = self._follow([*parts, (place, block)], after)
                if document is not None and document.clean and fits(document.text):
                    found.setdefault(document.text, document)
            if found:
                return next(iter(found.values())) if len(found) == 1 else None
            at = self._end(parts[-1])
            run = self.space.run(parts[-1][0])
            if run is None or at >= run[1]:
                return None
            parts.append((at, self._block(at)))
            scan = scan.feed(parts[-1][1])
            if scan.state in (COMPLETE, INVALID):
                return None
        return None

    def _near(self, offset: int) -> list[int]:
        """Blocks of text around a place but for the one behind it, the nearest first."""
        low, high = (int(np.searchsorted(self.texts, offset, side)) for side in ("left", "right"))
        places = self.texts[max(0, low - MAX_NEIGHBOURS) : high + MAX_NEIGHBOURS].tolist()
        behind = offset // self.space.block_size * self.space.block_size + self.space.block_size
        others = (place for place in places if place not in (offset, behind))
        return sorted(others, key=lambda place: (abs(place - offset), place))

    def _document(self, parts: list[tuple[int, bytes]], scan: JsonScan) -> Document:
        data = b"".join(block for _, block in parts)
        blocks = tuple(at for at, _ in parts)
        pieced = any(self._end(before) != after[0] for before, after in pairwise(parts))
        clean = not data[scan.end :].strip(b"\n\0")
        return Document(data[: scan.end], parts[0][0], blocks, True, clean, pieced)

    def _end(self, part: tuple[int, bytes]) -> int:
        return part[0] + len(part[1])

    def _block(self, offset: int) -> bytes:
        """From a byte to the end of its block; nothing where the device fails."""
        known = self._blocks.get(offset)
        if known is None:
            size = self.space.block_size - offset % self.space.block_size
            try:
                known = self.space.source.read(offset, size)
            except EvidenceError:
                known = b""
            if len(self._blocks) >= 4096:
                self._blocks.clear()
            self._blocks[offset] = known
        return known
