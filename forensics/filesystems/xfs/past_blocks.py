"""A filesystem's bytes with the blocks of extent maps as they were after a transaction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.filesystems.xfs.history import Change, History
from parsers.errors import FormatError
from parsers.xfs import LONG_BLOCK, LONG_CRC_AT, LONG_CRC_SIZE, crc_holds
from parsers.xfs_inode import BMAP_MAGICS, EXTENT_SIZE
from parsers.xfs_log import CHUNK


@dataclass(frozen=True)
class PastBlocks:
    """Reads blocks of extent maps. Raises FormatError where a part of one is not known any more."""

    history: History
    moment: int

    @property
    def name(self) -> str:
        """The source's name."""
        return self.history.source.name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.history.source.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; those of a block that the log changed, as they were."""
        block_size = self.history.geometry.superblock.block_size
        changes = self.history.maps.get(offset // block_size, ())
        if not changes or offset % block_size or size != block_size:
            return self.history.source.read(offset, size)
        ends = [at + 1 for at, change in enumerate(changes) if change.freed and change.moment <= self.moment]
        later = [at for at, change in enumerate(changes) if change.freed and change.moment > self.moment]
        first = ends[-1] if ends else 0
        return self._put_together(changes[first : later[0] if later else len(changes)], offset)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image, of what the log did not change."""
        return self.history.source.locate(offset)

    def _put_together(self, changes: list[Change], offset: int) -> bytes:
        """A block from when it became a map's to its end: what never changed as the disk has it, if it is the map's still."""
        s = self.history.geometry.superblock
        data = bytearray(s.block_size)
        known = np.zeros(s.block_size // CHUNK, np.bool_)
        lying = read_or_nothing(self.history.source, offset, s.block_size)
        if (
            lying[:4] == BMAP_MAGICS[s.has_crc]
            and len(lying) == s.block_size
            and (not s.has_crc or crc_holds(lying, LONG_CRC_AT))
        ):
            data[:] = lying
            known[:] = True
        for change in changes:
            for at, piece in change.pieces:
                here = slice(at // CHUNK, min((at + len(piece)) // CHUNK, len(known)))
                if change.moment > self.moment:
                    known[here] &= at // CHUNK in _logged_until(changes, self.moment)
                else:
                    end = min(at + len(piece), len(data))
                    data[at:end] = piece[: max(0, end - at)]
                    known[here] = True
        header = LONG_CRC_SIZE if s.has_crc else LONG_BLOCK.size
        level, count = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        used = header + EXTENT_SIZE * count if not level else len(data)
        if not known[: -(-min(used, len(data)) // CHUNK)].all():
            raise FormatError("a part of a block of an extent map was written over", self.name, offset)
        return bytes(data)


def _logged_until(changes: list[Change], moment: int) -> set[int]:
    """The chunks that were changed up to a moment."""
    return {
        chunk
        for change in changes
        if change.moment <= moment
        for at, piece in change.pieces
        for chunk in range(at // CHUNK, (at + len(piece)) // CHUNK)
    }
