"""Reading a source in large pieces, and going on where a device fails."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.source import Source
from parsers.errors import EvidenceError, FormatError

Numbers = NDArray[np.int64]
NEIGHBOUR = 32 << 10  # bytes between two wanted pieces that are cheaper to read than to skip
LONGEST_READ = 1 << 20  # bytes; what is read at once is still in the processor's cache when it is looked at
PAGE = 4096


def read_runs(source: Source, offsets: Numbers, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Read pieces of `size` bytes at ascending offsets, neighbours together: (first, end, bytes from the first's offset on)."""
    if not len(offsets):
        return
    cuts = np.flatnonzero(np.diff(offsets) > size + NEIGHBOUR) + 1
    most = max(1, LONGEST_READ // size) * size
    for begin, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(offsets)], strict=True):
        if last - begin == 1:
            yield begin, last, read_or_nothing(source, int(offsets[begin]), size)
            continue
        first = begin
        while first < last:
            start = int(offsets[first])
            end = first + int(np.searchsorted(offsets[first:last], start + most))
            yield first, end, read_or_nothing(source, start, int(offsets[end - 1]) + size - start)
            first = end


def read_rows(source: Source, offsets: Numbers, size: int) -> NDArray[np.uint8]:
    """Records of `size` bytes in rows, as the offsets are in order; zeros for offset -1, and where a record cannot be read."""
    rows = np.zeros((len(offsets), size), np.uint8)
    order = np.argsort(offsets, kind="stable")
    order = order[np.searchsorted(offsets[order], 0) :]
    for first, last, data in read_runs(source, offsets[order], size):
        at = (offsets[order[first:last]] - offsets[order[first]]) // size
        have = len(data) // size
        table = np.frombuffer(data, np.uint8, have * size).reshape(have, size)
        wanted = order[first:last]
        if have <= at[-1]:
            wanted, at = wanted[at < have], at[at < have]
        rows[wanted] = table[at]
    return rows


def read_or_nothing(source: Source, offset: int, size: int) -> bytes:
    """What can be read at an offset: zeros stand for the pages in which a device fails."""
    try:
        return source.read(offset, size)
    except EvidenceError:
        parts = []
        for at in range(0, size, PAGE):
            try:
                parts.append(source.read(offset + at, min(PAGE, size - at)))
            except EvidenceError:
                parts.append(bytes(min(PAGE, size - at)))
        return b"".join(parts)


def read_exactly(source: Source, offset: int, size: int) -> bytes:
    """All of a piece. Raises FormatError where the source ends before its end, or cannot be read."""
    try:
        data = source.read(offset, size)
    except EvidenceError as error:
        raise FormatError(str(error), source.name, offset) from error
    if len(data) < size:
        raise FormatError("beyond the end", source.name, offset + len(data))
    return data
