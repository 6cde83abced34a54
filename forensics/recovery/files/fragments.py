"""Contents without names: runs of unallocated blocks that look like the whole of a file that nothing tells of any more.

The kernel pads a file's last block with zeros. So content that begins behind a padded block, or behind blocks of zeros, and goes
on up to the next padded one is most often one file's. That is inference: a file of which the size is a whole number of blocks
runs on into the next one, and one with a block of zeros in it falls into two. A run of few blocks is therefore given in all the
ways that it can be cut between blocks; one of them is right at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import Filesystem
from forensics.filesystems.bulk.reading import Numbers, read_or_nothing
from forensics.filesystems.ext4.dirblocks import begin_directories
from forensics.filesystems.ext4.freed_directories import TAIL, TAIL_TYPE
from forensics.filesystems.ext4.history import read_history
from forensics.filesystems.ext4.reader import Ext4
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.unallocated import Unallocated, unallocated
from forensics.source import Source
from parsers.ext4_inode import EXTENT_MAGIC
from parsers.ext4_xattr import MAGIC as XATTR_MAGIC

MOST = 20_000  # of one filesystem
FEW = 3  # blocks of a run that is cut in all ways
MOST_BYTES = 256 << 20  # of one content that is hashed
CHUNK = 4 << 20
ZERO, FULL, PADDED, METADATA = 0, 1, 2, 3
"""What a block holds: nothing; content up to its last byte; content that ends in it; a directory, extents, attributes."""

Kinds = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A content without a name: where it begins in the filesystem's source, its length, its SHA-256 (None: too long)."""

    start: int
    size: int
    sha256: str | None


def find_fragments(fs: Filesystem, known: Iterable[DeletedFile]) -> Iterator[Fragment]:
    """The contents in those block groups in which blocks were given out or freed since the journal's ring began, by place.

    known: the deleted files that have their own contents. At most MOST + 1, so that it can be told where there are more.
    """
    free = unallocated(fs) if isinstance(fs, Ext4) else None
    history = read_history(fs) if isinstance(fs, Ext4) else None
    if not isinstance(fs, Ext4) or free is None or history is None:
        return
    size, s = fs.block_size, fs.superblock
    groups = np.flatnonzero(np.isin(fs.geometry.block_bitmaps, history.blocks))
    taken = _extents(known)
    count = 0
    for group in groups.tolist():
        first = (s.first_data_block + group * s.blocks_per_group) * size
        for start, end in free.runs_in(first, s.blocks_per_group * size):
            for begin, length in _contents(fs.source, start, end, size):
                if count > MOST:
                    return
                if not taken.free_bytes(begin, length):
                    count += 1
                    yield Fragment(begin, length, _sha256(fs.source, begin, length) if length <= MOST_BYTES else None)


def _extents(known: Iterable[DeletedFile]) -> Unallocated:
    """Where the contents of deleted files stand, as runs."""
    pairs = {
        (e.offset, e.offset + e.length) for file in known for e in file.extents or () if e.offset is not None and e.length > 0
    }
    runs = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    reach = np.maximum.accumulate(runs[:, 1])
    first = np.append(True, runs[1:, 0] > reach[:-1])[: len(runs)]
    return Unallocated(runs[first, 0], reach[np.append(first[1:], True)[: len(runs)]])


def _contents(source: Source, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """The contents in a run of bytes, as (first byte, length)."""
    kinds = np.zeros((end - start) // size, np.uint8)
    lengths = np.full(len(kinds), size, np.int64)
    step = CHUNK // size
    for at in range(0, len(kinds), step):
        count = min(step, len(kinds) - at)
        data = read_or_nothing(source, start + at * size, count * size)
        blocks = np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)
        kinds[at : at + len(blocks)], lengths[at : at + len(blocks)] = _look(blocks)
    content = (kinds == FULL) | (kinds == PADDED)
    # A content begins where none was before, or where one has ended.
    ended = np.append(True, (kinds == PADDED) | ~content)[: len(kinds)]
    begins = np.flatnonzero(content & ended)
    lasts = np.flatnonzero(content & np.append((~content | (kinds == PADDED))[:-1] | ~content[1:], True)[: len(kinds)])
    for begin, last in zip(begins.tolist(), lasts.tolist(), strict=True):
        cuts = combinations_with_replacement(range(begin, last + 1), 2) if last - begin < FEW else [(begin, last)]
        for one, other in cuts:
            yield start + one * size, (other - one) * size + int(lengths[other])


def _look(blocks: NDArray[np.uint8]) -> tuple[Kinds, Numbers]:
    """What each block holds, and how many bytes up to the last that is no zero."""
    size = blocks.shape[1]
    kinds = np.where(blocks.view("<u8").any(axis=1), FULL, ZERO).astype(np.uint8)
    lengths = np.full(len(blocks), size, np.int64)
    for at in np.flatnonzero((kinds == FULL) & (blocks[:, -1] == 0)).tolist():
        kinds[at] = PADDED
        lengths[at] = len(blocks[at].tobytes().rstrip(b"\0"))
    words = blocks[:, :8].copy().view("<u4")
    tails = blocks[:, -TAIL:]
    metadata = begin_directories(blocks) | (words[:, 0] & 0xFFFF == EXTENT_MAGIC) | (words[:, 0] == XATTR_MAGIC)
    metadata |= (tails[:, 4] == TAIL) & (tails[:, 7] == TAIL_TYPE)
    kinds[metadata & (kinds != ZERO)] = METADATA
    return kinds, lengths


def _sha256(source: Source, start: int, length: int) -> str:
    digest = hashlib.sha256()
    for done in range(0, length, CHUNK):
        digest.update(read_or_nothing(source, start + done, min(CHUNK, length - done)))
    return digest.hexdigest()
