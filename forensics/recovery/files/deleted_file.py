"""A file that was deleted, as far as it comes back, whatever filesystem it was on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forensics.filesystem import Extent

CERTAIN, PROBABLE, POSSIBLE = "certain", "probable", "possible"
SETTLED = 60_000_000_000
"""Nanoseconds after which the kernel has written what a process wrote, as a rule: twice its bound (dirty_expire_centisecs)."""


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """One name of a file, directory or other inode that was deleted.

    path: on its filesystem; None where no name is known. A path that begins with `#` and an inode number is what stood in that
    directory, of which no more is known. method: orphan (unlinked, but held open when the power went: whole), journal, log, names
    (named in a block of its directory, while its inode is known as a deleted one only), dtime (such an inode alone). size: of the
    file as it last was, None where that is not known. extents: where its content still stands, as in Filesystem.extents; content
    that stood in the inode is `inline`; both are None where nothing tells, or where it has no content. lost: the parts, (first
    byte, length), that were given to others since, or were never written as far as the filesystem knew. reuse: how much was given
    to others: none, some, all, None where that is not known. within: where no path is known, a directory that it was somewhere
    below. deleted_ns: when it was deleted; no_later: it may have been before that. parent: the inode of its directory, with its
    generation. offset: of the inode, in the disk image.
    """

    path: bytes | None
    inode: int
    type: str
    mode: int
    uid: int
    gid: int
    size: int | None
    method: str
    confidence: str
    generation: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None
    crtime_ns: int | None = None
    deleted_ns: int | None = None
    no_later: bool = False
    target: bytes | None = None
    rdev: tuple[int, int] | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    extents: tuple[Extent, ...] | None = None
    inline: bytes | None = None
    lost: tuple[tuple[int, int], ...] = ()
    reuse: str | None = None
    parent: tuple[int, int] | None = None
    within: bytes | None = None
    offset: int | None = None

    @property
    def name(self) -> bytes | None:
        """The last part of its path."""
        return None if self.path is None else self.path.rpartition(b"/")[2]
