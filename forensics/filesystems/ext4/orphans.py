"""Files that were unlinked while a process held them open, and so are whole: the kernel frees them at its next mount."""

from __future__ import annotations

import numpy as np

from forensics.filesystems.ext4.reader import Ext4
from parsers.errors import FormatError

ORPHAN_FILE_MAGIC = 0x0B10CA04
_TAIL = 8  # bytes at a block's end: ob_magic, ob_checksum
_MOST_BLOCKS = 1 << 16


def orphans(fs: Ext4) -> list[int]:
    """The inodes of the superblock's list of orphans and of the orphan file that no name leads to, ascending."""
    found: set[int] = set()
    number = fs.superblock.last_orphan
    while number and number not in found and len(found) <= fs.tables.count:
        try:
            record = fs.tables.record(number)
        except FormatError:
            break
        found.add(number)
        number = record.dtime  # the list is linked through this field
    found.update(_in_file(fs))
    return sorted(number for number in found if _is_unlinked(fs, number))


def _in_file(fs: Ext4) -> list[int]:
    """The numbers in the orphan file, whose blocks are arrays of them."""
    if not fs.superblock.orphan_file:
        return []
    size = fs.block_size
    try:
        data = fs.read(fs.superblock.orphan_file, 0, _MOST_BLOCKS * size)
    except FormatError:
        return []
    words = np.frombuffer(data, "<u4", len(data) // size * size // 4).reshape(-1, size // 4)
    words = words[words[:, -2] == ORPHAN_FILE_MAGIC]
    return [int(number) for number in np.unique(words[:, : -_TAIL // 4]) if number]


def _is_unlinked(fs: Ext4, number: int) -> bool:
    try:
        return fs.tables.record(number).links == 0
    except FormatError:
        return False
