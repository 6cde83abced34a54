"""What of a deleted file's content still stands: blocks that nobody has now, and that nobody had in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import Extent
from forensics.recovery.files.unallocated import Unallocated

Blocks = NDArray[np.bool_]


class Standing(NamedTuple):
    """What still stands of a content, the parts that do not, the word for that, and whether it is known of all of it."""

    extents: tuple[Extent, ...]
    lost: tuple[tuple[int, int], ...]
    reuse: str | None
    known: bool


def standing(
    extents: Sequence[Extent], size: int, free: Unallocated | None, given_out: Callable[[int, int], Blocks | None]
) -> Standing:
    """Which blocks of `size` bytes still hold the content; given_out: which of a run others had since, if known."""
    kept: list[Extent] = []
    lost: list[tuple[int, int]] = []
    total = taken = 0
    known = free is not None
    for extent in extents:
        if extent.offset is None:
            lost.append((extent.logical, extent.length))
            continue
        block, count = extent.offset // size, extent.length // size
        given = given_out(block, count)
        known &= given is not None
        good = np.zeros(count, np.bool_)
        for start, end in free.runs_in(extent.offset, extent.length) if free is not None else ():
            good[start // size - block : end // size - block] = True
        if given is not None:
            good &= ~given
        total += count
        taken += count - int(good.sum())
        for first, end, stands in _runs(good):
            if stands:
                kept.append(Extent(extent.logical + first * size, extent.offset + first * size, (end - first) * size))
            else:
                lost.append((extent.logical + first * size, (end - first) * size))
    reuse = ("all" if taken == total else "some") if taken else "none" if known or not total else None
    return Standing(tuple(kept), tuple(lost), reuse, known or not total)


def _runs(mask: Blocks) -> list[tuple[int, int, bool]]:
    """The runs of equal values: first, end, value."""
    cuts = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    return [(first, end, bool(mask[first])) for first, end in pairwise(cuts) if end > first]
