"""The copies of the superblock at the allocation groups' starts, for when the first one is damaged."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.source import Source
from parsers.errors import EvidenceError, FormatError
from parsers.xfs import MAGIC, SUPERBLOCK, SUPERBLOCK_SIZE, Superblock, parse_superblock

LARGEST_SECTOR = 32768
GROUPS = 4  # mkfs.xfs makes so many where the volume is less than 4 TB and no array of disks
BLOCK_SIZES = (4096, 1024, 2048, 512, 8192, 16384, 32768, 65536)


def backup_superblock(source: Source) -> tuple[Superblock, int] | None:
    """A copy of the superblock that tells of itself where it stands, and that place; None where none is found.

    mkfs.xfs writes the root's inode number into few of the copies; only these are of use.
    """
    for place in _places(source):
        try:
            superblock = parse_superblock(source.read(place, LARGEST_SECTOR))
        except (FormatError, EvidenceError):
            continue
        group_size = superblock.ag_blocks * superblock.block_size
        if superblock.crc_holds and not place % group_size and place // group_size < superblock.ag_count:
            return superblock, place
    return None


def _places(source: Source) -> Iterator[int]:
    """Where copies may stand: by what is left of the first superblock, and by what mkfs.xfs makes of a volume of this size."""
    sizes: list[tuple[int, int]] = []
    try:
        head = source.read(0, SUPERBLOCK_SIZE)
    except EvidenceError:
        head = b""
    if len(head) == SUPERBLOCK_SIZE:
        told = SUPERBLOCK.fields(head)
        sizes += [(told["sb_agblocks"] * size, told["sb_agcount"]) for size in (told["sb_blocksize"], *BLOCK_SIZES)]
        sizes += [(-(-told["sb_dblocks"] // GROUPS) * size, GROUPS) for size in BLOCK_SIZES]
    sizes += [(-(-(source.size // size) // GROUPS) * size, GROUPS) for size in BLOCK_SIZES]
    seen: set[int] = set()
    for size, count in sizes:
        for group in (count - 1, (count - 1) // 2, GROUPS - 1, GROUPS // 2 - 1):
            place = group * size
            if 0 < place < source.size and place not in seen:
                seen.add(place)
                yield place


def is_backed_up(source: Source) -> bool:
    """Whether a volume that does not begin as XFS holds a copy of its superblock."""
    return source.read(0, 4) != MAGIC and backup_superblock(source) is not None
