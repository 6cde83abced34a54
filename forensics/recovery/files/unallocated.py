"""Where a filesystem keeps nothing now: its unallocated space, and whether a range of bytes is part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forensics.filesystem import Filesystem
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.ext4.free import free_runs as ext4_free_runs
from forensics.filesystems.ext4.reader import Ext4


@dataclass(frozen=True)
class Unallocated:
    """The unallocated runs of a filesystem: byte offsets in its `source`, ascending, apart from each other."""

    starts: Numbers
    ends: Numbers

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every run as (offset, length)."""
        return zip(self.starts.tolist(), (self.ends - self.starts).tolist(), strict=True)

    @property
    def size(self) -> int:
        """Bytes in all of the runs."""
        return int((self.ends - self.starts).sum())

    def free_bytes(self, offset: int, length: int) -> int:
        """How many of a range's bytes are unallocated."""
        return sum(end - start for start, end in self.runs_in(offset, length))

    def runs_in(self, offset: int, length: int) -> list[tuple[int, int]]:
        """The unallocated parts of a range, as (offset, end)."""
        end = offset + length
        first = int(np.searchsorted(self.ends, offset, "right"))
        last = int(np.searchsorted(self.starts, end))
        starts, ends = np.maximum(self.starts[first:last], offset), np.minimum(self.ends[first:last], end)
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def is_free(self, offset: int, length: int) -> bool:
        """Whether all of a range's bytes are unallocated."""
        return self.free_bytes(offset, length) == length


def unallocated(fs: Filesystem) -> Unallocated | None:
    """The unallocated space of a filesystem as `fs` shows it, so with its journal replayed; None where that is not known.

    A part whose own records are damaged is not in it, and becomes a problem of the filesystem.
    """
    runs = _free_runs(fs)
    if runs is None:
        return None
    starts, ends = runs
    return Unallocated(starts * fs.block_size, np.minimum(ends * fs.block_size, fs.source.size))


def _free_runs(fs: Filesystem) -> tuple[Numbers, Numbers] | None:
    """The first blocks of free runs, and the first ones after them."""
    if isinstance(fs, Ext4):
        return ext4_free_runs(fs.source, fs.geometry, fs.log)
    if fs.kind == "xfs":
        from forensics.filesystems.xfs.free import free_runs
        from forensics.filesystems.xfs.reader import Xfs

        return free_runs(fs.source, fs.geometry, fs.log) if isinstance(fs, Xfs) else None
    return None
