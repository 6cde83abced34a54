"""Btrfs: how a directory and the inodes in it name each other: hashed names, back references, and ranges that a log speaks for.

Source: Linux 6.12, include/uapi/linux/btrfs_tree.h, fs/btrfs/{dir-item.c,inode-item.c,ctree.h,tree-log.c}.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import Int16ul, Int64ul, Struct

from parsers import btrfs
from parsers.crc32c import crc32c
from parsers.errors import FormatError
from parsers.layout import Layout

INODE_REF, INODE_EXTREF, DIR_LOG_INDEX, ROOT_BACKREF = 12, 13, 72, 144
ROOT_TREE, ROOT_TREE_DIR = 1, 6
TREE_LOG = (1 << 64) - 6

inode_ref = Layout(Struct("index" / Int64ul, "name_len" / Int16ul))
inode_extref = Layout(Struct("parent" / Int64ul, "index" / Int64ul, "name_len" / Int16ul))
dir_log = Layout(Struct("end" / Int64ul))
_KINDS = {0o100000: 1, 0o040000: 2, 0o020000: 3, 0o060000: 4, 0o010000: 5, 0o140000: 6, 0o120000: 7}


class Link(NamedTuple):
    """A name of an inode: the directory that it stands in, and its index (a sequence number) there."""

    parent: int
    sequence: int
    name: bytes


class Entry(NamedTuple):
    """An entry of a directory: the key that it leads to, and what kind of inode that is."""

    objectid: int
    key_type: int
    key_offset: int
    kind: int
    name: bytes


def name_hash(name: bytes) -> int:
    """The offset of the key of a name's DIR_ITEM, or of an attribute's XATTR_ITEM."""
    return crc32c(name, 0xFFFFFFFE)


def extref_hash(parent: int, name: bytes) -> int:
    """The offset of the key of a name's INODE_EXTREF."""
    return crc32c(name, parent & 0xFFFFFFFF)


def links(kind: int, key_offset: int, data: bytes) -> list[Link]:
    """The names in an INODE_REF or INODE_EXTREF."""
    found = []
    layout = inode_ref if kind == INODE_REF else inode_extref
    at = 0
    while at < len(data):
        if at + layout.size > len(data):
            raise FormatError("a back reference is cut short")
        fields = layout.unpack(data, at)
        parent, index, length = (key_offset, *fields) if kind == INODE_REF else fields
        start = at + layout.size
        at = start + length
        if at > len(data):
            raise FormatError("a back reference is longer than its place")
        found.append(Link(parent, index, data[start:at]))
    return found


def pack_links(kind: int, found: list[Link]) -> bytes:
    """The INODE_REF or INODE_EXTREF with these names."""
    layout = inode_ref if kind == INODE_REF else inode_extref
    parts = []
    for parent, index, name in found:
        head = (index, len(name)) if kind == INODE_REF else (parent, index, len(name))
        parts.append(layout.pack(*head) + name)
    return b"".join(parts)


def entries(data: bytes) -> list[Entry]:
    """The entries of a DIR_ITEM or DIR_INDEX."""
    return [Entry(*item[:4], item[4]) for item in btrfs.dir_items(data)]


def pack_entry(entry: Entry, transaction: int) -> bytes:
    """A DIR_ITEM or DIR_INDEX with one entry."""
    head = (entry.objectid, entry.key_type, entry.key_offset, transaction, 0, len(entry.name), entry.kind)
    return btrfs.dir_item.pack(*head) + entry.name


def kind_of(mode: int) -> int:
    """What an entry says of an inode's kind, by its mode."""
    return _KINDS.get(mode & 0o170000, 0)
