"""What stands in a volume, told by its signature alone.

Source: the superblock structures of Linux 6.6 (fs/*/, include/uapi/linux/), libblkid of util-linux 2.38 for the order in which
signatures win over stale ones, cryptsetup's and LVM2's on-disk format pages for LUKS and physical volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parsers import lvm2
from parsers.errors import FormatError

HEAD_SIZE = 0x22000
"""Bytes at the start of a volume in which all signatures of SIGNATURES stand."""

EXT_SUPERBLOCK = 1024
_EXT3_INCOMPAT = 0x0002 | 0x0004 | 0x0010  # filetype, needs recovery, meta_bg
_EXT3_RO_COMPAT = 0x0001 | 0x0002 | 0x0004  # sparse_super, large_file, btree_dir
_EXT_HAS_JOURNAL = 0x0004
_EXT_JOURNAL_DEVICE = 0x0008


@dataclass(frozen=True, slots=True)
class Signature:
    """`magic` at byte `offset` of a volume says `kind`, if `check` of the volume's head agrees."""

    kind: str
    offset: int
    magic: bytes
    check: Callable[[bytes], bool] | None = None

    def matches(self, head: bytes) -> bool:
        """Whether the head of a volume bears this signature."""
        found = head[self.offset : self.offset + len(self.magic)] == self.magic
        return found and (self.check is None or self.check(head))


def _u16(head: bytes, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 2], "little")


def _u32(head: bytes, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 4], "little")


def _is_ext(head: bytes) -> bool:
    """A two-byte magic proves little: the block size must be one that ext can have, and there must be inodes."""
    return _u32(head, EXT_SUPERBLOCK + 24) <= 6 and _u32(head, EXT_SUPERBLOCK) > 0


def _is_fat(head: bytes) -> bool:
    """What Linux asks of a FAT boot sector, fs/fat/inode.c fat_read_bpb, and a boot jump."""
    sector, cluster, media = _u16(head, 11), head[13], head[21]
    return (
        (head[0] == 0xEB or head[0] == 0xE9)
        and sector in (512, 1024, 2048, 4096)
        and cluster != 0
        and cluster & (cluster - 1) == 0
        and _u16(head, 14) != 0
        and head[16] in (1, 2)
        and (media == 0xF0 or media >= 0xF8)
        and (_u16(head, 19) != 0 or _u32(head, 32) != 0)
    )


def _is_physical_volume(head: bytes) -> bool:
    try:
        return lvm2.read_label(head) is not None
    except FormatError:
        return True  # a damaged one; who opens it will say how


MD_MAGIC = b"\xfc\x4e\x2b\xa9"
BCACHE_UUID = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
BCACHEFS_UUID = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")

# The first that matches wins. What lies below a filesystem (encryption, RAID, LVM) stands before filesystems, because a
# filesystem's signature inside it may be a stale one; Btrfs stands behind ext, whose mkfs leaves an old Btrfs signature alone.
SIGNATURES: tuple[Signature, ...] = (
    Signature("luks", 0, b"LUKS\xba\xbe"),
    Signature("bitlocker", 3, b"-FVE-FS-"),
    Signature("vdo", 0, b"dmvdo001"),
    Signature("integrity", 0, b"integrt\0"),
    Signature("ceph_bluestore", 0, b"bluestore block device"),
    Signature("md_raid", 4096, MD_MAGIC),
    Signature("md_raid", 0, MD_MAGIC),
    *(Signature("lvm2", sector * 512, b"LABELONE", _is_physical_volume) for sector in range(lvm2.LABEL_SECTORS)),
    Signature("stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    Signature("bcache", 4096 + 24, BCACHE_UUID),
    Signature("bcachefs", 4096 + 24, BCACHEFS_UUID),
    Signature("xfs", 0, b"XFSB"),
    Signature("squashfs", 0, b"hsqs"),
    Signature("ntfs", 3, b"NTFS    "),
    Signature("exfat", 3, b"EXFAT   "),
    Signature("ext", EXT_SUPERBLOCK + 56, b"\x53\xef", _is_ext),
    Signature("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    Signature("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    Signature("nilfs2", 1024 + 6, b"\x34\x34"),
    Signature("hfs", 1024, b"H+\x00\x04"),
    Signature("hfs", 1024, b"HX\x00\x05"),
    Signature("apfs", 32, b"NXSB"),
    Signature("reiserfs", 65536 + 52, b"ReIsEr"),
    Signature("btrfs", 65536 + 64, b"_BHRfS_M"),
    Signature("gfs2", 65536, b"\x01\x16\x19\x70\x00\x00\x00\x01"),
    Signature("ocfs2", 8192, b"OCFSV2"),
    Signature("jfs", 32768, b"JFS1"),
    Signature("iso9660", 32768, b"\x01CD001"),
    Signature("ufs", 65536 + 1372, b"\x19\x01\x54\x19"),
    Signature("ufs", 8192 + 1372, b"\x54\x19\x01\x00"),
    Signature("zfs", 0x20000, b"\x0c\xb1\xba\x00\x00\x00\x00\x00"),
    Signature("fat", 510, b"\x55\xaa", _is_fat),
    *(Signature("swap", page - 10, b"SWAPSPACE2") for page in (4096, 8192, 16384, 65536)),
    *(Signature("hibernation", page - 10, b"S1SUSPEND\0") for page in (4096, 16384, 65536)),
)


def identify(head: bytes) -> str | None:
    """What the first HEAD_SIZE bytes of a volume say it holds; None where nothing is recognised."""
    for signature in SIGNATURES:
        if signature.matches(head):
            return _ext_kind(head) if signature.kind == "ext" else signature.kind
    return None


def _ext_kind(head: bytes) -> str:
    """Ext2, ext3 or ext4, by the features that only the younger of them know."""
    compat, incompat, ro_compat = (_u32(head, EXT_SUPERBLOCK + offset) for offset in (92, 96, 100))
    if incompat == _EXT_JOURNAL_DEVICE:  # mke2fs gives such a device no other; the bit among others is damage
        return "ext_journal"
    if incompat & ~_EXT3_INCOMPAT or ro_compat & ~_EXT3_RO_COMPAT:
        return "ext4"
    return "ext3" if compat & _EXT_HAS_JOURNAL else "ext2"


def md_at_end(size: int) -> tuple[int, int]:
    """Where an md superblock stands that lies at the end of a volume of `size` bytes: formats 1.0 and 0.90.

    Source: include/uapi/linux/raid/md_p.h, drivers/md/md.c super_1_load and calc_dev_sboffset.
    """
    sectors = size // 512
    return ((sectors - 16) & ~7) * 512, ((size // 65536) - 1) * 65536


def md_level(superblock: bytes) -> int | None:
    """The RAID level that an md superblock gives, None where it is none."""
    if superblock[:4] != MD_MAGIC:
        return None
    place = 28 if superblock[4:8] == bytes(4) else 72  # format 0.90 has its major number, 0, here
    return int.from_bytes(superblock[place : place + 4], "little", signed=True)


def is_ext_backup(superblock: bytes, block_size: int) -> bool:
    """Whether these bytes are the superblock that the second block group of an ext filesystem has."""
    return (
        superblock[56:58] == b"\x53\xef"
        and _u32(superblock, 24) <= 6
        and 1024 << _u32(superblock, 24) == block_size
        and _u16(superblock, 90) == 1
    )
