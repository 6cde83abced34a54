"""A file as a source of its own: one inside a filesystem, read in place, or one on the analyst's own disk."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

from forensics.filesystem import Filesystem
from parsers.errors import EvidenceError, UsageError

_MOST = (1 << 63) - 1  # a place behind that is on no disk, whatever an extent says


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
        starts, ends, places = self._runs
        at = bisect_right(starts, offset) - 1
        if at < 0 or places[at] < 0 or not 0 <= offset < min(ends[at], self.size):
            return None
        return self.fs.source.locate(places[at] + offset - starts[at])

    @cached_property
    def _runs(self) -> tuple[array[int], array[int], array[int]]:
        """Where each extent begins and ends in the file, and where in the source, -1 for nowhere: a large file has thousands."""
        extents = [each for each in self.fs.extents(self.inode) or () if each.logical + each.length <= _MOST]
        extents.sort(key=lambda extent: extent.logical)
        return (
            array("q", [extent.logical for extent in extents]),
            array("q", [extent.logical + extent.length for extent in extents]),
            array("q", [-1 if each.offset is None or each.offset > _MOST else each.offset for each in extents]),
        )


class LocalFile:
    """A regular file on the analyst's disk, open for reading."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; check the path")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise EvidenceError(f"{path}: {error.strerror}") from error
        self.name = str(path)
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only where the file ends."""
        if offset < 0 or offset >= self.size or size <= 0:
            return b""
        try:
            return os.pread(self._descriptor, min(size, self.size - offset), offset)
        except OSError as error:
            raise EvidenceError(f"{self.name}: cannot be read at byte {offset}: {error.strerror}") from error

    def locate(self, offset: int) -> int | None:
        """Always None: the file is no part of a disk image."""
        return None

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
