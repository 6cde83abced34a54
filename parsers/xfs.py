"""The superblock, the allocation groups' inode headers and the inode B+trees of XFS.

Source: Linux 6.18, fs/xfs/libxfs/xfs_format.h and xfs_sb.c. All integers are big-endian, but for checksums.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64sb, Int64ub, Padding, Struct

from parsers.crc32c import crc32c
from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Buffer, Layout

MAGIC = b"XFSB"
SUPERBLOCK_SIZE = 512
CRC_AT = 224  # sb_crc
MAX_LEVELS = 9  # XFS_BTREE_MAXLEVELS
INODES_PER_CHUNK = 64
INODES_PER_HOLEMASK_BIT = 4


class Version(IntFlag):
    """sb_versionnum: the version in its low four bits, and features."""

    NUMBERS = 0xF
    LOGV2 = 0x400
    DIRV2 = 0x2000
    BORG = 0x4000
    MORE = 0x8000


class Features2(IntFlag):
    """sb_features2, which version 4 has its later features in."""

    FTYPE = 0x200


class RoCompat(IntFlag):
    """sb_features_ro_compat."""

    RMAPBT = 0x2


class Incompat(IntFlag):
    """sb_features_incompat."""

    FTYPE = 0x1
    SPINODES = 0x2
    META_UUID = 0x4
    BIGTIME = 0x8
    NEEDSREPAIR = 0x10
    NREXT64 = 0x20
    EXCHRANGE = 0x40
    PARENT = 0x80
    METADIR = 0x100
    ZONED = 0x200


READ_INCOMPAT = 0x1FF
"""The incompatible features with which all that is read here stands where it always did."""

SUPERBLOCK = Layout(
    Struct(
        "sb_magicnum" / Bytes(4),
        "sb_blocksize" / Int32ub,
        "sb_dblocks" / Int64ub,
        "sb_rblocks" / Int64ub,
        "sb_rextents" / Int64ub,
        "sb_uuid" / Bytes(16),
        "sb_logstart" / Int64ub,
        "sb_rootino" / Int64ub,
        "sb_rbmino" / Int64ub,
        "sb_rsumino" / Int64ub,
        "sb_rextsize" / Int32ub,
        "sb_agblocks" / Int32ub,
        "sb_agcount" / Int32ub,
        "sb_rbmblocks" / Int32ub,
        "sb_logblocks" / Int32ub,
        "sb_versionnum" / Int16ub,
        "sb_sectsize" / Int16ub,
        "sb_inodesize" / Int16ub,
        "sb_inopblock" / Int16ub,
        "sb_fname" / Bytes(12),
        "sb_blocklog" / Int8ub,
        "sb_sectlog" / Int8ub,
        "sb_inodelog" / Int8ub,
        "sb_inopblog" / Int8ub,
        "sb_agblklog" / Int8ub,
        "sb_rextslog" / Int8ub,
        "sb_inprogress" / Int8ub,
        "sb_imax_pct" / Int8ub,
        "sb_icount" / Int64ub,
        "sb_ifree" / Int64ub,
        "sb_fdblocks" / Int64ub,
        "sb_frextents" / Int64ub,
        "sb_uquotino" / Int64ub,
        "sb_gquotino" / Int64ub,
        "sb_qflags" / Int16ub,
        "sb_flags" / Int8ub,
        "sb_shared_vn" / Int8ub,
        "sb_inoalignmt" / Int32ub,
        "sb_unit" / Int32ub,
        "sb_width" / Int32ub,
        "sb_dirblklog" / Int8ub,
        "sb_logsectlog" / Int8ub,
        "sb_logsectsize" / Int16ub,
        "sb_logsunit" / Int32ub,
        "sb_features2" / Int32ub,
        "sb_bad_features2" / Int32ub,
        "sb_features_compat" / Int32ub,
        "sb_features_ro_compat" / Int32ub,
        "sb_features_incompat" / Int32ub,
        "sb_features_log_incompat" / Int32ub,
        "sb_crc" / Bytes(4),
        "sb_spino_align" / Int32ub,
        "sb_pquotino" / Int64ub,
        "sb_lsn" / Int64sb,
        "sb_meta_uuid" / Bytes(16),
    )
)
AGI = Layout(
    Struct(
        "agi_magicnum" / Bytes(4),
        "agi_versionnum" / Int32ub,
        "agi_seqno" / Int32ub,
        "agi_length" / Int32ub,
        "agi_count" / Int32ub,
        "agi_root" / Int32ub,
        "agi_level" / Int32ub,
        "agi_freecount" / Int32ub,
        "agi_newino" / Int32ub,
        "agi_dirino" / Int32ub,
        "agi_unlinked" / Bytes(256),
        "agi_uuid" / Bytes(16),
        "agi_crc" / Bytes(4),
        Padding(4),
        "agi_lsn" / Int64ub,
    )
)
AGI_MAGIC = b"XAGI"
AGI_SECTOR = 2  # of the allocation group

SHORT_BLOCK = Layout(
    Struct(
        "bb_magic" / Bytes(4),
        "bb_level" / Int16ub,
        "bb_numrecs" / Int16ub,
        "bb_leftsib" / Int32ub,
        "bb_rightsib" / Int32ub,
    )
)
"""A B+tree block whose pointers are blocks of the allocation group; with checksums 40 bytes follow, blkno to crc."""
LONG_BLOCK = Layout(
    Struct(
        "bb_magic" / Bytes(4),
        "bb_level" / Int16ub,
        "bb_numrecs" / Int16ub,
        "bb_leftsib" / Int64ub,
        "bb_rightsib" / Int64ub,
    )
)
"""A B+tree block whose pointers are filesystem blocks; with checksums 48 bytes follow, blkno to padding."""
SHORT_CRC_SIZE, SHORT_CRC_AT = 56, 52
LONG_CRC_SIZE, LONG_CRC_AT = 72, 64
INOBT_MAGICS = (b"IABT", b"IAB3")
INOBT_REC = Layout(
    Struct("ir_startino" / Int32ub, "ir_holemask" / Int16ub, "ir_count" / Int8ub, "ir_freecount" / Int8ub, "ir_free" / Int64ub)
)


@dataclass(frozen=True, slots=True)
class Superblock:
    """What reading depends on, checked. A file system block number holds the allocation group above `agblklog` bits."""

    block_size: int
    blocks: int
    uuid: bytes
    meta_uuid: bytes
    log_start: int
    log_blocks: int
    log_sector_size: int
    root: int
    ag_blocks: int
    ag_count: int
    sector_size: int
    inode_size: int
    label: bytes
    block_log: int
    inopblog: int
    agblklog: int
    dir_block_size: int
    inodes: int
    version: int
    incompat: int
    has_types: bool
    has_log_v2: bool
    has_reverse_maps: bool
    realtime_blocks: int
    crc_holds: bool

    @property
    def has_crc(self) -> bool:
        """Version 5: metadata names its owner and place, and has checksums."""
        return self.version == 5


def crc_holds(data: Buffer, at: int) -> bool:
    """Whether a structure's CRC-32C, little-endian at `at` and taken as zeros itself, is right."""
    whole = bytes(data[:at]) + b"\0\0\0\0" + bytes(data[at + 4 :])
    return crc32c(whole) ^ 0xFFFFFFFF == int.from_bytes(data[at : at + 4], "little")


