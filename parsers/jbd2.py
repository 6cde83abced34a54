"""The journal of ext3 and ext4, block by block.

All fields are big-endian. Every block that is not data starts with a header; a descriptor block has tags, one for each of the
data blocks that follow it in the log; a revoke block has the numbers of blocks that older transactions must not bring back; a
commit block ends a transaction. Source: Linux include/linux/jbd2.h, fs/jbd2/journal.c, fs/jbd2/recovery.c (6.18).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from construct import Array, Bytes, Int8ub, Int32ub, Int64ub, Padding, Struct

from parsers.crc32c import crc32c
from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout

MAGIC = 0xC03B3998
DESCRIPTOR, COMMIT, SUPERBLOCK_V1, SUPERBLOCK_V2, REVOKE = 1, 2, 3, 4, 5

COMPAT_CHECKSUM = 0x1
INCOMPAT_REVOKE, INCOMPAT_64BIT, INCOMPAT_ASYNC_COMMIT = 0x1, 0x2, 0x4
INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, INCOMPAT_FAST_COMMIT = 0x8, 0x10, 0x20
_KNOWN_INCOMPAT = 0x3F

FLAG_ESCAPE, FLAG_SAME_UUID, FLAG_DELETED, FLAG_LAST_TAG = 0x1, 0x2, 0x4, 0x8

_CRC32_CHKSUM, _CRC32C_CHKSUM, _CRC32_CHKSUM_SIZE = 1, 4, 4
_MIN_JOURNAL_BLOCKS = 1024
_DEFAULT_FAST_COMMIT_BLOCKS = 256
_SUPERBLOCK_SIZE = 1024
_UUID_SIZE = 16
_TAIL_SIZE = 4

HEADER = Layout(Struct("h_magic" / Int32ub, "h_blocktype" / Int32ub, "h_sequence" / Int32ub))

_SUPERBLOCK = Layout(
    Struct(
        "h_magic" / Int32ub,
        "h_blocktype" / Int32ub,
        "h_sequence" / Int32ub,
        "s_blocksize" / Int32ub,
        "s_maxlen" / Int32ub,
        "s_first" / Int32ub,
        "s_sequence" / Int32ub,
        "s_start" / Int32ub,
        "s_errno" / Int32ub,
        "s_feature_compat" / Int32ub,
        "s_feature_incompat" / Int32ub,
        "s_feature_ro_compat" / Int32ub,
        "s_uuid" / Bytes(_UUID_SIZE),
        "s_nr_users" / Int32ub,
        "s_dynsuper" / Int32ub,
        "s_max_transaction" / Int32ub,
        "s_max_trans_data" / Int32ub,
        "s_checksum_type" / Int8ub,
        Padding(3),
        "s_num_fc_blks" / Int32ub,
        "s_head" / Int32ub,
        Padding(160),
        "s_checksum" / Int32ub,
    )
)
_CHECKSUM_AT = _SUPERBLOCK.size - 4

_COMMIT = Layout(
    Struct(
        "h_magic" / Int32ub,
        "h_blocktype" / Int32ub,
        "h_sequence" / Int32ub,
        "h_chksum_type" / Int8ub,
        "h_chksum_size" / Int8ub,
        Padding(2),
        "h_chksum" / Array(8, Int32ub),
        "h_commit_sec" / Int64ub,
        "h_commit_nsec" / Int32ub,
    )
)
_COMMIT_CHKSUM_AT = 16

# A tag is a block number's low half, 16 bits of checksum, 16 of flags and the number's high half. Checksum v3 has 32 bits of
# flags, whose low half stands where the flags always stand, and its checksum behind. Shorter tags lack what they do not use.
_TAG, _TAG_HIGH, _TAG_V3 = struct.Struct(">IHH"), struct.Struct(">IHHI"), struct.Struct(">IHHII")
_REVOKE_COUNT = struct.Struct(">I")
_REVOKE_HEADER_SIZE = 16
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class JournalSuperblock:
    """The journal's first block; a version 1 superblock has no features."""

    s_blocksize: int
    s_maxlen: int
    s_first: int
    s_sequence: int
    s_start: int
    s_errno: int
    s_feature_compat: int
    s_feature_incompat: int
    s_feature_ro_compat: int
    s_uuid: bytes
    s_num_fc_blks: int

    @property
    def checksum_v1(self) -> bool:
        """Commit blocks hold a CRC-32 of their transaction's descriptor and data blocks."""
        return bool(self.s_feature_compat & COMPAT_CHECKSUM)

    @property
    def checksum_v3(self) -> bool:
        """Tags have a checksum of 32 bits."""
        return bool(self.s_feature_incompat & INCOMPAT_CSUM_V3)

    @property
    def checksummed(self) -> bool:
        """Checksum v2 or v3: every block of the log has a CRC-32C of its own."""
        return bool(self.s_feature_incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3))

    @property
    def large(self) -> bool:
        """Block numbers have 64 bits."""
        return bool(self.s_feature_incompat & INCOMPAT_64BIT)

    @property
    def async_commit(self) -> bool:
        """Commit blocks were written without waiting for the transaction's other blocks."""
        return bool(self.s_feature_incompat & INCOMPAT_ASYNC_COMMIT)

    @property
    def fast_commit_blocks(self) -> int:
        """How many blocks at the journal's end are kept for fast commits."""
        if not self.s_feature_incompat & INCOMPAT_FAST_COMMIT:
            return 0
        return self.s_num_fc_blks or _DEFAULT_FAST_COMMIT_BLOCKS

    @property
    def end(self) -> int:
        """The block after the log's last one: there it continues at s_first."""
        return self.s_maxlen - self.fast_commit_blocks

    @property
    def fast_commit_area(self) -> range:
        """The journal blocks that may hold fast commits; the kernel leaves the area's first one unused."""
        return range(self.end + 1, self.s_maxlen) if self.fast_commit_blocks else range(0)

    @property
    def seed(self) -> int:
        """What checksums v2 and v3 start with."""
        return crc32c(self.s_uuid)


