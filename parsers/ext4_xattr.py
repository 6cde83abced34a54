"""Extended attributes of ext2, ext3 and ext4: in the inode's body, in a block of their own, their values in inodes of their own.

Source: Linux 6.12, fs/ext4/xattr.h, xattr.c and acl.h; include/uapi/linux/posix_acl_xattr.h. All integers are little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from construct import Int8ul, Int16ul, Int32ul, Padding, Struct

from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.layout import Buffer, Layout

MAGIC = 0xEA020000
BLOCK_HEADER = Layout(
    Struct(
        "h_magic" / Int32ul,
        "h_refcount" / Int32ul,
        "h_blocks" / Int32ul,
        "h_hash" / Int32ul,
        "h_checksum" / Int32ul,
        Padding(12),
    )
)
ENTRY = Layout(
    Struct(
        "e_name_len" / Int8ul,
        "e_name_index" / Int8ul,
        "e_value_offs" / Int16ul,
        "e_value_inum" / Int32ul,
        "e_value_size" / Int32ul,
        "e_hash" / Int32ul,
    )
)
IBODY_HEADER_SIZE = 4
ACL_ACCESS, ACL_DEFAULT = 2, 3
PREFIXES = {
    1: b"user.",
    ACL_ACCESS: b"system.posix_acl_access",
    ACL_DEFAULT: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    10: b"gnu.",
}
"""The name indexes that the kernel shows; the others (system.data of inline files, encryption contexts) are its own."""
SYSTEM = 7
INLINE_DATA = b"data"

ACL_VERSION_ON_DISK = 1
ACL_VERSION_SHOWN = 2
ACL_UNDEFINED_ID = 0xFFFFFFFF
ACL_SHORT_TAGS = (0x01, 0x04, 0x10, 0x20)  # owner, owning group, mask, others: entries without an id
ACL_LONG_TAGS = (0x02, 0x08)  # a named user, a named group


@dataclass(frozen=True, slots=True)
class XattrEntry:
    """An attribute: its value, or (value None) the inode whose content the value of `size` bytes is."""

    index: int
    name: bytes
    value: bytes | None
    inode: int
    size: int

    @property
    def full_name(self) -> bytes | None:
        """The name as getxattr takes it, None for an attribute that the kernel does not show."""
        prefix = PREFIXES.get(self.index)
        return None if prefix is None else prefix + self.name


class XattrList(NamedTuple):
    """The attributes that can be read, and what is wrong with the rest: (error, offset in the data), or None."""

    entries: list[XattrEntry]
    damage: tuple[str, int] | None


_NONE = XattrList([], None)


def parse_ibody(raw: Buffer, extra_isize: int) -> XattrList:
    """The attributes in an inode's body, behind its `extra_isize` extra bytes (0: the inode has none)."""
    start = GOOD_OLD_INODE_SIZE + extra_isize
    if not extra_isize or start + IBODY_HEADER_SIZE > len(raw):
        return _NONE
    if int.from_bytes(raw[start : start + 4], "little") != MAGIC:
        return _NONE
    first = start + IBODY_HEADER_SIZE
    return _parse_entries(raw, first, first)


def parse_block(data: Buffer) -> XattrList:
    """The attributes in an attribute block. Raises FormatError where it is none."""
    if len(data) < BLOCK_HEADER.size:
        raise FormatError("the attribute block is cut off")
    magic, _, blocks, _, _ = BLOCK_HEADER.unpack(data)
    if magic != MAGIC or blocks != 1:
        raise FormatError(f"no attribute block: magic is {magic:#010x}, length {blocks} blocks", offset=0)
    return _parse_entries(data, BLOCK_HEADER.size, 0)


def _parse_entries(data: Buffer, first: int, values: int) -> XattrList:
    """Entries from `first` up to one whose first four bytes are zeros; value offsets count from `values`."""
    entries: list[XattrEntry] = []
    at = first
    while at + 4 <= len(data) and data[at : at + 4] != b"\0\0\0\0":
        if at + ENTRY.size > len(data):
            return XattrList(entries, ("an attribute's entry is cut off", at))
        length, index, offset, inode, size, _ = ENTRY.unpack(data, at)
        end = at + ENTRY.size + length
        if end > len(data):
            return XattrList(entries, ("an attribute's name is cut off", at))
        name = bytes(data[at + ENTRY.size : end])
        if inode:
            entries.append(XattrEntry(index, name, None, inode, size))
        else:
            start = values + offset
            if start + size > len(data):
                return XattrList(entries, (f"an attribute's value of {size} bytes does not fit", at))
            entries.append(XattrEntry(index, name, bytes(data[start : start + size]), 0, size))
        at += (ENTRY.size + length + 3) & ~3
    return XattrList(entries, None)


def shown_acl(value: bytes) -> bytes:
    """A POSIX ACL as getxattr gives it (version 2: every entry has an id) from the disk's form (version 1: a named one has)."""
    if len(value) < 4 or int.from_bytes(value[:4], "little") != ACL_VERSION_ON_DISK:
        raise FormatError("not an access control list of version 1")
    shown = bytearray(ACL_VERSION_SHOWN.to_bytes(4, "little"))
    at = 4
    while at < len(value):
        tag = int.from_bytes(value[at : at + 2], "little")
        length = 4 if tag in ACL_SHORT_TAGS else 8
        if tag not in ACL_SHORT_TAGS + ACL_LONG_TAGS or at + length > len(value):
            raise FormatError(f"access control list entry with tag {tag:#x}", offset=at)
        owner = value[at + 4 : at + 8] if length == 8 else ACL_UNDEFINED_ID.to_bytes(4, "little")
        shown += value[at : at + 4] + owner
        at += length
    return bytes(shown)
