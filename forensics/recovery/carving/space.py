"""Where things are carved from: the unallocated space of filesystems, the blocks of their journals, and what no filesystem has.

Of allocated space nothing is carved: what stands in a file is read as that file, and what stands in a container's file is no
evidence of a container of the host.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forensics.filesystem import Filesystem
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.ext4.journal import open_log
from forensics.filesystems.ext4.reader import Ext4
from forensics.recovery.files.unallocated import unallocated
from forensics.source import Source
from forensics.survey import Partition, Survey
from forensics.volume import Volume
from parsers.errors import FormatError
from parsers.ext4 import Compat

UNALLOCATED, ALL, NONE = "unallocated", "all", "none"
"""Which space is searched; all: also what no filesystem that is read accounts for, swap for one."""

BLOCK = 512  # what content is aligned to where no filesystem tells
JOURNAL = "carved from the journal"
FREE = "carved from unallocated space"
UNKNOWN = "carved from space without a filesystem"


@dataclass(frozen=True)
class Space:
    """What is searched of one volume. starts, ends: bytes in its source, ascending, apart; journal: whether a run is one's."""

    partition: int
    source: Source
    offset: int | None
    block_size: int
    starts: Numbers
    ends: Numbers
    journal: Numbers
    how: str = FREE

    @cached_property
    def _starts(self) -> list[int]:
        return [int(start) for start in self.starts]

    @property
    def size(self) -> int:
        """Bytes in all of it."""
        return int((self.ends - self.starts).sum())

    def run(self, offset: int) -> tuple[int, int] | None:
        """The run that holds a byte."""
        at = bisect_right(self._starts, offset) - 1
        return (self._starts[at], int(self.ends[at])) if at >= 0 and offset < self.ends[at] else None

    def how_at(self, offset: int) -> str:
        """What space a byte stands in, in words."""
        at = bisect_right(self._starts, offset) - 1
        return JOURNAL if at >= 0 and self.journal[at] else self.how


def spaces(found: Survey, which: str) -> Iterator[Space]:
    """What is searched of each volume. A volume whose allocation is not known is in it only where all is asked for."""
    for partition in found.partitions if which != NONE else ():
        fs, volume = partition.filesystem, partition.volume
        if fs is not None and fs.kind == "btrfs":
            yield from _of_btrfs(fs, volume)
            continue
        free = unallocated(fs) if fs is not None else None
        if fs is not None and free is not None:
            starts, ends, journal = free.starts, free.ends, np.zeros(len(free.starts), np.int64)
            own_starts, own_ends = _journal(fs) if isinstance(fs, Ext4) else (starts[:0], ends[:0])
            starts, ends = np.concatenate([starts, own_starts]), np.concatenate([ends, own_ends])
            journal = np.concatenate([journal, np.ones(len(own_starts), np.int64)])
            order = np.argsort(starts, kind="stable")
            block = fs.block_size
            yield Space(volume.number, volume.source, volume.offset, block, starts[order], ends[order], journal[order])
        elif which == ALL and fs is None and _is_nobodys(partition):
            whole = np.array([0], np.int64), np.array([volume.source.size], np.int64), np.zeros(1, np.int64)
            yield Space(volume.number, volume.source, volume.offset, BLOCK, *whole, how=UNKNOWN)


def _of_btrfs(fs: Filesystem, volume: Volume) -> Iterator[Space]:
    """What is searched of a Btrfs: what its journal is elsewhere, its old tree nodes, is read as what it was."""
    from forensics.filesystems.btrfs.free import free_space
    from forensics.filesystems.btrfs.reader import BtrfsFilesystem

    found = list(free_space(fs)) if isinstance(fs, BtrfsFilesystem) else []
    for source, starts, ends in found:
        alone = len(found) == 1
        of, offset = (volume.source, volume.offset) if alone else (source, None)
        yield Space(volume.number, of, offset, fs.block_size, starts, ends, np.zeros(len(starts), np.int64))


def _is_nobodys(partition: Partition) -> bool:
    """Whether nothing else reads what stands in a volume: physical volumes are read as their logical ones."""
    return partition.volume.source.size > 0 and partition.kind not in ("lvm2", "luks", "linux_raid")


def _journal(fs: Ext4) -> tuple[Numbers, Numbers]:
    """The runs of the journal's blocks."""
    none = np.zeros(0, np.int64)
    if not fs.superblock.compat & Compat.HAS_JOURNAL:
        return none, none
    try:
        log = open_log(fs, ProblemLog(fs.source))
    except FormatError:
        return none, none  # told in the replay
    starts = np.array([run.physical for run in log.runs], np.int64) * fs.block_size
    counts = np.array([run.count for run in log.runs], np.int64) * fs.block_size
    inside = (starts >= 0) & (starts + counts <= fs.source.size)
    return starts[inside], (starts + counts)[inside]
