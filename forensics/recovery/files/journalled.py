"""Content that stands in the journal: with `data=journal`, data blocks are written there first, like metadata.

Of a file that was deleted before its blocks were written to their places, those hold what was there before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from forensics.filesystem import Extent
from forensics.filesystems.ext4.history import History

MOST = 1 << 16  # blocks of one file that are looked for


@dataclass
class Journalled:
    """A content in two parts. kept: what stands in the journal; rest: what stands in its place; lost: (first byte, length).

    sure: whether it is known of each block which of them it is. cut: not all of its blocks were looked for in the journal.
    """

    kept: list[Extent] = field(default_factory=list)
    rest: list[Extent] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    sure: bool = True
    cut: bool = False


def journalled(history: History, extents: Iterable[Extent], since: int | None, begin: int, moment: int) -> Journalled:
    """What of a content stands in the journal, as it was at a moment.

    since: from when on the blocks were this file's, as far as the journal tells, None where they may not have been; begin: from
    when on the file was there. A copy that is older than `since` is of who had the block before.
    """
    found, size = Journalled(), history.block_size
    for extent in extents:
        if extent.offset is None:
            found.rest.append(extent)
            continue
        first = extent.offset // size
        low, high = np.searchsorted(history.blocks, [first, first + -(-extent.length // size)])
        done = 0
        found.cut |= bool(high - low > MOST)
        for block in history.blocks[low : min(high, low + MOST)].tolist():
            row = history.at(block, moment)
            if row is None or history.moment[row] < begin:
                continue
            if since is None or history.moment[row] < since:
                found.sure = False
                continue
            at = (block - first) * size
            length = min(size, extent.length - at)
            if at > done:
                found.rest.append(Extent(extent.logical + done, extent.offset + done, at - done))
            if history.escaped[row]:
                found.lost.append((extent.logical + at, length))
            else:
                found.kept.append(Extent(extent.logical + at, int(history.place[row]), length))
            done = at + length
        if done < extent.length:
            found.rest.append(Extent(extent.logical + done, extent.offset + done, extent.length - done))
    return found
