"""Extended attributes of XFS: the short form in the inode, leaves, the nodes above them, and values in blocks of their own.

Source: Linux 6.18, fs/xfs/libxfs/xfs_da_format.h, xfs_attr_leaf.c; fs/xfs/xfs_xattr.c, xfs_acl.c. All integers are big-endian.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import Array, Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Padding, Struct

from parsers.errors import FormatError
from parsers.layout import Buffer, Layout
from parsers.xfs import crc_holds

BLOCK_INFO = Layout(Struct("forw" / Int32ub, "back" / Int32ub, "magic" / Int16ub, Padding(2)))
NODE_HEADER = Layout(Struct("count" / Int16ub, "level" / Int16ub))
LEAF_HEADER = Layout(
    Struct(
        "count" / Int16ub,
        "usedbytes" / Int16ub,
        "firstused" / Int16ub,
        "holes" / Int8ub,
        Padding(1),
        "freemap" / Array(6, Int16ub),
    )
)
LEAF_ENTRY = Layout(Struct("hashval" / Int32ub, "nameidx" / Int16ub, "flags" / Int8ub, Padding(1)))
REMOTE = Layout(
    Struct(
        "rm_magic" / Bytes(4),
        "rm_offset" / Int32ub,
        "rm_bytes" / Int32ub,
        "rm_crc" / Bytes(4),
        "rm_uuid" / Bytes(16),
        "rm_owner" / Int64ub,
        "rm_blkno" / Int64ub,
        "rm_lsn" / Int64ub,
    )
)
"""Begins a block of a value, or (SYMLINK_MAGIC) of a symlink's target, on filesystems with checksums."""
REMOTE_MAGIC, SYMLINK_MAGIC = b"XARM", b"XSLM"
REMOTE_CRC_AT = 12
INFO_CRC_AT = 12
NODE_MAGICS = (0xFEBE, 0x3EBE)
LEAF_MAGICS = (0xFBEE, 0x3BEE)
HEADER_ENDS = (12, 56)  # where NODE_HEADER and LEAF_HEADER begin
NODE_ENTRIES = (16, 64)
LEAF_ENTRIES = (32, 80)
MAX_DEPTH = 5  # XFS_DA_NODE_MAXDEPTH
LOCAL, ROOT, SECURE, PARENT, INCOMPLETE = 0x1, 0x2, 0x4, 0x8, 0x80
PREFIXES = {0: b"user.", ROOT: b"trusted.", SECURE: b"security."}
ACLS = {b"SGI_ACL_FILE": b"system.posix_acl_access", b"SGI_ACL_DEFAULT": b"system.posix_acl_default"}
MAX_VALUE = 65536  # XATTR_SIZE_MAX
ACL_ENTRY = Layout(Struct("ae_tag" / Int32ub, "ae_id" / Int32ub, "ae_perm" / Int16ub, Padding(2)))
ACL_VERSION_SHOWN = 2
ACL_NAMED = (0x02, 0x08)  # a named user, a named group: the entries whose id means something
ACL_UNDEFINED_ID = 0xFFFFFFFF


class Attribute(NamedTuple):
    """An attribute: its value, or (value None) the block of the attribute fork at which a value of `size` bytes begins."""

    name: bytes
    value: bytes | None
    block: int
    size: int


class Attributes(NamedTuple):
    """The attributes that the kernel shows, and what is wrong with the rest: (error, offset in the data), or None."""

    list: list[Attribute]
    damage: tuple[str, int] | None


class Node(NamedTuple):
    """The blocks of the attribute fork below an inner node, which stands `level` levels above the leaves."""

    level: int
    children: tuple[int, ...]


def parse_short_form(fork: bytes) -> Attributes:
    """The attributes in an inode's attribute fork of format LOCAL."""
    found: list[Attribute] = []
    if len(fork) < 4:
        return Attributes(found, ("the attribute fork is cut off", 0))
    size, count = int.from_bytes(fork[:2], "big"), fork[2]
    if size > len(fork):
        return Attributes(found, (f"attributes of {size} bytes where {len(fork)} fit", 0))
    at = 4
    for _ in range(count):
        if at + 3 > size:
            return Attributes(found, ("an attribute is cut off", at))
        name_length, value_length, flags = fork[at : at + 3]
        value_at = at + 3 + name_length
        end = value_at + value_length
        if end > size or not name_length:
            return Attributes(found, ("an attribute is cut off", at))
        name = _full_name(flags, fork[at + 3 : value_at])
        if name is not None:
            found.append(Attribute(name, fork[value_at:end], 0, value_length))
        at = end
    return Attributes(found, None)


