"""FAT, exFAT, NTFS, ISO 9660, HFS+ and UFS, as The Sleuth Kit reads them.

It tells no extended attributes, generations or device numbers, and of ISO 9660 the Joliet names, not those of Rock Ridge.
One thread at a time may use a filesystem; others wait.
"""

from __future__ import annotations

import calendar
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytsk3

from forensics.evidence import tsk_image
from forensics.filesystem import DirEntry, Extent, Inode, Problem, Tree
from forensics.filesystems.rows import MAX_ENTRIES, walk_directories, walk_tree
from forensics.source import Source
from parsers import boot_sectors, magic
from parsers.errors import FormatError

MAX_READ = 1 << 31
CHUNK = 4 << 20
NTFS_FIRST_USER_FILE = 24  # Linux 6.6 fs/ntfs3/ntfs.h MFT_REC_USER; what is before belongs to the filesystem, its root apart

_NTFS_DATA = 128
_RUN_FILLER, _RUN_SPARSE = 1, 2
_TYPES = {1: "f", 2: "d", 3: "p", 4: "c", 5: "l", 7: "b", 8: "s"}  # TSK_FS_META_TYPE_ENUM of tsk_fs.h
_FROM_NAME = {1: "p", 2: "c", 3: "d", 4: "b", 5: "f", 6: "l", 7: "s"}  # TSK_FS_NAME_TYPE_ENUM
_VIRTUAL = (10, 11)
_NOT_FILES = {"fat": ("(Volume Label Entry)",), "exfat": ("(Volume Label Entry)", "$ALLOC_BITMAP", "$UPCASE_TABLE")}
_TSK_PLACE = re.compile(r"^\w+: \(\w+\.cpp:\d+\) ")
_LOCAL_TIMES = ("fat", "exfat", "iso9660")


class TskFilesystem:
    """A filesystem behind The Sleuth Kit."""

    state = "clean"

    def __init__(self, source: Source, kind: str) -> None:
        self.source = source
        self.kind = kind
        self.problems: list[Problem] = []
        self.label, self.uuid = boot_sectors.identity(kind, source.read(0, magic.HEAD_SIZE))
        self._lock = threading.Lock()
        with self._using("opening"):
            self._fs = pytsk3.FS_Info(tsk_image(source))
            self.root = int(self._fs.info.root_inum)
            self.block_size = int(self._fs.info.block_size)

    @contextmanager
    def _using(self, what: str) -> Iterator[None]:
        """The Sleuth Kit for one thread, its errors as ours."""
        with self._lock:
            try:
                yield
            except (OSError, RuntimeError, KeyError, ValueError) as error:
                # Where our own reading failed, the first line is that failure; else there is one line, of TSK's.
                told = _TSK_PLACE.sub("", next(iter(str(error).strip().splitlines()), "no reason given"))
                raise FormatError(f"{what}: {told}", self.source.name) from error

    def _open(self, number: int) -> pytsk3.File:
        file = self._fs.open_meta(inode=number)
        if file.info.meta is None:
            raise FormatError(f"inode {number} has no metadata", self.source.name)
        return file

    def inode(self, number: int) -> Inode:
        """The inode's metadata; times that are 0 are unknown."""
        with self._using(f"inode {number}"):
            meta = self._open(number).info.meta
            return Inode(
                number,
                _TYPES.get(int(meta.type), "?"),
                int(meta.mode) & 0o7777,
                int(meta.uid),
                int(meta.gid),
                int(meta.size),
                int(meta.nlink),
                self._time(meta.mtime, meta.mtime_nano),
                self._time(meta.atime, meta.atime_nano),
                self._time(meta.ctime, meta.ctime_nano),
                self._time(meta.crtime, meta.crtime_nano),
            )

    def _time(self, seconds: int, nanoseconds: int) -> int | None:
        seconds, nanoseconds = int(seconds), int(nanoseconds)
        if not seconds and not nanoseconds:
            return None
        if self.kind in _LOCAL_TIMES:
            # What has no time zone TSK takes for this machine's; taken back, it stands as UTC, whoever looks.
            seconds = calendar.timegm(time.localtime(seconds))
        return seconds * 10**9 + nanoseconds

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory that are in use, without those that TSK or the filesystem make up."""
        found: dict[bytes, DirEntry] = {}
        try:
            with self._using(f"directory {number}"):
                for file in self._fs.open_dir(inode=number):
                    name = file.info.name
                    if self._is_file(name):
                        kind = _FROM_NAME.get(int(name.type))
                        found.setdefault(name.name, DirEntry(name.name, int(name.meta_addr), kind))
                    if len(found) > MAX_ENTRIES:
                        raise FormatError(f"a directory of more than {MAX_ENTRIES} names", self.source.name)
        except FormatError as error:
            self.problems.append(Problem("directory", f"inode {number}", str(error)))
        return [found[name] for name in sorted(found)]

    def _is_file(self, name: pytsk3.File) -> bool:
        raw = name.name
        if raw in (None, b".", b"..") or int(name.type) in _VIRTUAL or int(name.flags) & int(pytsk3.TSK_FS_NAME_FLAG_UNALLOC):
            return False
        if self.kind == "ntfs" and int(name.meta_addr) < NTFS_FIRST_USER_FILE:
            return False
        return not raw.decode("utf-8", "replace").endswith(_NOT_FILES.get(self.kind, ()) or "\0")

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name."""
        return next((entry.inode for entry in self.entries(directory) if entry.name == name), None)

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """None: The Sleuth Kit does not tell them."""
        return {}

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        with self._using(f"symlink {number}"):
            link = self._open(number).info.meta.link
        return link if isinstance(link, bytes) else str(link or "").encode()

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content."""
        with self._using(f"content of inode {number}"):
            file = self._open(number)
            end = int(file.info.meta.size)
            if size is not None:
                end = min(end, offset + size)
            if end - offset > MAX_READ:
                raise FormatError(f"inode {number} says it has {end} bytes, too many to read at once", self.source.name)
            parts = []
            while offset < end:
                part = file.read_random(offset, min(CHUNK, end - offset))
                if not part:
                    raise FormatError(f"the content of inode {number} ends at byte {offset} of {end}", self.source.name)
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where the content stands; None where it stands in the inode, or compressed."""
        found = []
        with self._using(f"extents of inode {number}"):
            for attribute in self._open(number):
                info = attribute.info
                if int(info.type) not in (int(pytsk3.TSK_FS_ATTR_TYPE_DEFAULT), _NTFS_DATA) or info.name:
                    continue
                unusual = pytsk3.TSK_FS_ATTR_COMP, pytsk3.TSK_FS_ATTR_RES, pytsk3.TSK_FS_ATTR_ENC
                if any(int(info.flags) & int(flag) for flag in unusual):
                    return None
                for run in attribute:
                    if run.len and not int(run.flags) & (_RUN_FILLER | _RUN_SPARSE):
                        size = self.block_size
                        found.append(Extent(int(run.offset) * size, int(run.addr) * size, int(run.len) * size))
        return sorted(found, key=lambda extent: extent.logical)

    def extents_of(self, numbers: Sequence[int]) -> Mapping[int, Sequence[Extent]]:
        """None of them: this back end knows no faster way than one by one."""
        return {}

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory, once."""
        return walk_directories(self)

    def tree(self, number: int) -> Tree:
        """A directory and all below it."""
        return walk_tree(self, number)


def open_tsk(source: Source, kind: str) -> TskFilesystem:
    """Open a filesystem of a kind that The Sleuth Kit knows. FormatError where The Sleuth Kit cannot."""
    return TskFilesystem(source, kind)
