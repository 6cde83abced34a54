"""A filesystem in which deleted files can be read beside those that are there: their inode numbers are negative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from forensics.filesystem import DirEntry, Extent, Filesystem, Inode, Tree
from forensics.recovery.files.content import examine, read_deleted
from forensics.recovery.files.deleted_file import DeletedFile
from parsers.errors import FormatError

MAX_READ = 1 << 30  # bytes returned at once


def restored(fs: Filesystem, file_of: Callable[[int], DeletedFile], trees: Mapping[int, Tree]) -> Filesystem:
    """The same filesystem, where inode -n is the deleted file n. trees: those of removed directories, by the directory's n."""
    return cast(Filesystem, _Restored(fs, file_of, trees))


class _Restored:
    """Answers for negative inode numbers itself, and leaves everything else to the filesystem."""

    def __init__(self, fs: Filesystem, file_of: Callable[[int], DeletedFile], trees: Mapping[int, Tree]) -> None:
        self._fs, self._file_of, self._trees = fs, file_of, trees

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def inode(self, number: int) -> Inode:
        """The inode's metadata; a deleted file's has no links."""
        if number >= 0:
            return self._fs.inode(number)
        file = self._file_of(-number)
        return Inode(
            number, file.type, file.mode, file.uid, file.gid, file.size or 0, 0, file.mtime_ns, file.atime_ns, file.ctime_ns,
            file.crtime_ns, file.rdev, file.generation, file.offset,
        )  # fmt: skip

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory; a removed one's are in its tree."""
        return self._fs.entries(number) if number >= 0 else ()

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name in a directory."""
        return self._fs.find(directory, name) if directory >= 0 else None

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes."""
        return self._fs.xattrs(number) if number >= 0 else dict(self._file_of(-number).xattrs)

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        if number >= 0:
            return self._fs.target(number)
        target = self._file_of(-number).target
        if target is None:
            raise FormatError(f"deleted file {-number} is no symlink, or its target is lost")
        return target

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content. Raises FormatError where a part of a deleted one is lost."""
        if number >= 0:
            return self._fs.read(number, offset, size)
        file = self._whole(-number)
        length = max(0, (file.size or 0) - offset)
        length = length if size is None else min(length, size)
        if length > MAX_READ:
            raise FormatError(f"deleted file {-number}: {length} bytes are too many to be read at once")
        return b"".join(read_deleted(self._fs, file, offset, length)) if length > 0 <= offset else b""

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands. Raises FormatError where a part of a deleted one is lost."""
        return self._fs.extents(number) if number >= 0 else self._whole(-number).extents

    def extents_of(self, numbers: Sequence[int]) -> Mapping[int, Sequence[Extent]]:
        """As extents, of many files at once; deleted ones are left out."""
        return self._fs.extents_of([number for number in numbers if number >= 0])

    def tree(self, number: int) -> Tree:
        """A directory and all below it."""
        if number >= 0:
            return self._fs.tree(number)
        if -number not in self._trees:
            raise FormatError(f"deleted directory {-number} did not come back")
        return self._trees[-number]

    def _whole(self, number: int) -> DeletedFile:
        file = self._file_of(number)
        if file.size is None:
            raise FormatError(f"deleted file {number}: its content is lost")
        missing = file.size - examine(self._fs, file, hashed=False).recovered
        if file.type == "f" and missing > 0:
            raise FormatError(f"deleted file {number}: {missing} of its {file.size} bytes are lost")
        return file
