"""RAID arrays that keep more than they must: copies of chunks (RAID 10), or parity (RAID 4, 5 and 6), in md's layouts.

Source: Linux 6.1, drivers/md/raid10.c (__raid10_find_phys, setup_geo, raid10_size), raid5.c (raid5_compute_sector), raid5.h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from forensics.mapped import read_chunks
from forensics.source import Source
from parsers.errors import FormatError, UnsupportedFormat


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk stands: on each of `copies` (column, row). parity: columns whose chunks of that row give it by XOR."""

    copies: tuple[tuple[int, int], ...]
    parity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RedundantVolume:
    """An array as a source. columns: where each device's data begin, None where it is missing. place: of a chunk by number."""

    name: str
    size: int
    chunk: int
    columns: tuple[tuple[Source, int] | None, ...]
    place: Callable[[int], Chunk]

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`. FormatError where devices are missing that they cannot do without."""
        return read_chunks(self.size, self.chunk, offset, size, self._read)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image, None where the byte stands on missing devices only."""
        if not 0 <= offset < self.size:
            return None
        number, inside = divmod(offset, self.chunk)
        for column, row in self.place(number).copies:
            if (found := self.columns[column]) is not None:
                return found[0].locate(found[1] + row * self.chunk + inside)
        return None

    def _read(self, number: int, inside: int, length: int) -> bytes:
        chunk = self.place(number)
        for column, row in chunk.copies:
            if (found := self.columns[column]) is not None:
                return found[0].read(found[1] + row * self.chunk + inside, length)
        row, others = chunk.copies[0][1], [self.columns[column] for column in chunk.parity]
        stored = [each[0].read(each[1] + row * self.chunk + inside, length) for each in others if each is not None]
        if not chunk.parity or len(stored) < len(others):
            raise FormatError("lies on devices that are not in this disk image", self.name, number * self.chunk + inside)
        shortest = min(map(len, stored))
        joined = reduce(int.__xor__, (int.from_bytes(part[:shortest], "little") for part in stored))
        return joined.to_bytes(shortest, "little")


def copies(name: str, layout: int, chunk: int, size: int, columns: Sequence[tuple[Source, int] | None]) -> RedundantVolume:
    """RAID 10: near copies on the next devices, far ones a stride further on. size: what each device holds, in bytes."""
    count, near, far, offset = len(columns), layout & 0xFF, layout >> 8 & 0xFF, bool(layout >> 16 & 1)
    if layout >> 17 or not near or not far or near * far > count:
        raise UnsupportedFormat(f"RAID 10 in the layout {layout:#x} is not read")
    total = size // chunk // far * count // near
    stride = 1 if offset else -(-total * near // count)

    def place(number: int) -> Chunk:
        row, device = divmod(number * near, count)
        row *= far if offset else 1
        found = []
        for each in range(device, device + near):
            turn, first = divmod(each, count)
            found += [((first + near * again) % count, row + turn + stride * again) for again in range(far)]
        return Chunk(tuple(found))

    return RedundantVolume(name, total * chunk, chunk, tuple(columns), place)


_LEFT_ASYMMETRIC, _RIGHT_ASYMMETRIC, _LEFT_SYMMETRIC, _RIGHT_SYMMETRIC, _PARITY_FIRST, _PARITY_LAST = range(6)


def parity(
    name: str, level: int, layout: int, chunk: int, size: int, columns: Sequence[tuple[Source, int] | None]
) -> RedundantVolume:
    """RAID 4, 5 and 6. One missing device is made up for with the parity; a second one of RAID 6's is not."""
    count, checks = len(columns), 2 if level == 6 else 1
    data = count - checks
    layout = _PARITY_LAST if level == 4 else layout
    if layout not in range(6) or data < 1:
        raise UnsupportedFormat(f"RAID {level} in the layout {layout} is not read")

    def place(number: int) -> Chunk:
        row, index = divmod(number, data)
        if layout in (_PARITY_FIRST, _PARITY_LAST):
            first = 0 if layout == _PARITY_FIRST else data
        else:
            first = row % count if layout in (_RIGHT_ASYMMETRIC, _RIGHT_SYMMETRIC) else count - 1 - row % count
        held = {(first + check) % count for check in range(checks)}
        if layout in (_LEFT_SYMMETRIC, _RIGHT_SYMMETRIC):
            column = (first + checks + index) % count
        else:
            column = [each for each in range(count) if each not in held][index]
        others = tuple(each for each in range(count) if each != column and (each == first or each not in held))
        return Chunk(((column, row),), others)

    return RedundantVolume(name, size // chunk * data * chunk, chunk, tuple(columns), place)
