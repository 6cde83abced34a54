"""How long a volume is by its own superblock, for volumes whose partition table is gone.

Source: Linux 6.6 fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h; LVM2 lib/format_text/layout.h.
"""

from __future__ import annotations

from construct import Bytes, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul, Padding, Struct

from parsers import lvm2
from parsers.errors import FormatError

EXT_64BIT = 0x80
MAX_SIZE = 1 << 62

ext_sizes = Struct(
    "s_inodes_count" / Int32ul,
    "s_blocks_count_lo" / Int32ul,
    Padding(16),
    "s_log_block_size" / Int32ul,
    Padding(62),
    "s_block_group_nr" / Int16ul,
    Padding(4),
    "s_feature_incompat" / Int32ul,
    Padding(236),
    "s_blocks_count_hi" / Int32ul,
)
xfs_sizes = Struct("sb_magicnum" / Bytes(4), "sb_blocksize" / Int32ub, "sb_dblocks" / Int64ub)
btrfs_sizes = Struct(Padding(48), "bytenr" / Int64ul, Padding(56), "total_bytes" / Int64ul)


def filesystem_size(kind: str, head: bytes) -> int | None:
    """Bytes that the volume at whose start `head` stands takes up; 0 where it does not tell, None where this is not its start."""
    size = _size(kind, head)
    return size if size is not None and size < MAX_SIZE else None


def _size(kind: str, head: bytes) -> int | None:
    if kind in ("ext2", "ext3", "ext4"):
        ext = ext_sizes.parse(head[1024:2048])
        if ext.s_block_group_nr != 0:
            return None  # a backup superblock
        high = ext.s_blocks_count_hi << 32 if ext.s_feature_incompat & EXT_64BIT else 0
        return int((high | ext.s_blocks_count_lo) << (10 + ext.s_log_block_size)) or None
    if kind == "xfs":
        xfs = xfs_sizes.parse(head)
        return int(xfs.sb_blocksize * xfs.sb_dblocks) or None
    if kind == "btrfs":
        btrfs = btrfs_sizes.parse(head[65536:])
        return int(btrfs.total_bytes) if btrfs.bytenr == 65536 else None
    if kind == "lvm2":
        try:
            label = lvm2.read_label(head)
        except FormatError:
            return None
        return label.device_size if label else None
    return 0
