"""Deleted files, whatever the filesystem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from forensics.filesystem import Filesystem
from forensics.filesystems.ext4.reader import Ext4
from forensics.recovery.files.deleted_file import CERTAIN, PROBABLE, SETTLED, DeletedFile
from forensics.recovery.files.ext4_deleted import find_ext4_deleted


@dataclass(frozen=True, slots=True)
class Numbered:
    """A deleted file of a partition, with its number in the case."""

    number: int
    partition: int
    file: DeletedFile


def find_deleted(fs: Filesystem) -> Iterator[DeletedFile]:
    """The deleted files of a filesystem, in the order of their inodes. What is damaged is left out, and nothing is raised."""
    if isinstance(fs, Ext4):
        yield from find_ext4_deleted(fs)
    elif fs.kind == "xfs":
        from forensics.filesystems.xfs.reader import Xfs
        from forensics.recovery.files.xfs_deleted import find_xfs_deleted

        if isinstance(fs, Xfs):
            yield from find_xfs_deleted(fs)
    elif fs.kind == "btrfs":
        from forensics.filesystems.btrfs.reader import BtrfsFilesystem
        from forensics.recovery.files.btrfs_deleted import find_btrfs_deleted

        if isinstance(fs, BtrfsFilesystem):
            yield from find_btrfs_deleted(fs)


def find_all_deleted(filesystems: Mapping[int, Filesystem]) -> list[Numbered]:
    """The deleted files of all filesystems, by partition, numbered from 1 on."""
    found = ((partition, file) for partition in sorted(filesystems) for file in find_deleted(filesystems[partition]))
    return [Numbered(number, partition, _doubted(file)) for number, (partition, file) in enumerate(found, 1)]


def _doubted(file: DeletedFile) -> DeletedFile:
    """A file that is empty on the disk and did not last: what a process wrote to it may have been in memory alone."""
    if file.type != "f" or file.size != 0 or file.confidence != CERTAIN:
        return file
    written = max((time for time in (file.crtime_ns, file.mtime_ns) if time is not None), default=None)
    lasted = written is not None and file.deleted_ns is not None and file.deleted_ns - written > SETTLED
    return file if lasted else replace(file, confidence=PROBABLE)