class Header(NamedTuple):
    """What a block of the log is, and of which transaction."""

    h_blocktype: int
    h_sequence: int


class Tag(NamedTuple):
    """One data block that follows a descriptor block: `block` is its place in the filesystem."""

    block: int
    flags: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a transaction. The time is the host's clock; 0 in journals older than Linux 2.6.28."""

    h_chksum_type: int
    h_chksum_size: int
    h_chksum: int
    h_commit_sec: int
    h_commit_nsec: int


def superblock(block: bytes, block_size: int, blocks: int, source: str = "", offset: int | None = None) -> JournalSuperblock:
    """Read and judge the superblock of a journal of `blocks` blocks, as the kernel does.

    Raises UnsupportedFormat for features that are not known, FormatError for anything else that the kernel would refuse.
    """

    def wrong(what: str) -> FormatError:
        return FormatError(f"journal superblock: {what}", source, offset)

    if len(block) < _SUPERBLOCK_SIZE:
        raise wrong("cut short")
    field = _SUPERBLOCK.fields(block)
    if field["h_magic"] != MAGIC or field["h_blocktype"] not in (SUPERBLOCK_V1, SUPERBLOCK_V2):
        raise wrong("there is none")
    if field["h_blocktype"] == SUPERBLOCK_V1:
        field |= {"s_feature_compat": 0, "s_feature_incompat": 0, "s_feature_ro_compat": 0}
    read = JournalSuperblock(**{name: field[name] for name in JournalSuperblock.__dataclass_fields__})
    if read.s_blocksize != block_size:
        raise wrong(f"blocks of {read.s_blocksize} bytes in a filesystem with blocks of {block_size}")
    if read.s_maxlen > blocks:
        raise wrong(f"{read.s_maxlen} blocks in a file of {blocks}")
    if not 0 < read.s_first < blocks:
        raise wrong(f"the log begins at block {read.s_first}")
    if unknown := read.s_feature_incompat & ~_KNOWN_INCOMPAT:
        raise UnsupportedFormat(f"journal with unknown incompatible features {unknown:#x}", source, offset)
    if read.s_feature_ro_compat:
        raise UnsupportedFormat(f"journal with unknown features {read.s_feature_ro_compat:#x}", source, offset)
    if field["h_blocktype"] == SUPERBLOCK_V2 and read.s_maxlen - _MIN_JOURNAL_BLOCKS < read.fast_commit_blocks:
        raise wrong(f"{read.s_maxlen} blocks are too few")
    if read.checksummed:
        _check_checksums(read, field, block, wrong)
    return read


def _check_checksums(read: JournalSuperblock, field: dict[str, Any], block: bytes, wrong: Callable[[str], FormatError]) -> None:
    versions = (read.checksum_v1, read.s_feature_incompat & INCOMPAT_CSUM_V2, read.checksum_v3)
    if sum(map(bool, versions)) > 1:
        raise wrong("more than one version of checksums")
    if field["s_checksum_type"] != _CRC32C_CHKSUM:
        raise wrong(f"checksums of the unknown type {field['s_checksum_type']}")
    if _cleared(block[:_SUPERBLOCK_SIZE], _CHECKSUM_AT, 0xFFFFFFFF) != field["s_checksum"]:
        raise wrong("its checksum does not match")


