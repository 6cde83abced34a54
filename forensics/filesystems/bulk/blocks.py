"""Where files' blocks stand, one file's or many files' at once, and their content, assembled from them."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers, read_exactly
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import Run

MAX_READ = 1 << 30  # bytes returned at once: sparse files cost their maker nothing, and the reader their full length


class Damage(NamedTuple):
    """A part of a file, [first, end) in blocks, of which the map cannot be read; offset: in the source."""

    first: int
    end: int
    error: str
    offset: int | None


class BlockMap(NamedTuple):
    """A file's runs in logical order, without overlap, and the parts that are not known."""

    runs: list[Run]
    damage: list[Damage]


class Runs(NamedTuple):
    """Runs of blocks of many files, in columns; owner: the file's row."""

    owner: Numbers
    logical: Numbers
    count: Numbers  # type: ignore[assignment] # nobody misses tuple.count
    physical: Numbers
    unwritten: NDArray[np.bool_]


def read_content(source: Source, block_size: int, blocks: BlockMap, offset: int, length: int, number: int) -> bytes:
    """`length` bytes of a file from `offset` on, holes and unwritten runs as zeros; inside the file's size."""
    end = offset + length
    for first, last, error, place in blocks.damage:
        if first * block_size < end and offset < last * block_size:
            raise FormatError(f"inode {number}: {error}", source.name, place)
    pieces: list[bytes] = []
    at = offset
    runs = blocks.runs
    first_run = max(0, bisect_right(runs, offset // block_size, key=itemgetter(0)) - 1)
    for i in range(first_run, len(runs)):
        logical, count, physical, unwritten = runs[i]
        if logical * block_size >= end:
            break
        start = max(at, logical * block_size)
        stop = min(end, (logical + count) * block_size)
        if start >= stop or unwritten:
            continue
        if start > at:
            pieces.append(bytes(start - at))
        place = physical * block_size + start - logical * block_size
        pieces.append(read_exactly(source, place, stop - start))
        at = stop
    if at < end:
        pieces.append(bytes(end - at))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
