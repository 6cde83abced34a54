"""A filesystem's bytes with what the log holds in their place: what a mount would leave on the disk."""

from __future__ import annotations

from bisect import bisect_left

from forensics.source import Source
from parsers.xfs_log import BASIC_BLOCK


class Replayed:
    """`source` seen through basic blocks that were changed; sealed before it is read by offset."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._changed: dict[int, bytes] = {}
        self._blocks: list[int] | None = None

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.source.size

    def __len__(self) -> int:
        return len(self._changed)

    def write(self, block: int, data: bytes) -> None:
        """Put basic blocks in the place of the source's; those beyond its end are left out."""
        self._blocks = None
        for at in range(0, len(data), BASIC_BLOCK):
            number = block + at // BASIC_BLOCK
            if (number + 1) * BASIC_BLOCK <= self.source.size:
                self._changed[number] = data[at : at + BASIC_BLOCK]

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset` as they are after replay."""
        if self._blocks is None:
            self._blocks = sorted(self._changed)
        first = bisect_left(self._blocks, offset // BASIC_BLOCK)
        last = bisect_left(self._blocks, -(-(offset + size) // BASIC_BLOCK), first)
        if first == last:
            return self.source.read(offset, size)
        data = bytearray(self.source.read(offset, size))
        end = offset + len(data)
        for block in self._blocks[first:last]:
            start, stop = max(block * BASIC_BLOCK, offset), min((block + 1) * BASIC_BLOCK, end)
            if start < stop:
                base = block * BASIC_BLOCK
                data[start - offset : stop - offset] = self._changed[block][start - base : stop - base]
        return bytes(data)

    def current(self, block: int, count: int) -> bytes:
        """Basic blocks as they are so far; shorter where the source ends."""
        parts = [self._changed.get(number) for number in range(block, block + count)]
        if all(part is not None for part in parts):
            return b"".join(part for part in parts if part is not None)
        data = bytearray(self.source.read(block * BASIC_BLOCK, count * BASIC_BLOCK))
        for index, part in enumerate(parts):
            if part is not None and (index + 1) * BASIC_BLOCK <= len(data):
                data[index * BASIC_BLOCK : (index + 1) * BASIC_BLOCK] = part
        return bytes(data)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image, None where the bytes were put together from the log."""
        return None if offset // BASIC_BLOCK in self._changed else self.source.locate(offset)
