"""Where everything stands on an ext2/3/4 filesystem: its superblock, or a backup of it, and its block group descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import read_exactly, read_or_nothing
from forensics.source import Source
from parsers.crc32c import crc32c, crc32c_rows
from parsers.errors import FormatError, UnsupportedFormat
from parsers.ext4 import (
    GROUP_BLOCK_UNINIT,
    GROUP_DESC,
    GROUP_INODE_UNINIT,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    Compat,
    Incompat,
    RoCompat,
    Superblock,
    parse_superblock,
)

MAX_DESCRIPTOR_BYTES = 256 << 20  # 500 TB of 4 KiB blocks
BACKUP_GROUPS = (1, 3, 5, 7, 9, 25, 27, 49)
BACKED_UP, AS_IT_IS, LOST = "its backup is used", "it is used as it is", "its inodes are lost"
MAX_LOG_RATIO = 10  # blocks in a cluster, bigalloc only
_CHECKSUM_AT = GROUP_DESC.offset_of("bg_checksum")


@dataclass(frozen=True, slots=True)
class Geometry:
    """The layout of one filesystem.

    tables: byte offset of each group's inode table, -1 where it is lost. used: how many inodes of each table were ever in use.
    block_bitmaps, inode_bitmaps: the block of each group's bitmaps, -1 where it is lost. unwritten: groups whose block bitmap was
    never written, and says nothing.
    directories: how many there are, as far as the descriptors can be believed.
    seed: of all metadata checksums, None where there are none. backup: the primary superblock was not to be used.
    """

    superblock: Superblock
    tables: NDArray[np.int64]
    used: NDArray[np.int64]
    block_bitmaps: NDArray[np.int64]
    inode_bitmaps: NDArray[np.int64]
    unwritten: NDArray[np.bool_]
    directories: int
    seed: int | None
    backup: bool

    @property
    def cluster_size(self) -> int:
        """Bytes that are given to a file at a time; a block, but for bigalloc."""
        return self.superblock.cluster_size

    def is_block(self, block: int, count: int = 1) -> bool:
        """Whether a run of blocks is inside the filesystem, where file data can be."""
        return self.superblock.first_data_block < block and block + count <= self.superblock.blocks_count


def read_geometry(source: Source, problems: ProblemLog) -> Geometry:
    """Open a filesystem. Raises FormatError where no superblock is usable, UnsupportedFormat naming the features."""
    superblock, backup = _superblock(source, problems)
    descriptors = superblock.groups * superblock.descriptor_size
    if descriptors > min(MAX_DESCRIPTOR_BYTES, source.size):
        raise FormatError(
            f"{superblock.groups} block groups are more than {source.size} bytes can hold", source.name, SUPERBLOCK_OFFSET
        )
    seed = superblock.checksum_seed if superblock.checksum_seed is not None else crc32c(superblock.uuid)
    has_checksums = bool(superblock.ro_compat & RoCompat.METADATA_CSUM)
    missing = superblock.blocks_count * superblock.block_size - source.size
    if missing >= superblock.block_size:
        problems.add("filesystem", source.name, f"the last {missing} bytes of the filesystem are missing", source.size)
    groups = _groups(source, superblock, seed if has_checksums else None, problems)
    return Geometry(superblock, *groups, seed if has_checksums else None, backup)


def _superblock(source: Source, problems: ProblemLog) -> tuple[Superblock, bool]:
    """The primary superblock if its checksum is right, else the first good backup, else the primary as it is."""
    try:
        primary, whole = _read_superblock(source, SUPERBLOCK_OFFSET)
        if whole:
            return primary, False
        failure = FormatError("the superblock's checksum is wrong", source.name, SUPERBLOCK_OFFSET)
    except FormatError as error:
        primary, failure = None, error
    for offset in _backup_offsets(source.size):
        try:
            backup, whole = _read_superblock(source, offset)
        except FormatError:
            continue  # most candidates are where no superblock is
        if whole and backup.group_number > 0 and _first_byte(backup, backup.group_number) == offset:
            problems.add("superblock", source.name, f"{failure.what}; the backup at byte {offset} is used", SUPERBLOCK_OFFSET)
            if backup.compat & Compat.HAS_JOURNAL:  # only the journal itself knows then whether it is to be replayed
                backup = replace(backup, incompat=backup.incompat | Incompat.RECOVER)
            return backup, True
    if primary is None:
        raise failure
    problems.add("superblock", source.name, failure.what, SUPERBLOCK_OFFSET)
    return primary, False


def _read_superblock(source: Source, offset: int) -> tuple[Superblock, bool]:
    data = read_exactly(source, offset, SUPERBLOCK_SIZE)
    try:
        superblock = parse_superblock(data)
    except UnsupportedFormat as error:
        raise UnsupportedFormat(error.what, source.name, offset) from error
    except FormatError as error:
        raise FormatError(error.what, source.name, offset + (error.offset or 0)) from error
    if not superblock.ro_compat & RoCompat.METADATA_CSUM:
        return superblock, True
    return superblock, crc32c(data[:-4]) == superblock.checksum


def _backup_offsets(size: int) -> Iterator[int]:
    """Where mke2fs may have put backups: any block size, any cluster size, groups as large as one block of bitmap tells of."""
    found: set[int] = set()
    for log_size in range(7):
        block_size = 1024 << log_size
        for log_ratio in range(MAX_LOG_RATIO + 1):
            group_size = min(8 * block_size, 65528) * block_size << log_ratio
            found.update(group * group_size for group in BACKUP_GROUPS)
            if log_size == 0:
                found.update(group * group_size + block_size for group in BACKUP_GROUPS)
    return iter(sorted(offset for offset in found if offset < size))


def _first_byte(superblock: Superblock, group: int) -> int:
    return (superblock.first_data_block + group * superblock.blocks_per_group) * superblock.block_size


class _Groups(NamedTuple):
    tables: NDArray[np.int64]
    used: NDArray[np.int64]
    block_bitmaps: NDArray[np.int64]
    inode_bitmaps: NDArray[np.int64]
    unwritten: NDArray[np.bool_]
    directories: int


def _groups(source: Source, s: Superblock, seed: int | None, problems: ProblemLog) -> _Groups:
    """What the descriptors tell; a bad descriptor's table is taken from a backup."""
    kind = _descriptor_type(s)
    primary = _descriptors(source, s, 0)
    tables = _field(primary, kind, "bg_inode_table", 32)
    good = _plausible(tables, s)
    whole = good & _checksums_right(primary, s, seed)
    bitmaps = [_field(primary, kind, f"bg_{what}_bitmap", 32) for what in ("block", "inode")]
    used = np.full(s.groups, s.inodes_per_group, np.int64)
    unwritten = np.zeros(s.groups, np.bool_)
    if s.ro_compat & (RoCompat.GDT_CSUM | RoCompat.METADATA_CSUM):
        unused = _field(primary, kind, "bg_itable_unused", 16)
        fields = primary.view(kind)[:, 0]
        unused[fields["bg_flags"] & GROUP_INODE_UNINIT != 0] = s.inodes_per_group
        used = np.where(whole, np.clip(s.inodes_per_group - unused, 0, s.inodes_per_group), used)
        unwritten = whole & (fields["bg_flags"] & GROUP_BLOCK_UNINIT != 0)
    if not whole.all():
        backup = _descriptors(source, s, 1)
        backup_tables = _field(backup, kind, "bg_inode_table", 32)
        better = ~whole & _plausible(backup_tables, s) & _checksums_right(backup, s, seed)
        tables = np.where(better, backup_tables, tables)
        old = [_field(backup, kind, f"bg_{what}_bitmap", 32) for what in ("block", "inode")]
        bitmaps = [np.where(better, b, np.where(whole, a, -1)) for a, b in zip(bitmaps, old, strict=True)]
        tables[~(good | better)] = -1
        fates = np.where(better, BACKED_UP, np.where(good, AS_IT_IS, LOST))
        fates[whole] = ""
        for fate, groups in groupby(range(s.groups), key=lambda group: str(fates[group])):
            if fate:
                _report(s, list(groups), fate, problems)
    tables[tables >= 0] *= s.block_size
    directories = int(_field(primary, kind, "bg_used_dirs_count", 16)[whole].sum())
    bitmaps = [np.where((b > s.first_data_block) & (b < s.blocks_count), b, -1) for b in bitmaps]
    return _Groups(tables, used, bitmaps[0], bitmaps[1], unwritten, directories)