def parse_superblock(data: Buffer) -> Superblock:
    """A superblock's sector. Raises FormatError where it cannot be one, UnsupportedFormat naming features."""
    if len(data) < SUPERBLOCK_SIZE:
        raise FormatError("the superblock is cut off", offset=len(data))
    s = SUPERBLOCK.fields(data)
    if s["sb_magicnum"] != MAGIC:
        raise FormatError("no XFS superblock", offset=0)
    version = int(s["sb_versionnum"] & Version.NUMBERS)
    if version not in (4, 5) or not s["sb_versionnum"] & Version.DIRV2:
        raise UnsupportedFormat(f"XFS of version {version}" + (" with directories of version 1" if version == 4 else ""))
    incompat = s["sb_features_incompat"] if version == 5 else 0
    if incompat & ~READ_INCOMPAT:
        raise UnsupportedFormat(f"XFS with {_names(incompat & ~READ_INCOMPAT)}, which is not read")
    _check(s, version)
    sector = s["sb_sectsize"]
    features2 = s["sb_features2"] | s["sb_bad_features2"] if s["sb_versionnum"] & Version.MORE else 0
    return Superblock(
        block_size=s["sb_blocksize"],
        blocks=s["sb_dblocks"],
        uuid=s["sb_uuid"],
        meta_uuid=s["sb_meta_uuid"] if incompat & Incompat.META_UUID else s["sb_uuid"],
        log_start=s["sb_logstart"],
        log_blocks=s["sb_logblocks"],
        log_sector_size=s["sb_logsectsize"] or 512,
        root=s["sb_rootino"],
        ag_blocks=s["sb_agblocks"],
        ag_count=s["sb_agcount"],
        sector_size=sector,
        inode_size=s["sb_inodesize"],
        label=s["sb_fname"].split(b"\0", 1)[0],
        block_log=s["sb_blocklog"],
        inopblog=s["sb_inopblog"],
        agblklog=s["sb_agblklog"],
        dir_block_size=s["sb_blocksize"] << s["sb_dirblklog"],
        inodes=s["sb_icount"],
        version=version,
        incompat=incompat,
        has_types=bool(incompat & Incompat.FTYPE) if version == 5 else bool(features2 & Features2.FTYPE),
        has_log_v2=bool(s["sb_versionnum"] & Version.LOGV2),
        has_reverse_maps=version == 5 and bool(s["sb_features_ro_compat"] & RoCompat.RMAPBT),
        realtime_blocks=s["sb_rblocks"],
        crc_holds=version == 4 or (len(data) >= sector and crc_holds(data[:sector], CRC_AT)),
    )


