"""A file inside a filesystem as a source of its own: a database or a disk image is read in place, with its place on the disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from forensics.filesystem import Extent, Filesystem


@dataclass(frozen=True)
class FileSource:
    """The content of one inode. name: the path that people know the file by. Reading raises what the filesystem raises."""

    fs: Filesystem
    inode: int
    name: str = ""

    @cached_property
    def size(self) -> int:
        """Length in bytes, as the inode says."""
        return self.fs.inode(self.inode).size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only where the file ends."""
        if offset < 0 or offset >= self.size or size <= 0:
            return b""
        return self.fs.read(self.inode, offset, min(size, self.size - offset))

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image that holds `offset`; None in a hole, or where the file has no extents of its own."""
        at = bisect_right(self._extents, offset, key=lambda extent: extent.logical) - 1
        if at < 0 or not 0 <= offset < self.size:
            return None
        extent = self._extents[at]
        if extent.offset is None or offset >= extent.logical + extent.length:
            return None
        return self.fs.source.locate(extent.offset + offset - extent.logical)

    @cached_property
    def _extents(self) -> Sequence[Extent]:
        return sorted(self.fs.extents(self.inode) or (), key=lambda extent: extent.logical)
