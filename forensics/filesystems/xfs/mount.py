"""Opens an XFS filesystem as it lies on the disk."""

from __future__ import annotations

from forensics.filesystems.xfs.reader import Xfs
from forensics.source import Source


def open_xfs(source: Source, replay_journal: bool = True) -> Xfs:
    """Open a filesystem. Raises FormatError where there is none, UnsupportedFormat naming features."""
    return Xfs(source)