def parse_attr_block(data: Buffer, has_crc: bool) -> Node | Attributes:
    """A block of an attribute fork of format EXTENTS or BTREE. Raises FormatError where it is neither node nor leaf."""
    if len(data) < LEAF_ENTRIES[has_crc]:
        raise FormatError("a block of attributes is cut off")
    _, _, magic = BLOCK_INFO.unpack(data)
    if magic == NODE_MAGICS[has_crc]:
        return _parse_node(data, has_crc)
    if magic == LEAF_MAGICS[has_crc]:
        return _parse_leaf(data, has_crc)
    raise FormatError(f"no block of attributes: magic is {magic:#06x}", offset=8)


def attr_crc_holds(data: Buffer) -> bool:
    """Whether the checksum of a node or leaf is right."""
    return crc_holds(data, INFO_CRC_AT)


def _parse_node(data: Buffer, has_crc: bool) -> Node:
    count, level = NODE_HEADER.unpack(data, HEADER_ENDS[has_crc])
    first = NODE_ENTRIES[has_crc]
    if not 1 <= level <= MAX_DEPTH or not 0 < count <= (len(data) - first) // 8:
        raise FormatError(f"a node of attributes of level {level} with {count} entries", offset=HEADER_ENDS[has_crc])
    return Node(level, tuple(int.from_bytes(data[at + 4 : at + 8], "big") for at in range(first, first + 8 * count, 8)))


def _parse_leaf(data: Buffer, has_crc: bool) -> Attributes:
    found: list[Attribute] = []
    count = LEAF_HEADER.unpack(data, HEADER_ENDS[has_crc])[0]
    first = LEAF_ENTRIES[has_crc]
    names = first + count * LEAF_ENTRY.size
    if names > len(data):
        return Attributes(found, (f"a leaf of {count} attributes", HEADER_ENDS[has_crc]))
    damage: tuple[str, int] | None = None
    used = 0
    for at in range(first, names, LEAF_ENTRY.size):
        _, index, flags = LEAF_ENTRY.unpack(data, at)
        attribute = _leaf_attribute(data, index, flags, names)
        if attribute is None:
            damage = damage or ("an attribute stands outside its leaf", at)
            continue
        used += len(attribute.name) + (attribute.size if attribute.value is not None else 0)
        if used > 2 * len(data):
            return Attributes(found, ("attributes overlap", at))
        name = _full_name(flags, attribute.name)
        if name is not None:
            found.append(attribute._replace(name=name))
    return Attributes(found, damage)


def _leaf_attribute(data: Buffer, index: int, flags: int, least: int) -> Attribute | None:
    """The attribute that a leaf's entry leads to, None where it does not lie behind the entries."""
    head = 3 if flags & LOCAL else 9
    if index < least or index + head > len(data):
        return None
    if flags & LOCAL:
        size, length, block = int.from_bytes(data[index : index + 2], "big"), data[index + 2], 0
        end = index + head + length + size
    else:
        block, size = int.from_bytes(data[index : index + 4], "big"), int.from_bytes(data[index + 4 : index + 8], "big")
        length = data[index + 8]
        end = index + head + length
    if end > len(data) or not length:
        return None
    name = bytes(data[index + head : index + head + length])
    return Attribute(name, bytes(data[index + head + length : end]) if flags & LOCAL else None, block, size)


def _full_name(flags: int, name: bytes) -> bytes | None:
    """The name as getxattr takes it, None for an attribute that the kernel does not show."""
    if flags & (INCOMPLETE | PARENT):
        return None
    prefix = PREFIXES.get(flags & (ROOT | SECURE))
    return None if prefix is None else prefix + name


def acl_name(name: bytes) -> bytes | None:
    """The name under which an attribute (by its full name) is shown as an access control list too; None where it is none."""
    prefix = PREFIXES[ROOT]
    return ACLS.get(name[len(prefix) :]) if name.startswith(prefix) else None


def shown_acl(value: bytes) -> bytes:
    """A POSIX ACL as getxattr gives it, little-endian, from the disk's form: a count and entries of 12 bytes."""
    count = int.from_bytes(value[:4], "big")
    if len(value) < 4 or 4 + count * ACL_ENTRY.size > len(value):
        raise FormatError(f"an access control list of {len(value)} bytes with {count} entries", offset=0)
    shown = bytearray(ACL_VERSION_SHOWN.to_bytes(4, "little"))
    for tag, owner, permissions in ACL_ENTRY.rows(memoryview(value)[4 : 4 + count * ACL_ENTRY.size]):
        kept = owner if tag in ACL_NAMED else ACL_UNDEFINED_ID
        shown += (tag & 0xFFFF).to_bytes(2, "little") + permissions.to_bytes(2, "little") + kept.to_bytes(4, "little")
    return bytes(shown)
