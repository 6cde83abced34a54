"""Whether blocks were given to another file after a moment, by the journal's copies of the block bitmaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.ext4.free import used_blocks
from forensics.filesystems.ext4.geometry import Geometry
from forensics.filesystems.ext4.history import History
from forensics.filesystems.ext4.past_inodes import States
from forensics.filesystems.ext4.runs import REGULAR
from forensics.filesystems.past.paths import BEFORE

_NEVER = BEFORE - 1
TICK = 10_000_000  # ns that the coarse clock, which most of an inode's times are taken from, is behind at most


@dataclass(frozen=True)
class Group:
    """One block group's bitmap over time: the moments of its copies, and for each block when it was last given out."""

    moments: Numbers
    given: NDArray[np.int32]


@dataclass(frozen=True)
class Reuse:
    """What the bitmaps tell, and revoke records, which name the metadata blocks that were freed.

    brief: the moments at which a file came and went whose blocks no bitmap shows. revoked: (block, moment), sorted.
    """

    geometry: Geometry
    groups: dict[int, Group]
    brief: Numbers
    revoked: Numbers

    def given_out(self, block: int, count: int, since: int) -> NDArray[np.bool_] | None:
        """Which blocks of a run were given out after a moment; None where the journal does not tell it of all."""
        s = self.geometry.superblock
        parts: list[NDArray[np.bool_]] = []
        at, end = block, block + count
        while at < end:
            number, inside = divmod(at - s.first_data_block, s.blocks_per_group)
            here = min(end - at, s.blocks_per_group - inside)
            group = self.groups.get(number)
            if group is None or group.moments[-1] <= since:
                return None
            parts.append(group.given[inside : inside + here] > since)
            at += here
        given = np.concatenate(parts)
        first, last = np.searchsorted(self.revoked[:, 0], [block, end])
        rows = self.revoked[first:last]
        given[rows[rows[:, 1] > since, 0] - block] = True
        return given

    def may_be_brief(self, block: int, count: int, since: int) -> bool:
        """Whether a file that came and went within a transaction may have had some of these blocks."""
        s = self.geometry.superblock
        first, last = (block - s.first_data_block) // s.blocks_per_group, (block + count - 1) // s.blocks_per_group
        for number in range(first, last + 1):
            group = self.groups.get(number)
            if group is not None and np.isin(group.moments[group.moments > since], self.brief).any():
                return True
        return False


def read_reuse(history: History, states: States, geometry: Geometry) -> Reuse:
    """Follow the bitmaps through the journal."""
    s = geometry.superblock
    groups: dict[int, Group] = {}
    bitmaps = geometry.block_bitmaps
    for number in np.flatnonzero(np.isin(bitmaps, history.blocks)).tolist():
        rows = history.rows(int(bitmaps[number]))
        first = s.first_data_block + number * s.blocks_per_group
        before: NDArray[np.bool_] | None = None
        given = np.zeros(0, np.int32)
        for row in rows:
            used = used_blocks(history.data(np.array([row]))[0].tobytes(), s, first)
            if before is None:
                given = np.full(len(used), _NEVER, np.int32)
            else:
                given[used & ~before] = history.moment[row]
            before = used
        groups[number] = Group(history.moment[rows.start : rows.stop], given)
    return Reuse(geometry, groups, _brief(states, history), history.revoked)


def _brief(states: States, history: History) -> Numbers:
    """When regular files were first seen deleted that had blocks, for the kernel cut them off, but were never seen with any.

    ext4_evict_inode truncates only an inode with blocks, and that sets its modification time. A file that was gone within a tick
    of the clock was not written to the disk: what would have done that, an fsync, would have ended the transaction.
    """
    number, generation = states.number, states.generation
    continued = np.append(False, (number[1:] == number[:-1]) & (generation[1:] == generation[:-1]))[: len(number)]
    key = np.cumsum(~continued) - 1
    ever = np.zeros(int(key[-1]) + 1 if len(key) else 0, np.bool_)
    ever[key[states.has_content]] = True
    dead = (states.columns.type == 0) & (states.dtime != 0)
    dead &= ~(continued & np.append(False, dead[:-1])[: len(dead)]) & (states.first > BEFORE) & (states.first < history.end)
    times = states.columns.times
    cut = (times["mtime"] >= times["ctime"] - TICK) & (times["crtime"] < times["ctime"] - TICK)
    cut &= states.raw[:, 1] >> 4 == REGULAR >> 12
    born = np.zeros(len(number), np.bool_)
    at = np.flatnonzero(dead & (states.first > 0))
    born[at] = (times["crtime"][at] == NO_TIME) | (times["crtime"][at] >= history.times[states.first[at] - 1] - TICK)
    return np.unique(states.first[dead & cut & ~ever[key] & (continued | born)])