def _check(s: dict[str, int], version: int) -> None:
    """The bounds that the kernel sets, xfs_sb.c xfs_validate_sb_common."""
    block_log, agblklog = s["sb_blocklog"], s["sb_agblklog"]
    rules = (
        ("sb_blocksize", 9 <= block_log <= 16 and s["sb_blocksize"] == 1 << block_log),
        ("sb_sectsize", s["sb_sectsize"] in (512, 1024, 2048, 4096, 8192, 16384, 32768)),
        ("sb_inodesize", s["sb_inodesize"] in (256, 512, 1024, 2048) and s["sb_inodesize"] <= s["sb_blocksize"]),
        ("sb_inodesize", version == 4 or s["sb_inodesize"] >= 512),
        ("sb_inopblog", s["sb_inopblog"] == block_log - s["sb_inodesize"].bit_length() + 1),
        ("sb_agblocks", 0 < s["sb_agblocks"] < 1 << 31),
        ("sb_agblklog", agblklog == (s["sb_agblocks"] - 1).bit_length()),
        ("sb_agcount", 0 < s["sb_agcount"] < 1 << 31),
        ("sb_dirblklog", s["sb_dirblklog"] + block_log <= 16),
        ("sb_dblocks", (s["sb_agcount"] - 1) * s["sb_agblocks"] < s["sb_dblocks"] <= s["sb_agcount"] * s["sb_agblocks"]),
        ("sb_rootino", 0 < s["sb_rootino"] < 1 << 63),
    )
    for name, holds in rules:
        if not holds:
            raise FormatError(f"{name} is {s[name]}", offset=SUPERBLOCK.offset_of(name))


def _names(features: int) -> str:
    names = [f.name or "" for f in Incompat if features & f]
    unknown = features & ~sum(Incompat)
    return ", ".join([*names, *([f"incompatible features {unknown:#x}"] if unknown else [])]).lower()


class InodeChunk(NamedTuple):
    """64 inodes of an allocation group; bit n of `absent` and `free` is inode `start` + n."""

    start: int
    absent: int
    free: int


class InodeTreeBlock(NamedTuple):
    """A block of an inode B+tree: chunks where level is 0, else the blocks of its children."""

    level: int
    chunks: list[InodeChunk]
    children: tuple[int, ...]


def parse_agi(data: Buffer, number: int) -> tuple[int, int]:
    """The root block and the number of levels of an allocation group's inode B+tree. Raises FormatError."""
    if len(data) < AGI.size:
        raise FormatError("the inode header is cut off")
    agi = AGI.fields(data)
    if agi["agi_magicnum"] != AGI_MAGIC or agi["agi_seqno"] != number:
        raise FormatError(f"no inode header of allocation group {number}", offset=0)
    if not 1 <= agi["agi_level"] <= MAX_LEVELS:
        raise FormatError(f"agi_level is {agi['agi_level']}", offset=AGI.offset_of("agi_level"))
    return agi["agi_root"], agi["agi_level"]


def parse_inode_tree_block(data: Buffer, level: int, has_crc: bool, sparse: bool) -> InodeTreeBlock:
    """A block of an inode B+tree that stands `level` levels above the leaves. Raises FormatError where it is none."""
    header = SHORT_CRC_SIZE if has_crc else SHORT_BLOCK.size
    if len(data) < header:
        raise FormatError("an inode B+tree block is cut off")
    magic, found, count, _, _ = SHORT_BLOCK.unpack(data)
    if magic != INOBT_MAGICS[has_crc] or found != level:
        raise FormatError(f"no inode B+tree block of level {level}", offset=0)
    if not level:
        if count > (len(data) - header) // INOBT_REC.size:
            raise FormatError(f"an inode B+tree block of {count} records", offset=6)
        records = memoryview(data)[header : header + count * INOBT_REC.size]
        chunks = [
            InodeChunk(start, _spread(holes) if sparse else 0, free) for start, holes, _, _, free in INOBT_REC.rows(records)
        ]
        return InodeTreeBlock(0, chunks, ())
    room = (len(data) - header) // 8
    if not 0 < count <= room:
        raise FormatError(f"an inode B+tree block of {count} records", offset=6)
    at = header + 4 * room
    pointers = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(at, at + 4 * count, 4))
    return InodeTreeBlock(level, [], pointers)


def _spread(holes: int) -> int:
    """The inodes that a hole mask says are not there: four of them to a bit."""
    return sum(0xF << (INODES_PER_HOLEMASK_BIT * bit) for bit in range(16) if holes >> bit & 1)
