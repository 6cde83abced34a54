"""The superblock and the block group descriptors of ext2, ext3 and ext4.

Source: Linux 6.12, fs/ext4/ext4.h and super.c. All integers are little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Buffer, Layout

SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_SIZE = 1024
MAGIC = 0xEF53
ROOT_INODE = 2
GOOD_OLD_INODE_SIZE = 128


class Compat(IntFlag):
    """s_feature_compat, as far as reading depends on it."""

    HAS_JOURNAL = 0x4
    SPARSE_SUPER2 = 0x200
    FAST_COMMIT = 0x400
    ORPHAN_FILE = 0x1000


class Incompat(IntFlag):
    """s_feature_incompat."""

    COMPRESSION = 0x1
    FILETYPE = 0x2
    RECOVER = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    BIT64 = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGEDIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


class RoCompat(IntFlag):
    """s_feature_ro_compat, as far as reading depends on it."""

    SPARSE_SUPER = 0x1
    LARGE_FILE = 0x2
    GDT_CSUM = 0x10
    BIGALLOC = 0x200
    METADATA_CSUM = 0x400


READ_INCOMPAT = (
    Incompat.FILETYPE | Incompat.RECOVER | Incompat.META_BG | Incompat.EXTENTS | Incompat.BIT64 | Incompat.MMP | Incompat.FLEX_BG
    | Incompat.EA_INODE | Incompat.CSUM_SEED | Incompat.LARGEDIR | Incompat.INLINE_DATA | Incompat.ENCRYPT | Incompat.CASEFOLD
)  # fmt: skip
"""Incompatible features that are read; with any other, data stand in a form that is not known here."""


SUPERBLOCK = Layout(
    Struct(
        "s_inodes_count" / Int32ul,
        "s_blocks_count_lo" / Int32ul,
        "s_r_blocks_count_lo" / Int32ul,
        "s_free_blocks_count_lo" / Int32ul,
        "s_free_inodes_count" / Int32ul,
        "s_first_data_block" / Int32ul,
        "s_log_block_size" / Int32ul,
        "s_log_cluster_size" / Int32ul,
        "s_blocks_per_group" / Int32ul,
        "s_clusters_per_group" / Int32ul,
        "s_inodes_per_group" / Int32ul,
        "s_mtime" / Int32ul,
        "s_wtime" / Int32ul,
        "s_mnt_count" / Int16ul,
        "s_max_mnt_count" / Int16ul,
        "s_magic" / Int16ul,
        "s_state" / Int16ul,
        "s_errors" / Int16ul,
        "s_minor_rev_level" / Int16ul,
        "s_lastcheck" / Int32ul,
        "s_checkinterval" / Int32ul,
        "s_creator_os" / Int32ul,
        "s_rev_level" / Int32ul,
        "s_def_resuid" / Int16ul,
        "s_def_resgid" / Int16ul,
        "s_first_ino" / Int32ul,
        "s_inode_size" / Int16ul,
        "s_block_group_nr" / Int16ul,
        "s_feature_compat" / Int32ul,
        "s_feature_incompat" / Int32ul,
        "s_feature_ro_compat" / Int32ul,
        "s_uuid" / Bytes(16),
        "s_volume_name" / Bytes(16),
        "s_last_mounted" / Bytes(64),
        "s_algorithm_usage_bitmap" / Int32ul,
        "s_prealloc_blocks" / Int8ul,
        "s_prealloc_dir_blocks" / Int8ul,
        "s_reserved_gdt_blocks" / Int16ul,
        "s_journal_uuid" / Bytes(16),
        "s_journal_inum" / Int32ul,
        "s_journal_dev" / Int32ul,
        "s_last_orphan" / Int32ul,
        "s_hash_seed" / Array(4, Int32ul),
        "s_def_hash_version" / Int8ul,
        "s_jnl_backup_type" / Int8ul,
        "s_desc_size" / Int16ul,
        "s_default_mount_opts" / Int32ul,
        "s_first_meta_bg" / Int32ul,
        "s_mkfs_time" / Int32ul,
        "s_jnl_blocks" / Array(17, Int32ul),
        "s_blocks_count_hi" / Int32ul,
        "s_r_blocks_count_hi" / Int32ul,
        "s_free_blocks_count_hi" / Int32ul,
        "s_min_extra_isize" / Int16ul,
        "s_want_extra_isize" / Int16ul,
        "s_flags" / Int32ul,
        "s_raid_stride" / Int16ul,
        "s_mmp_update_interval" / Int16ul,
        "s_mmp_block" / Int64ul,
        "s_raid_stripe_width" / Int32ul,
        "s_log_groups_per_flex" / Int8ul,
        "s_checksum_type" / Int8ul,
        "s_encryption_level" / Int8ul,
        Padding(1),
        "s_kbytes_written" / Int64ul,
        Padding(20),  # snapshots, never merged
        "s_error_count" / Int32ul,
        Padding(0x24C - 0x198),  # where and when errors were seen, mount options, quota inodes
        "s_backup_bgs" / Array(2, Int32ul),
        Padding(0x270 - 0x254),  # encryption settings, lost+found, project quota
        "s_checksum_seed" / Int32ul,
        Padding(8),  # high bytes of times
        "s_encoding" / Int16ul,
        "s_encoding_flags" / Int16ul,
        "s_orphan_file_inum" / Int32ul,
        Padding(0x3FC - 0x284),
        "s_checksum" / Int32ul,
    )
)

GROUP_DESC = Layout(
    Struct(
        "bg_block_bitmap_lo" / Int32ul,
        "bg_inode_bitmap_lo" / Int32ul,
        "bg_inode_table_lo" / Int32ul,
        "bg_free_blocks_count_lo" / Int16ul,
        "bg_free_inodes_count_lo" / Int16ul,
        "bg_used_dirs_count_lo" / Int16ul,
        "bg_flags" / Int16ul,
        "bg_exclude_bitmap_lo" / Int32ul,
        "bg_block_bitmap_csum_lo" / Int16ul,
        "bg_inode_bitmap_csum_lo" / Int16ul,
        "bg_itable_unused_lo" / Int16ul,
        "bg_checksum" / Int16ul,
        "bg_block_bitmap_hi" / Int32ul,
        "bg_inode_bitmap_hi" / Int32ul,
        "bg_inode_table_hi" / Int32ul,
        "bg_free_blocks_count_hi" / Int16ul,
        "bg_free_inodes_count_hi" / Int16ul,
        "bg_used_dirs_count_hi" / Int16ul,
        "bg_itable_unused_hi" / Int16ul,
        "bg_exclude_bitmap_hi" / Int32ul,
        "bg_block_bitmap_csum_hi" / Int16ul,
        "bg_inode_bitmap_csum_hi" / Int16ul,
        Padding(4),
    )
)
"""With 32-byte descriptors (no 64bit feature) the second half is absent and reads as zeros."""
GROUP_INODE_UNINIT = 0x1
GROUP_BLOCK_UNINIT = 0x2


@dataclass(frozen=True, slots=True)
class Superblock:
    """What reading needs of a superblock. sizes in bytes; counts as they stand, not yet held against the source's size."""

    inodes_count: int
    blocks_count: int
    first_data_block: int
    block_size: int
    cluster_size: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    first_meta_bg: int
    reserved_descriptor_blocks: int
    backup_groups: tuple[int, int]
    group_number: int
    state: int
    compat: Compat
    incompat: Incompat
    ro_compat: RoCompat
    uuid: bytes
    label: bytes
    journal_inode: int
    journal_device: int
    journal_uuid: bytes
    journal_backup: tuple[int, ...]
    journal_backup_type: int
    last_orphan: int
    orphan_file: int
    checksum_seed: int | None
    checksum: int

    @property
    def groups(self) -> int:
        """Number of block groups."""
        return -(-(self.blocks_count - self.first_data_block) // self.blocks_per_group)

    @property
    def needs_recovery(self) -> bool:
        """The journal holds what the disk does not have yet."""
        return bool(self.incompat & Incompat.RECOVER)

    @property
    def kind(self) -> str:
        """ext4, ext3 or ext2, by the features that only the later ones have."""
        beyond_ext3 = Incompat.FILETYPE | Incompat.RECOVER | Incompat.META_BG
        if self.incompat & ~beyond_ext3 or self.ro_compat & ~(RoCompat.SPARSE_SUPER | RoCompat.LARGE_FILE | 0x4):
            return "ext4"
        return "ext3" if self.compat & Compat.HAS_JOURNAL else "ext2"

    def has_superblock(self, group: int) -> bool:
        """Whether a block group begins with a superblock; super.c ext4_bg_has_super."""
        if group == 0:
            return True
        if self.compat & Compat.SPARSE_SUPER2:
            return group in self.backup_groups
        if group == 1 or not self.ro_compat & RoCompat.SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def parse_superblock(data: Buffer) -> Superblock:
    """A superblock of 1024 bytes. Raises FormatError where it is none or contradicts itself, else UnsupportedFormat."""
    if len(data) < SUPERBLOCK_SIZE:
        raise FormatError("the superblock is cut off")
    s = SUPERBLOCK.fields(data)
    if s["s_magic"] != MAGIC:
        raise FormatError(f"no ext2/3/4 superblock: magic is {s['s_magic']:#06x}")
    if s["s_log_block_size"] > 6:
        raise FormatError(f"s_log_block_size is {s['s_log_block_size']}, more than 6", offset=0x18)
    if s["s_log_cluster_size"] > 20:
        raise FormatError(f"s_log_cluster_size is {s['s_log_cluster_size']}, more than 20", offset=0x1C)
    incompat = Incompat(s["s_feature_incompat"])
    wide = bool(incompat & Incompat.BIT64)
    dynamic = s["s_rev_level"] > 0
    superblock = Superblock(
        inodes_count=s["s_inodes_count"],
        blocks_count=s["s_blocks_count_lo"] | (s["s_blocks_count_hi"] << 32 if wide else 0),
        first_data_block=s["s_first_data_block"],
        block_size=1024 << s["s_log_block_size"],
        cluster_size=1024 << s["s_log_cluster_size"],
        blocks_per_group=s["s_blocks_per_group"],
        inodes_per_group=s["s_inodes_per_group"],
        inode_size=s["s_inode_size"] if dynamic else GOOD_OLD_INODE_SIZE,
        descriptor_size=s["s_desc_size"] if wide else 32,
        first_meta_bg=s["s_first_meta_bg"],
        reserved_descriptor_blocks=s["s_reserved_gdt_blocks"],
        backup_groups=s["s_backup_bgs"],
        group_number=s["s_block_group_nr"],
        state=s["s_state"],
        compat=Compat(s["s_feature_compat"]),
        incompat=incompat,
        ro_compat=RoCompat(s["s_feature_ro_compat"]),
        uuid=s["s_uuid"],
        label=s["s_volume_name"].split(b"\0")[0],
        journal_inode=s["s_journal_inum"],
        journal_device=s["s_journal_dev"],
        journal_uuid=s["s_journal_uuid"],
        journal_backup=s["s_jnl_blocks"],
        journal_backup_type=s["s_jnl_backup_type"],
        last_orphan=s["s_last_orphan"],
        orphan_file=s["s_orphan_file_inum"] if s["s_feature_compat"] & Compat.ORPHAN_FILE else 0,
        checksum_seed=s["s_checksum_seed"] if incompat & Incompat.CSUM_SEED else None,
        checksum=s["s_checksum"],
    )
    _check(superblock)
    return superblock


def _check(s: Superblock) -> None:
    """The kernel's own conditions for a mount (super.c ext4_check_geometry and its neighbours)."""
    unread = int(s.incompat) & ~int(READ_INCOMPAT)
    if unread:
        raise UnsupportedFormat(f"unsupported features: {', '.join(_feature_names(unread))}")
    size = s.inode_size
    if not GOOD_OLD_INODE_SIZE <= size <= s.block_size or size & (size - 1):
        raise FormatError(f"s_inode_size is {size}", offset=0x58)
    if s.incompat & Incompat.BIT64 and (
        not 64 <= s.descriptor_size <= s.block_size or s.descriptor_size & (s.descriptor_size - 1)
    ):
        raise FormatError(f"s_desc_size is {s.descriptor_size}", offset=0xFE)
    if not 0 < s.inodes_per_group <= s.block_size * 8:
        raise FormatError(f"s_inodes_per_group is {s.inodes_per_group}", offset=0x28)
    if s.blocks_per_group < 8:
        raise FormatError(f"s_blocks_per_group is {s.blocks_per_group}", offset=0x20)
    if not s.first_data_block < s.blocks_count < 1 << 48:
        raise FormatError(f"s_blocks_count is {s.blocks_count}, s_first_data_block {s.first_data_block}", offset=4)
    if s.groups * s.inodes_per_group != s.inodes_count:
        raise FormatError(f"s_inodes_count is {s.inodes_count}, not {s.groups} groups of {s.inodes_per_group}", offset=0)


def _feature_names(features: int) -> list[str]:
    names = []
    for bit in range(32):
        if features >> bit & 1:
            known = Incompat._value2member_map_.get(1 << bit)
            names.append(f"incompat {1 << bit:#x}" + (f" ({known.name.lower()})" if known is not None and known.name else ""))
    return names
