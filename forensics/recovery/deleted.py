"""Deleted files, whatever the filesystem; and what is left of their content."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.filesystem import Filesystem
from forensics.filesystems.ext4.reader import Ext4
from forensics.recovery.deleted_file import DeletedFile
from forensics.recovery.ext4_deleted import find_ext4_deleted


def find_deleted(fs: Filesystem) -> Iterator[DeletedFile]:
    """The deleted files of a filesystem, in the order of their inodes. What is damaged is left out, and nothing is raised."""
    if isinstance(fs, Ext4):
        yield from find_ext4_deleted(fs)
