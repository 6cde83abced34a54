"""XFS images for tests: sparse files of the 300 MB that mkfs.xfs asks for, and the same with some bytes changed."""

import os
import struct
from pathlib import Path

from support.disks import MIB, run

SIZE = 320 * MIB


class Image:
    """A disk image that is read where it lies; `changes` (offset to bytes) go before what it holds."""

    def __init__(self, path, changes=None, size=None):
        self.name = Path(path).name
        self.size = Path(path).stat().st_size if size is None else size
        self.changes = changes or {}
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self):
        os.close(self._file)

    def locate(self, offset):
        return offset if 0 <= offset < self.size else None

    def read(self, offset, size):
        assert offset >= 0
        assert 0 <= size < 1 << 30
        size = max(0, min(size, self.size - offset))
        data = bytearray(os.pread(self._file, size, offset))
        for at, change in self.changes.items():
            start, end = max(at, offset), min(at + len(change), offset + size)
            if start < end:
                data[start - offset : end - offset] = change[start - at : end - at]
        return bytes(data)


def make(path, *options, size=SIZE):
    """A new filesystem made by mkfs.xfs."""
    with Path(path).open("wb") as file:
        file.truncate(size)
    run("mkfs.xfs", "-q", "-f", *options, path)
    return path


def log_place(path):
    """Where the log stands: its first byte, and how many."""
    with Path(path).open("rb") as file:
        head = file.read(512)
    (block_size,) = struct.unpack_from(">I", head, 4)
    (start,) = struct.unpack_from(">Q", head, 48)
    (group_blocks,) = struct.unpack_from(">I", head, 84)
    (blocks,) = struct.unpack_from(">I", head, 96)
    group, block = start >> head[124], start & (1 << head[124]) - 1
    return (group * group_blocks + block) * block_size, blocks * block_size
