"""ext2, ext3 and ext4, read by our own reader, with the journal replayed in memory."""

from __future__ import annotations

from forensics.filesystem import Filesystem
from forensics.filesystems.ext4.reader import Ext4
from forensics.source import Source


def open_ext4(source: Source, replay_journal: bool = True) -> Filesystem:
    """Open a filesystem as the kernel would show it. Raises FormatError, or UnsupportedFormat naming the features."""
    return Ext4(source)
