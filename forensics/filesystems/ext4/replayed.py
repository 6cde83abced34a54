"""A filesystem's bytes with the journal's copies of blocks in the place of the blocks: what a mount would leave on the disk."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Set

from forensics.source import Source
from parsers import jbd2

MAGIC = jbd2.MAGIC.to_bytes(4, "big")


class Replayed:
    """`source` seen through a replayed journal; nothing is copied before it is read.

    copies: filesystem block to the byte offset of its copy in `source`. escaped: those blocks that begin with the journal's magic
    number, of which the copy does not have it.
    """

    def __init__(self, source: Source, copies: Mapping[int, int], escaped: Set[int], block_size: int) -> None:
        self.source = source
        self.copies = copies
        self._escaped = escaped
        self._block_size = block_size
        self._blocks = sorted(copies)

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.source.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset` as they are after replay."""
        block_size = self._block_size
        first = bisect_left(self._blocks, offset // block_size)
        last = bisect_left(self._blocks, -(-(offset + size) // block_size), first)
        if first == last:
            return self.source.read(offset, size)
        data = bytearray(self.source.read(offset, size))
        end = offset + len(data)
        for block in self._blocks[first:last]:
            start, stop = max(block * block_size, offset), min((block + 1) * block_size, end)
            if start < stop:
                data[start - offset : stop - offset] = self._copied(block, start - block * block_size, stop - start)
        return bytes(data)

    def _copied(self, block: int, at: int, size: int) -> bytes:
        data = self.source.read(self.copies[block] + at, size)
        if at < len(MAGIC) and block in self._escaped:
            missing = MAGIC[at : at + size]
            data = missing + data[len(missing) :]
        return data.ljust(size, b"\0")

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image that holds `offset`: in the journal's copy, where there is one."""
        block, at = divmod(offset, self._block_size)
        copy = self.copies.get(block)
        return self.source.locate(offset if copy is None else copy + at)