def _report(s: Superblock, groups: list[int], fate: str, problems: ProblemLog) -> None:
    place = _descriptor_block(s, groups[0] * s.descriptor_size // s.block_size, 0) * s.block_size
    offset = place + groups[0] * s.descriptor_size % s.block_size
    where = f"block group {groups[0]}" + (f" to {groups[-1]}" if len(groups) > 1 else "")
    problems.add("block group descriptor", where, f"the descriptor is damaged; {fate}", offset)


def _descriptor_type(s: Superblock) -> np.dtype[np.void]:
    if s.descriptor_size >= GROUP_DESC.size:
        return GROUP_DESC.dtype(s.descriptor_size)
    whole = GROUP_DESC.dtype()
    return np.dtype([(n, whole[n]) for n in whole.names or () if n.endswith("_lo") or n in ("bg_flags", "bg_checksum")])


def _descriptors(source: Source, s: Superblock, copy: int) -> NDArray[np.uint8]:
    """A copy (0: the primary) of the descriptors as rows of bytes; zeros where the source ends."""
    per_block = s.block_size // s.descriptor_size
    blocks = -(-s.groups // per_block)
    raw = bytearray()
    block = 0
    while block < blocks:
        count = 1
        if not _in_meta_group(s, block):
            count = blocks - block if not s.incompat & Incompat.META_BG else min(blocks, s.first_meta_bg) - block
        size = count * s.block_size
        raw += read_or_nothing(source, _descriptor_block(s, block, copy) * s.block_size, size).ljust(size, b"\0")
        block += count
    return np.frombuffer(bytes(raw[: s.groups * s.descriptor_size]), np.uint8).reshape(s.groups, s.descriptor_size)


def _in_meta_group(s: Superblock, block: int) -> bool:
    return bool(s.incompat & Incompat.META_BG) and block >= s.first_meta_bg


def _descriptor_block(s: Superblock, block: int, copy: int) -> int:
    """The filesystem block of the descriptors' n-th block; super.c descriptor_loc."""
    if _in_meta_group(s, block):
        group = block * (s.block_size // s.descriptor_size) + copy
        extra = 1 if s.has_superblock(group) else 0
        if s.block_size == 1024 and group == 0 and s.first_data_block == 0:
            extra += 1
        return s.first_data_block + group * s.blocks_per_group + extra
    if copy == 0:
        return SUPERBLOCK_OFFSET // s.block_size + 1 + block
    group = (s.backup_groups[0] or 1) if s.compat & Compat.SPARSE_SUPER2 else 1
    return s.first_data_block + group * s.blocks_per_group + 1 + block


def _field(rows: NDArray[np.uint8], kind: np.dtype[np.void], name: str, bits: int) -> NDArray[np.int64]:
    """A field of every descriptor, joined with its high part where descriptors have one."""
    fields = rows.view(kind)[:, 0]
    values: NDArray[np.int64] = fields[f"{name}_lo"].astype(np.int64)
    if f"{name}_hi" in (kind.names or ()):
        values |= fields[f"{name}_hi"].astype(np.int64) << bits
    return values


def _plausible(tables: NDArray[np.int64], s: Superblock) -> NDArray[np.bool_]:
    length = -(-s.inodes_per_group * s.inode_size // s.block_size)
    return (tables > s.first_data_block) & (tables <= s.blocks_count - length)


def _checksums_right(rows: NDArray[np.uint8], s: Superblock, seed: int | None) -> NDArray[np.bool_]:
    """super.c ext4_group_desc_csum, the metadata_csum form."""
    if seed is None:
        return np.ones(len(rows), np.bool_)
    numbers = np.arange(len(rows), dtype="<u4").view(np.uint8).reshape(-1, 4)
    blanked = rows.copy()
    blanked[:, _CHECKSUM_AT : _CHECKSUM_AT + 2] = 0
    wanted = rows[:, _CHECKSUM_AT : _CHECKSUM_AT + 2].copy().view("<u2")[:, 0]
    right: NDArray[np.bool_] = crc32c_rows(np.hstack([numbers, blanked]), seed) & 0xFFFF == wanted
    return right