def header(block: bytes) -> Header | None:
    """The header of a block of the log, None where it has none."""
    magic, blocktype, sequence = HEADER.unpack(block)
    return Header(blocktype, sequence) if magic == MAGIC else None


def tags(block: bytes, journal: JournalSuperblock) -> list[Tag]:
    """The tags of a descriptor block."""
    end = len(block) - (_TAIL_SIZE if journal.checksummed else 0)
    if journal.checksum_v3:
        layout, size = _TAG_V3, _TAG_V3.size
    else:
        layout = _TAG_HIGH if journal.large else _TAG
        size = layout.size + (2 if journal.checksummed else 0)  # checksum v2 lengthens tags by two bytes that nothing uses
    offset, found = HEADER.size, []
    while offset + size <= end:
        low, checksum, flags, *rest = layout.unpack_from(block, offset)
        if journal.checksum_v3:
            checksum = rest[1]
        found.append(Tag(rest[0] << 32 | low if journal.large else low, flags, checksum))
        offset += size if flags & FLAG_SAME_UUID else size + _UUID_SIZE
        if flags & FLAG_LAST_TAG:
            break
    return found


def revoked(block: bytes, journal: JournalSuperblock) -> list[int] | None:
    """The block numbers of a revoke block; None where it claims more bytes than it has."""
    (used,) = _REVOKE_COUNT.unpack_from(block, HEADER.size)
    if used > len(block) - (_TAIL_SIZE if journal.checksummed else 0):
        return None
    width, letter = (8, "Q") if journal.large else (4, "I")
    count = max(used - _REVOKE_HEADER_SIZE, 0) // width
    return list(struct.unpack_from(f">{count}{letter}", block, _REVOKE_HEADER_SIZE))


def commit(block: bytes) -> Commit:
    """The fields of a commit block."""
    field = _COMMIT.fields(block)
    return Commit(
        field["h_chksum_type"], field["h_chksum_size"], field["h_chksum"][0], field["h_commit_sec"], field["h_commit_nsec"]
    )


def block_sound(block: bytes, journal: JournalSuperblock) -> bool:
    """Whether the checksum at the end of a descriptor or revoke block is right; True where the journal has none."""
    if not journal.checksummed:
        return True
    at = len(block) - _TAIL_SIZE
    return _cleared(block, at, journal.seed) == int.from_bytes(block[at:], "big")


def commit_sound(block: bytes, journal: JournalSuperblock, transaction_crc: int) -> bool:
    """Whether the checksum in a commit block is right; `transaction_crc` is what checksum v1 computed over the transaction."""
    told = commit(block)
    if journal.checksum_v1:
        kind = (told.h_chksum_type, told.h_chksum_size)
        return (kind == (_CRC32_CHKSUM, _CRC32_CHKSUM_SIZE) and told.h_chksum == transaction_crc) or (
            kind == (0, 0) and told.h_chksum == 0
        )
    if not journal.checksummed:
        return True
    # A commit block of which only the first sector reached the disk is taken for complete.
    alone = block[: _COMMIT.size].ljust(len(block), b"\0")
    return any(_cleared(data, _COMMIT_CHKSUM_AT, journal.seed) == told.h_chksum for data in (block, alone))


def data_crc_start(journal: JournalSuperblock, sequence: int) -> int:
    """The register that the checksum of a transaction's data blocks starts with (checksums v2 and v3)."""
    return crc32c(sequence.to_bytes(4, "big"), journal.seed)


def tag_sound(tag: Tag, crc: int, journal: JournalSuperblock) -> bool:
    """Whether a data block's CRC-32C is the one in its tag; checksum v2 keeps the low half only."""
    return tag.checksum == (crc if journal.checksum_v3 else crc & 0xFFFF)


def _cleared(block: bytes, at: int, seed: int) -> int:
    """The CRC-32C of a block whose checksum field is zeroed."""
    return crc32c(block[:at] + bytes(4) + block[at + 4 :], seed)


def crc32_be(data: bytes, register: int = 0xFFFFFFFF) -> int:
    """The CRC-32 of checksum v1 (lib/crc32.c): most significant bit first, nothing inverted; continued from `register`."""
    # The same division with every bit order turned round is zlib's, which inverts its register before and after.
    return _turned(~zlib.crc32(data.translate(_TURNED), ~_turned(register) & 0xFFFFFFFF) & 0xFFFFFFFF)


def _turned(register: int) -> int:
    return int(f"{register:032b}"[::-1], 2)
