"""Where the contents of deleted files stand, and whose a byte was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forensics.filesystems.bulk.reading import Numbers
from forensics.recovery.files.deleted import Numbered


@dataclass(frozen=True)
class Extents:
    """Where the contents of deleted files stand in one partition: bytes in its source, ascending, and whose they are."""

    starts: Numbers
    ends: Numbers
    files: tuple[Numbered, ...]

    def at(self, offset: int) -> Numbered | None:
        """The deleted file that a byte was part of; of several, the one whose extent begins last."""
        place = int(np.searchsorted(self.starts, offset, "right")) - 1
        return self.files[place] if place >= 0 and offset < self.ends[place] else None


def extents_of(deleted: Sequence[Numbered]) -> dict[int, Extents]:
    """The extents of all deleted files, by partition."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for at, each in enumerate(deleted):
        for extent in each.file.extents or ():
            if extent.offset is not None:
                found.setdefault(each.partition, []).append((extent.offset, extent.offset + extent.length, at))
    result = {}
    for partition, rows in found.items():
        rows.sort()
        starts, ends = (np.array([row[side] for row in rows], np.int64) for side in (0, 1))
        result[partition] = Extents(starts, ends, tuple(deleted[row[2]] for row in rows))
    return result
