"""Opens an ext2, ext3 or ext4 filesystem as the kernel's next mount would show it, or as it lies on the disk."""

from __future__ import annotations

from forensics.filesystem import Problem
from forensics.filesystems.ext4.fast_commit import Changes
from forensics.filesystems.ext4.journal import NOT_REPLAYED, replay
from forensics.filesystems.ext4.reader import Ext4
from forensics.source import Source
from parsers.errors import FormatError


def open_ext4(source: Source, replay_journal: bool = True) -> Ext4:
    """Open a filesystem, its journal replayed in memory where it needs that.

    Raises FormatError where there is none, UnsupportedFormat naming features. A journal that cannot be replayed is a problem.
    """
    lying = Ext4(source)
    if not replay_journal:
        if lying.superblock.needs_recovery:
            lying.state = NOT_REPLAYED
        return lying
    done = replay(lying)
    changes = done.changes
    fs = lying
    if done.source is not source or changes != Changes():
        try:
            fs = Ext4(
                done.source,
                inode_overrides=changes.inodes,
                inode_places=changes.places,
                dirent_changes=changes.entries,
                extent_overrides=changes.runs,
            )
        except FormatError as error:
            what = f"after its replay there is no filesystem to be read ({error}); it is not replayed"
            fs.problems.append(Problem("journal", source.name, what))
            fs.state = NOT_REPLAYED
            return fs
    fs.state = done.state
    fs.problems.extend(done.problems)
    return fs
