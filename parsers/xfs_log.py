"""The log of XFS: records, the operations in them, and the items that transactions are made of.

Records are big-endian. What a transaction holds is in the byte order of the host that wrote it, which is little-endian here
(h_fmt tells), but for copies of metadata and for inode creation.

Source: Linux 6.18, fs/xfs/libxfs/xfs_log_format.h, fs/xfs/xfs_log.c, xfs_log_recover.c, xfs_buf_item_recover.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from typing import NamedTuple

from construct import Bytes, Int8ub, Int16ul, Int32sl, Int32ub, Int32ul, Int64sl, Int64ub, Int64ul, Padding, Struct

from parsers.crc32c import crc32c
from parsers.errors import FormatError
from parsers.layout import Buffer, Layout
from parsers.xfs import LONG_BLOCK, LONG_CRC_SIZE
from parsers.xfs_inode import BMDR_HEADER, DINODE, DINODE3, InodeFlag2

BASIC_BLOCK = 512
MAGIC = 0xFEEDBABE
RECORD_HEADER = Layout(
    Struct(
        "h_magicno" / Int32ub,
        "h_cycle" / Int32ub,
        "h_version" / Int32ub,
        "h_len" / Int32ub,
        "h_lsn" / Int64ub,
        "h_tail_lsn" / Int64ub,
        "h_crc" / Bytes(4),
        "h_prev_block" / Int32ub,
        "h_num_logops" / Int32ub,
        "h_cycle_data" / Bytes(256),
        "h_fmt" / Int32ub,
        "h_fs_uuid" / Bytes(16),
        "h_size" / Int32ub,
    )
)
HEADER_CYCLES = 64  # basic blocks whose first words one header block keeps
CRC_AT = 32
HEADER_SUM_SIZES = (328, 324)  # bytes of the header that its checksum covers: on 64-bit hosts, and on 32-bit x86
EXT_HEADER_SIZE = 260
SMALLEST_SIZE = 32768  # h_size up to which the header is one block
LARGEST_SIZE = 262144  # XLOG_MAX_RECORD_BSIZE
FMT_LITTLE = 1
OP_HEADER = Layout(Struct("oh_tid" / Int32ub, "oh_len" / Int32ub, "oh_clientid" / Int8ub, "oh_flags" / Int8ub, Padding(2)))
TRANSACTION, LOG = 0x69, 0xAA


class Op(IntFlag):
    """oh_flags."""

    START = 0x1
    COMMIT = 0x2
    CONTINUE = 0x4
    WAS_CONTINUED = 0x8
    END = 0x10
    UNMOUNT = 0x20


TRANS_HEADER_SIZE = 16
TRANS_MAGIC = 0x5452414E
EFI, EFD, INODE, BUF, ICREATE = 0x1236, 0x1237, 0x123B, 0x123C, 0x123F
ITEMS = {
    0x1238: "iunlink", 0x123D: "dquot", 0x123E: "quotaoff", 0x1240: "rui", 0x1241: "rud", 0x1242: "cui", 0x1243: "cud",
    0x1244: "bui", 0x1245: "bud", 0x1246: "attri", 0x1247: "attrd", 0x1248: "xmi", 0x1249: "xmd",
}  # fmt: skip
VISIBLE_INTENTS = {0x1244: 0x1245, 0x1246: 0x1247, 0x1248: 0x1249}
"""Intents whose completion changes what a reader sees (file maps, attributes), and the items that say they are done."""

BUF_FORMAT = Layout(
    Struct(
        "blf_type" / Int16ul,
        "blf_size" / Int16ul,
        "blf_flags" / Int16ul,
        "blf_len" / Int16ul,
        "blf_blkno" / Int64sl,
        "blf_map_size" / Int32ul,
    )
)
"""blf_len and blf_blkno in basic blocks; a map of 32-bit words follows: each bit of it is a chunk of the buffer."""
BUF_INODES, BUF_CANCEL = 0x1, 0x2
CHUNK = 128
INODE_FORMAT = Layout(
    Struct(
        "ilf_type" / Int16ul,
        "ilf_size" / Int16ul,
        "ilf_fields" / Int32ul,
        "ilf_asize" / Int16ul,
        "ilf_dsize" / Int16ul,
        Padding(4),
        "ilf_ino" / Int64ul,
        "ilf_rdev" / Int32ul,
        Padding(12),
        "ilf_blkno" / Int64sl,
        "ilf_len" / Int32sl,
        "ilf_boffset" / Int32sl,
    )
)
ICREATE_FORMAT = Layout(
    Struct(
        Padding(4),
        "icl_ag" / Int32ub,
        "icl_agbno" / Int32ub,
        "icl_count" / Int32ub,
        "icl_isize" / Int32ub,
        "icl_length" / Int32ub,
        "icl_gen" / Int32ub,
    )
)


class Ilog(IntFlag):
    """ilf_fields."""

    CORE = 0x1
    DDATA = 0x2
    DEXT = 0x4
    DBROOT = 0x8
    DEV = 0x10
    ADATA = 0x40
    AEXT = 0x80
    ABROOT = 0x100

    DATA_FORK = 0xE
    ATTR_FORK = 0x1C0


class Record(NamedTuple):
    """A record's header."""

    cycle: int
    version: int
    length: int
    lsn: int
    tail_lsn: int
    operations: int
    saved: bytes
    format: int
    uuid: bytes
    size: int

    @property
    def header_blocks(self) -> int:
        """How many basic blocks the header takes."""
        return -(-self.size // SMALLEST_SIZE) if self.version & 2 and self.size > SMALLEST_SIZE else 1

    @property
    def blocks(self) -> int:
        """How many basic blocks the record takes."""
        return self.header_blocks + self.length // BASIC_BLOCK


class Operation(NamedTuple):
    """One operation of a record; at: the byte of the record's body at which its data begin."""

    tid: int
    client: int
    flags: int
    data: bytes
    at: int


class BufItem(NamedTuple):
    """A changed buffer, its place and length in basic blocks; map: which chunks of it the next regions hold."""

    flags: int
    block: int
    length: int
    map: bytes


def parse_record(data: Buffer) -> Record:
    """A record's header. Raises FormatError where there is none."""
    if len(data) < BASIC_BLOCK:
        raise FormatError("a log record is cut off")
    h = RECORD_HEADER.fields(data)
    if h["h_magicno"] != MAGIC or not h["h_cycle"]:
        raise FormatError("no log record", offset=0)
    size = h["h_size"] if h["h_version"] & 2 else SMALLEST_SIZE
    if h["h_version"] not in (1, 2) or h["h_len"] % BASIC_BLOCK or size > LARGEST_SIZE or h["h_len"] > max(size, SMALLEST_SIZE):
        raise FormatError(f"a log record of {h['h_len']} bytes, version {h['h_version']}", offset=8)
    return Record(
        h["h_cycle"], h["h_version"], h["h_len"], h["h_lsn"], h["h_tail_lsn"], h["h_num_logops"], h["h_cycle_data"], h["h_fmt"],
        h["h_fs_uuid"], size,
    )  # fmt: skip


def record_crc_holds(header: bytes, body: bytes) -> bool:
    """Whether a record's checksum is right; it has none where h_crc is 0."""
    stored = int.from_bytes(header[CRC_AT : CRC_AT + 4], "little")
    if not stored:
        return True
    for size in HEADER_SUM_SIZES:
        crc = crc32c(header[:CRC_AT] + b"\0\0\0\0" + header[CRC_AT + 4 : size])
        used = min(len(header) // BASIC_BLOCK, -(-len(body) // SMALLEST_SIZE))
        for at in range(BASIC_BLOCK, used * BASIC_BLOCK, BASIC_BLOCK):
            crc = crc32c(header[at : at + EXT_HEADER_SIZE], crc)
        if crc32c(body, crc) ^ 0xFFFFFFFF == stored:
            return True
    return False


def unpack_body(record: Record, header: bytes, body: bytes) -> bytes:
    """A record's body with the first words of its blocks put back, in whose place the log has its cycle."""
    whole = bytearray(body)
    for block in range(len(body) // BASIC_BLOCK):
        part, index = divmod(block, HEADER_CYCLES)
        if not part:
            word = record.saved[4 * index : 4 * index + 4]
        else:
            at = part * BASIC_BLOCK + 4 + 4 * index
            word = header[at : at + 4]
        whole[block * BASIC_BLOCK : block * BASIC_BLOCK + 4] = word
    return bytes(whole)


def operations(record: Record, body: bytes) -> Iterator[Operation]:
    """The operations of a record. Raises FormatError where one runs over the record's end."""
    at = 0
    for _ in range(record.operations):
        if at + OP_HEADER.size > len(body):
            raise FormatError("a log operation runs over its record's end", offset=at)
        tid, length, client, flags = OP_HEADER.unpack(body, at)
        at += OP_HEADER.size
        if at + length > len(body) or client not in (TRANSACTION, LOG):
            raise FormatError(f"a log operation of {length} bytes, client {client}", offset=at)
        yield Operation(tid, client, flags, body[at : at + length], at)
        at += length


def item_type(region: Buffer) -> tuple[int, int]:
    """An item's type and how many regions it has, from its first one."""
    return int.from_bytes(region[0:2], "little"), int.from_bytes(region[2:4], "little")


def parse_buf_item(region: bytes) -> BufItem:
    """The first region of a buffer's item. Raises FormatError."""
    if len(region) < BUF_FORMAT.size:
        raise FormatError("a buffer item is cut off")
    _, _, flags, length, block, words = BUF_FORMAT.unpack(region)
    chunks = region[BUF_FORMAT.size : BUF_FORMAT.size + 4 * words]
    if len(chunks) < 4 * words or block < 0 or not 0 < length <= 128:
        raise FormatError(f"a buffer item of {length} blocks at {block}")
    return BufItem(flags, block, length, chunks)


def chunk_runs(item: BufItem) -> Iterator[tuple[int, int]]:
    """The runs of set bits in a buffer item's map: first bit, how many."""
    bits = int.from_bytes(item.map, "little")
    at = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        at += skip
        count = (~bits & (bits + 1)).bit_length() - 1
        yield at, count
        bits >>= count
        at += count


ATIME_AT = DINODE.offset_of("di_atime_sec")
NEXT_AT = DINODE.offset_of("di_next_unlinked")
CRTIME_AT = DINODE3.offset_of("di_crtime_sec")
FLAGS2_AT = DINODE3.offset_of("di_flags2")


def disk_inode(logged: bytes, raw: bytes, has_crc: bool) -> bytes:
    """An inode whose core is replaced by a logged one, which is in the host's byte order; xfs_inode_item_recover.c."""
    end = NEXT_AT
    size = DINODE.size + DINODE3.size if has_crc else end
    if len(logged) < size:
        raise FormatError(f"a logged inode of {len(logged)} bytes")
    core = bytearray(DINODE.swapped(logged[: DINODE.size].ljust(DINODE.size, b"\0")))
    rest = bytearray(DINODE3.swapped(logged, DINODE.size) if has_crc else b"")
    if has_crc and int.from_bytes(rest[FLAGS2_AT : FLAGS2_AT + 8], "big") & int(InodeFlag2.BIGTIME):
        for part, at in ((core, ATIME_AT), (core, ATIME_AT + 8), (core, ATIME_AT + 16), (rest, CRTIME_AT)):
            part[at : at + 8] = part[at + 4 : at + 8] + part[at : at + 4]  # one number of 64 bits, not two of 32
    return bytes(core[:end]) + raw[end : DINODE.size] + bytes(rest) + raw[DINODE.size + len(rest) :]


def bmap_root(logged: bytes, room: int, has_crc: bool) -> bytes:
    """A B+tree's root as it stands in a fork of `room` bytes, from the whole block that is logged; xfs_bmap_btree.c."""
    header = LONG_CRC_SIZE if has_crc else LONG_BLOCK.size
    if len(logged) < header:
        raise FormatError("a logged root of an extent map is cut off")
    count = int.from_bytes(logged[6:8], "big")
    logged_room, disk_room = (len(logged) - header) // 16, (room - BMDR_HEADER) // 16
    if count > min(logged_room, disk_room):
        raise FormatError(f"a logged root of an extent map with {count} records")
    keys = logged[header : header + 8 * count]
    pointers = logged[header + 8 * logged_room :][: 8 * count]
    return logged[4:8] + keys.ljust(8 * disk_room, b"\0") + pointers
