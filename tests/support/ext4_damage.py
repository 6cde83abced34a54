"""An ext4 filesystem to be damaged, and where the things in it stand."""

from forensics.filesystem import lookup
from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from parsers.ext4_inode import DIR_ENTRY, INODE
from support.ext4_images import Image

BLOCK = 1024
RAW_LAYOUTS = {"extents": ("-b", "1024"), "indirect": ("-b", "1024", "-O", "^extents,^64bit,^metadata_csum")}


def opened(data):
    return open_ext4(Image("fs", bytes(data)))


def number_of(data, path):
    found = lookup(opened(data), path)
    assert found is not None
    return found


def inode_at(data, path):
    """Where an inode stands, as the reader says on the undamaged image."""
    return Ext4(Image("fs", bytes(data))).tables.offset(number_of(data, path))


def first_block_at(data, path):
    return opened(data).extents(number_of(data, path))[0].offset


def field_of(data, path, name, value, size=4):
    """The image with one field of an inode set; its checksum is wrong then, as after damage."""
    changed = bytearray(data)
    at = inode_at(data, path) + INODE.offset_of(name)
    changed[at : at + size] = value.to_bytes(size, "little")
    return changed


def paths(tree):
    found = []
    for row, name in enumerate(tree.names):
        found.append(b"" if row == 0 else found[int(tree.parent[row])] + b"/" + name)
    return set(found)


def entry_at(data, directory, name):
    """Where an entry stands in a directory's first block."""
    block = first_block_at(data, directory)
    return data.index(name, block, block + BLOCK) - DIR_ENTRY.size
