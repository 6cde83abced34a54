"""Whether blocks were given to another file after a moment, by what the log tells of everybody's extents and metadata since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.xfs.forks import leaf_runs
from forensics.filesystems.xfs.history import History, State
from forensics.filesystems.xfs.inodes import InodeTables
from parsers.errors import FormatError
from parsers.xfs import LONG_BLOCK, LONG_CRC_SIZE
from parsers.xfs_inode import EXTENT_SIZE, parse_extents, parse_inode
from parsers.xfs_log import CHUNK

TICK = 10_000_000  # ns that the coarse clock, which an inode's times are taken from, is behind at most
NOBODY = -1
OWNER_AT = 56  # in a block of an extent map, with checksums
STEP = 1 << 14


@dataclass(frozen=True)
class Reuse:
    """claims: (first block, end, moment, inode, generation) rows by first block; reach: the greatest end up to each row.

    brief: the moments at which a file came and went of whose blocks the log tells nothing.
    """

    history: History
    claims: Numbers
    reach: Numbers
    brief: frozenset[int]

    def given_out(self, block: int, count: int, since: int, own: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Which blocks of a run somebody else had after a moment; None where a part of the log is lost since."""
        if any(gap > since for gap in self.history.gaps):
            return None
        first = int(np.searchsorted(self.reach, block, "right"))
        last = int(np.searchsorted(self.claims[:, 0], block + count))
        rows = self.claims[first:last]
        other = (rows[:, 3] != own[0]) | ((rows[:, 4] != own[1]) & (rows[:, 4] != NOBODY))
        rows = rows[(rows[:, 1] > block) & (rows[:, 2] > since) & other]
        given = np.zeros(count, np.bool_)
        for start, end in rows[:, :2].tolist():
            given[max(start - block, 0) : end - block] = True
        return given

    def may_be_brief(self, block: int, since: int) -> bool:
        """Whether a file that came and went within a transaction may have had some of the blocks about this one."""
        moments = self.history.allocations.get(block // self.history.geometry.superblock.ag_blocks, ())
        return any(moment > since and moment in self.brief for moment in moments)


def read_reuse(history: History, tables: InodeTables) -> Reuse:
    """Everything that the log tells of who had which blocks, and when last."""
    rows = [np.array([(a, b, moment, NOBODY, NOBODY) for a, b, moment in history.touched], np.int64).reshape(-1, 5)]
    rows += _of_inodes(history, tables)
    rows.append(np.array([*_of_maps(history)], np.int64).reshape(-1, 5))
    claims = np.concatenate(rows)
    claims = claims[np.argsort(claims[:, 0], kind="stable")]
    reach = np.maximum.accumulate(claims[:, 1]) if len(claims) else claims[:, 1]
    return Reuse(history, claims, reach, frozenset(_brief(history)))


def _of_inodes(history: History, tables: InodeTables) -> Iterator[Numbers]:
    found = [(number, state) for number, states in history.states.items() for state in states if state.known and state.mode]
    for first in range(0, len(found), STEP):
        part = found[first : first + STEP]
        raw = np.frombuffer(b"".join(state.raw for _, state in part), np.uint8).reshape(len(part), -1)
        runs, _ = leaf_runs(raw, tables.records(raw), tables.geometry)
        own = np.array([(state.seen, number, state.generation) for number, state in part], np.int64)[runs.owner]
        yield np.column_stack([runs.physical, runs.physical + runs.count, own])


def _of_maps(history: History) -> Iterator[tuple[int, int, int, int, int]]:
    """The extents in changed blocks of extent maps, whether they are in use there or left from before."""
    has_crc = history.geometry.superblock.has_crc
    header = LONG_CRC_SIZE if has_crc else LONG_BLOCK.size
    for _, changes in sorted(history.maps.items()):
        owner, level = NOBODY, 0
        for change in changes:
            for at, piece in change.pieces:
                if at == 0 and len(piece) >= CHUNK:
                    level = int.from_bytes(piece[4:6], "big")
                    owner = int.from_bytes(piece[OWNER_AT : OWNER_AT + 8], "big") if has_crc else NOBODY
                skip = max(header - at, 0) if at < header else (header - at) % EXTENT_SIZE
                body = piece[skip : skip + (len(piece) - skip) // EXTENT_SIZE * EXTENT_SIZE]
                if level or len(piece) <= skip:
                    continue
                extents = parse_extents(body, len(body) // EXTENT_SIZE)
                places = history.geometry.blocks(extents.start, extents.count)
                for place, count in zip(places.tolist(), extents.count.tolist(), strict=True):
                    if place >= 0 and count:
                        yield place, place + count, change.moment, owner, NOBODY


def _brief(history: History) -> Iterator[int]:
    """When inodes were first seen freed that were never seen in use, if they were made after the transaction before."""
    for states in history.states.values():
        before: State | None = None
        for state in states:
            new = before is None or state.generation not in (before.generation, before.generation + 1 & 0xFFFFFFFF)
            if not state.mode and new and _was_made_since(state, history):
                yield state.first
            before = state


def _was_made_since(state: State, history: History) -> bool:
    try:
        record = parse_inode(state.raw)
    except FormatError:
        return True
    if record.crtime is None:
        return True
    times = history.times[: state.first]
    return record.crtime < record.ctime - TICK and (not times or record.crtime >= times[-1] - TICK)
