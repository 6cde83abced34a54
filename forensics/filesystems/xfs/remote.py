"""Bytes in blocks with a header each: values of attributes, and targets of symlinks, that did not fit their inode."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from forensics.filesystems.bulk.reading import read_exactly
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import Run
from parsers.xfs import Superblock, crc_holds
from parsers.xfs_attr import REMOTE, REMOTE_CRC_AT


class Places:
    """Where the blocks of a fork stand, from its runs in logical order."""

    def __init__(self, runs: Sequence[Run], block_size: int) -> None:
        self._runs = runs
        self._firsts = [run.logical for run in runs]
        self._size = block_size

    def of(self, block: int) -> int | None:
        """The byte at which a block of the fork stands, None where it stands nowhere."""
        at = bisect_right(self._firsts, block) - 1
        if at < 0:
            return None
        run = self._runs[at]
        inside = block - run.logical
        return (run.physical + inside) * self._size if inside < run.count and not run.unwritten else None


def read_remote(
    source: Source,
    places: Places,
    block: int,
    size: int,
    superblock: Superblock,
    magic: bytes,
    report: Callable[[str, int], None],
) -> bytes:
    """`size` bytes from a fork's block on. `report` hears of wrong checksums. FormatError where a part cannot be read."""
    pieces: list[bytes] = []
    left = size
    while left > 0:
        place = places.of(block)
        if place is None:
            raise FormatError(f"block {block} is not mapped", source.name)
        data = read_exactly(source, place, superblock.block_size)
        if superblock.has_crc:
            if not crc_holds(data, REMOTE_CRC_AT):
                report(f"the checksum of a block of {magic.decode()} is wrong", place)
            data = _content(data, magic, size - left, source.name, place)
        pieces.append(data[:left])
        left -= len(data)
        block += 1
    return b"".join(pieces)


def _content(data: bytes, magic: bytes, offset: int, name: str, place: int) -> bytes:
    found, at, length, *_ = REMOTE.unpack(data)
    if found != magic or at != offset or not 0 < length <= len(data) - REMOTE.size:
        raise FormatError(f"no block of {magic.decode()} at byte {offset} of it", name, place)
    return data[REMOTE.size : REMOTE.size + length]
