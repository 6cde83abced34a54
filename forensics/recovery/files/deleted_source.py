"""A deleted file's content as a source: what is left of it can be read at any offset, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.recovery.files.content import read_deleted
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
        for start, length in self.file.lost:
            if start < end and offset < start + length:
                raise EvidenceError(f"{self.name}: byte {max(start, offset)} is lost")
        return b"".join(read_deleted(self.fs, self.file, offset, end - offset)) if 0 <= offset < end else b""

    def locate(self, offset: int) -> int | None:
        """Where in the disk image a byte stands; None in a hole."""
        for extent in self.file.extents or ():
            if extent.logical <= offset < extent.logical + extent.length:
                return None if extent.offset is None else self.fs.source.locate(extent.offset + offset - extent.logical)
        return None
