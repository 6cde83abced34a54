"""A deleted file's content as a source: what is left of it can be read at any offset, and nothing else."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from forensics.filesystem import Filesystem
from forensics.recovery.files.content import extent_at, read_deleted
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.text import readable
from parsers.errors import EvidenceError


@dataclass(frozen=True)
class DeletedSource:
    """The bytes of a deleted file; those that are lost raise EvidenceError, holes are zeros."""

    fs: Filesystem
    file: DeletedFile

    @property
    def name(self) -> str:
        """Its path."""
        return readable(self.file.path or b"")

    @property
    def size(self) -> int:
        """Length in bytes, as it last was."""
        return self.file.size or 0

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only where the file ends."""
        end = min(offset + size, self.size)
        at = max(0, bisect_right(self._lost, offset, key=itemgetter(0)) - 1)
        for start, stop in self._lost[at : at + 2]:
            if start < end and offset < stop:
                raise EvidenceError(f"{self.name}: byte {max(start, offset)} is lost")
        return b"".join(read_deleted(self.fs, self.file, offset, end - offset)) if 0 <= offset < end else b""

    def locate(self, offset: int) -> int | None:
        """Where in the disk image a byte stands; None in a hole."""
        at = extent_at(self.file, offset)
        extent = self.file.extents[at] if self.file.extents and at >= 0 else None
        if extent is None or extent.offset is None or offset >= extent.logical + extent.length:
            return None
        return self.fs.source.locate(extent.offset + offset - extent.logical)

    @cached_property
    def _lost(self) -> list[tuple[int, int]]:
        """The parts that are lost, first and end, in order and apart from each other."""
        apart: list[tuple[int, int]] = []
        for start, length in sorted(self.file.lost):
            if apart and start <= apart[-1][1]:
                apart[-1] = apart[-1][0], max(apart[-1][1], start + length)
            else:
                apart.append((start, start + length))
        return apart
