"""The filesystem protocol: what every back end answers, and the few things that are the same on all of them.

Names are bytes, as on the disk. Times are integers, nanoseconds since 1970 UTC, of any size. Nothing here follows a symlink
but `resolve`, and that one never leaves the filesystem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forensics.source import Source
from parsers.errors import FormatError

MAX_SYMLINKS = 40  # the kernel's own bound, fs/namei.c MAXSYMLINKS
NO_SIZE = -1  # of a directory in an archive, which does not tell it
NO_TIME = np.iinfo(np.int64).min  # in a Tree's time columns: unknown, or told in `far_times`


@dataclass(frozen=True, slots=True)
class Inode:
    """One inode as the kernel's stat would show it.

    type: one of f d l c b p s, or `?` where the mode has no valid type. mode: the low 12 bits. offset: where the inode
    stands in the disk image. A time that the filesystem does not keep is None.
    """

    number: int
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    nlink: int
    mtime_ns: int | None
    atime_ns: int | None
    ctime_ns: int | None
    crtime_ns: int | None = None
    rdev: tuple[int, int] | None = None
    generation: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class DirEntry:
    """A name in a directory; never `.` or `..`. type is as in Inode, None where the directory does not tell it."""

    name: bytes
    inode: int
    type: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a file's bytes.

    logical: byte offset in the file. offset: byte offset in the filesystem's `source`, None where the bytes are zeros that
    stand nowhere (unwritten). Holes have no extent. Content shorter than its last block is cut by the inode's size.
    """

    logical: int
    offset: int | None
    length: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a back end could not read; becomes a row in `gaps`. offset: in the disk image."""

    what: str
    where: str
    error: str
    offset: int | None = None


@dataclass
class Tree:
    """A directory and everything below it, one row each in columns; row 0 is the directory itself.

    Rows are in no promised order but for this: a directory's row comes before its children's. Hard links are rows of one inode
    number. `parent` is a row (-1 for row 0). `type` holds the ASCII code of Inode.type. Device numbers are 0 where the row is
    no device. Time columns hold NO_TIME where the time is unknown or does not fit; `far_times` has the latter, by
    (row, column name). `offset` is the inode's place in the disk image, -1 where it has none. `targets` are symlinks' targets.
    """

    names: list[bytes]
    parent: NDArray[np.int64]
    inode: NDArray[np.int64]
    type: NDArray[np.uint8]
    mode: NDArray[np.uint16]
    uid: NDArray[np.uint32]
    gid: NDArray[np.uint32]
    size: NDArray[np.int64]
    nlink: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    atime_ns: NDArray[np.int64]
    ctime_ns: NDArray[np.int64]
    crtime_ns: NDArray[np.int64]
    rdev_major: NDArray[np.uint32]
    rdev_minor: NDArray[np.uint32]
    offset: NDArray[np.int64]
    targets: dict[int, bytes] = field(default_factory=dict)
    xattrs: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    far_times: dict[tuple[int, str], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


class Filesystem(Protocol):
    """A filesystem in a source. Every method raises FormatError for what is damaged, never anything else."""

    kind: str
    """ext4, ext3, ext2, xfs, btrfs, fat, ntfs ..."""
    source: Source
    """The bytes as this filesystem sees them: with the journal replayed, where it was."""
    label: str | None
    uuid: str | None
    state: str
    """clean, `journal replayed`, `journal not replayed`, `unsupported` ..."""
    root: int
    """The root directory's inode number."""
    block_size: int

    @property
    def problems(self) -> list[Problem]:
        """What could not be read so far; grows while reading, and takes more."""
        ...

    def inode(self, number: int) -> Inode:
        """The inode's metadata."""
        ...

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted by name. Empty, and a problem, where the directory is damaged."""
        ...

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name in a directory, None where there is none (or no directory)."""
        ...

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes by full name (`trusted.overlay.opaque`), with ACLs in the form that getxattr gives."""
        ...

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        ...

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content, cut at its size; holes and unwritten extents are zeros."""
        ...

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands, by logical offset; None where it has no extents of its own (inline, compressed)."""
        ...

    def extents_of(self, numbers: Sequence[int]) -> Mapping[int, Sequence[Extent]]:
        """As extents, of many files at once. A file may be left out, for whatever reason: ask `extents` for it."""
        ...

    def tree(self, number: int) -> Tree:
        """A directory and all below it, read in bulk. A damaged part is left out and becomes a problem."""
        ...

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory reachable from the root, once: its inode number and its subdirectories' (name, inode number)."""
        ...


def lookup(fs: Filesystem, path: bytes, start: int | None = None) -> int | None:
    """The inode at a path below `start` (default: the root), following no symlink; None where there is none."""
    number = fs.root if start is None else start
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            raise FormatError("a path with .. is not looked up", path.decode("utf-8", "backslashreplace"))
        found = fs.find(number, part)
        if found is None:
            return None
        number = found
    return number


def resolve(fs: Filesystem, path: bytes) -> int | None:
    """The inode at an absolute path, symlinks followed as the kernel would with this filesystem as `/`; None where none is."""
    pending = [p for p in reversed(path.split(b"/")) if p not in (b"", b".")]
    trail: list[int] = [fs.root]
    links = 0
    while pending:
        part = pending.pop()
        if part == b"..":
            if len(trail) > 1:
                trail.pop()
            continue
        found = fs.find(trail[-1], part)
        if found is None:
            return None
        if fs.inode(found).type != "l":
            trail.append(found)
            continue
        links += 1
        if links > MAX_SYMLINKS:
            return None
        target = fs.target(found)
        if target.startswith(b"/"):
            trail = [fs.root]
        pending.extend(p for p in reversed(target.split(b"/")) if p not in (b"", b"."))
    return trail[-1]


def read_file(fs: Filesystem, number: int, limit: int) -> bytes:
    """A whole small file; FormatError where its size exceeds `limit` bytes, so that no lying size is believed."""
    size = fs.inode(number).size
    if size > limit:
        raise FormatError(f"{size} bytes long, more than the {limit} that such a file may have")
    return fs.read(number)
