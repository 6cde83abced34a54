"""Raw disk images: the disk's bytes as they are, in one file, in split segments, or on a block device."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from forensics.images.files import SECTOR, EvidenceFile
from parsers.errors import EvidenceError


class RawMedia:
    """Files whose bytes follow each other."""

    def __init__(self, files: Sequence[EvidenceFile]) -> None:
        _check_sizes(files)
        self.format, self.files = "raw", tuple(files)
        self.details: dict[str, str] = {}
        self.problems: list[str] = []
        self._starts = []
        self.size = 0
        for file in files:
            file.start = self.size
            self._starts.append(self.size)
            self.size += file.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`, of as many files as they stand in."""
        parts = []
        while size:
            index = bisect_right(self._starts, offset) - 1
            inside = offset - self._starts[index]
            length = min(size, self.files[index].size - inside)
            parts.append(self.files[index].read(inside, length))
            offset, size = offset + length, size - length
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be zero because its file has a hole there."""
        while offset < self.size:
            file = self.files[bisect_right(self._starts, offset) - 1]
            start = file.start or 0
            found = start + file.data_from(offset - start)
            if found < start + file.size:
                return found
            offset = start + file.size
        return self.size

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()


def _check_sizes(files: Sequence[EvidenceFile]) -> None:
    for file in files:
        if file.size == 0:
            raise EvidenceError(f"{file.path}: is empty; it holds no disk image")
    for file in files[1:-1]:
        if file.size != files[0].size:
            raise EvidenceError(
                f"{file.path}: is {file.size} bytes long, but {files[0].path.name} {files[0].size}; "
                "a segment in the middle must not be shorter or longer, copy it again"
            )
    if sum(file.size for file in files) < SECTOR:
        raise EvidenceError(f"{files[0].path}: is {files[-1].size} bytes long, too short for a disk image")
