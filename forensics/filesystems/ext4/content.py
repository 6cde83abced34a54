"""File content, assembled from runs of blocks; and whether a symlink has any."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

from forensics.filesystems.ext4.blockmap import BlockMap
from forensics.filesystems.ext4.reading import read_exactly
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4 import Incompat, Superblock
from parsers.ext4_inode import IN_INODE

MAX_READ = 1 << 30  # bytes returned at once: sparse files cost their maker nothing, and the reader their full length


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


def is_fast_link(size: int, sectors: int, file_acl: int, superblock: Superblock) -> bool:
    """Whether a symlink's target stands in i_block and has no blocks; inode.c ext4_inode_is_fast_symlink."""
    if not 0 < size < IN_INODE:
        return False
    of_xattrs = superblock.cluster_size // 512 if file_acl else 0
    return bool(superblock.incompat & Incompat.EA_INODE) or sectors == of_xattrs
