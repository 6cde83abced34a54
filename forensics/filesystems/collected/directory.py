"""A directory of the examiner's machine: a mounted root, or what a triage tool collected.

No link in it is ever followed. Mounts below it belong to it, but for those that hold no files of a disk (proc, sysfs ...) or
show others' files once more (overlay): they are empty here, and a gap.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forensics.filesystem import Extent, Inode, Problem
from forensics.filesystems.collected.filesystem import LACKS, CollectedFilesystem
from forensics.source import Buffer, Source
from forensics.text import readable
from parsers.errors import FormatError

PSEUDO = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
    "hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "rpc_pipefs", "securityfs", "sysfs", "tracefs",
})  # fmt: skip
_MOUNTINFO = Path("/proc/self/mountinfo")
_OWN = 1 << 60  # from here on, numbers of files on other devices than the directory itself, or with an enormous one
_TYPES = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}  # fmt: skip
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class DirectoryCollection:
    """The files below a directory. skipped: mount points that are shown empty."""

    path: bytes
    skipped: frozenset[bytes]
    source: Source = field(init=False)
    root: int = field(init=False)

    def __post_init__(self) -> None:
        self.source = Buffer(readable(self.path), b"")
        self._paths: dict[int, bytes] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._children: dict[int, dict[bytes, int]] = {}
        status = _stat(self.path)
        self._device = status.st_dev
        self.root = self._number(self.path, status)

    def inode(self, number: int) -> Inode:
        """The inode's metadata, as lstat tells it now."""
        path = self._path(number)
        status = _stat(path)
        self._check(number, status)
        kind = _TYPES.get(stat.S_IFMT(status.st_mode), "?")
        rdev = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("c", "b") else None
        return Inode(
            number, kind, status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_size, status.st_nlink,
            status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns, None, rdev,
        )  # fmt: skip

    def children(self, number: int) -> Mapping[bytes, int]:
        """The names in a directory."""
        if number in self._children:
            return self._children[number]
        path = self._path(number)
        found: dict[bytes, int] = {}
        if path not in self.skipped and stat.S_ISDIR(_stat(path).st_mode):
            try:
                with os.scandir(path) as names:
                    for each in names:
                        inside = path.rstrip(b"/") + b"/" + each.name
                        found[each.name] = self._number(inside, _stat(inside))
            except OSError as error:
                raise FormatError(f"cannot be listed: {error.strerror}", readable(path)) from error
        self._children[number] = found
        return found

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes, as far as this user may read them."""
        path = self._path(number)
        try:
            names = os.listxattr(path, follow_symlinks=False)
            return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}
        except OSError as error:
            if error.errno == _NOT_SUPPORTED:
                return {}
            raise FormatError(f"xattrs cannot be read: {error.strerror}", readable(path)) from error

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        path = self._path(number)
        try:
            return os.readlink(path)
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror}", readable(path)) from error

    def read(self, number: int, offset: int, size: int) -> bytes:
        """A file's bytes."""
        path = self._path(number)
        try:
            descriptor = _open(path)
            try:
                self._check(number, os.fstat(descriptor))
                return os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror}", readable(path)) from error

    def extents(self, number: int) -> Sequence[Extent] | None:
        """None: where the content stands on a disk is not known here."""
        return None

    def _path(self, number: int) -> bytes:
        if number not in self._paths:
            raise FormatError(f"there is no inode {number}", self.source.name)
        return self._paths[number]

    def _number(self, path: bytes, status: os.stat_result) -> int:
        identity = (status.st_dev, status.st_ino)
        if identity not in self._numbers:
            own = status.st_dev == self._device and 0 < status.st_ino < _OWN
            self._numbers[identity] = status.st_ino if own else _OWN + len(self._numbers)
            self._paths[self._numbers[identity]] = path
        return self._numbers[identity]

    def _check(self, number: int, status: os.stat_result) -> None:
        """What stands at the path must still be what was found there."""
        if self._numbers.get((status.st_dev, status.st_ino)) != number:
            raise FormatError("was replaced while it was read", readable(self._paths[number]))


_NOT_SUPPORTED = 95  # ENOTSUP


def _stat(path: bytes) -> os.stat_result:
    try:
        return os.stat(path, follow_symlinks=False)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot be looked at: {getattr(error, 'strerror', error)}", readable(path)) from error


def _open(path: bytes) -> int:
    try:
        return os.open(path, _READ | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return os.open(path, _READ)


def open_directory(path: Path) -> CollectedFilesystem:
    """The directory as a filesystem."""
    absolute = os.fsencode(path.absolute())
    skipped = _pseudo_mounts(absolute)
    problems = [
        Problem("collection", readable(point[len(absolute.rstrip(b"/")) :]), f"holds {kind}, which is no part of a disk")
        for point, kind in sorted(skipped.items())
    ]
    lacks = f"{LACKS}, no birth times"
    if os.geteuid() != 0:
        lacks += ", and, read without root's rights, no trusted.* xattrs (overlayfs keeps its marks there)"
    return CollectedFilesystem("directory", DirectoryCollection(absolute, frozenset(skipped)), problems, lacks)


def _pseudo_mounts(below: bytes) -> dict[bytes, str]:
    """Mount points below a directory that hold no files of a disk, with their filesystems' types."""
    try:
        lines = _MOUNTINFO.read_bytes().splitlines()
    except OSError:
        return {}
    found: dict[bytes, str] = {}
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), before.split(b" ")[4])
        kind = after.split(b" ")[0].decode("ascii", "replace")
        if kind in PSEUDO and point.startswith(below.rstrip(b"/") + b"/"):
            found[point] = kind
    return found
