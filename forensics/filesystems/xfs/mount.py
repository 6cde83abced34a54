"""Opens an XFS filesystem as the kernel's next mount would show it, or as it lies on the disk."""

from __future__ import annotations

from forensics.filesystem import Problem
from forensics.filesystems.xfs.reader import Xfs
from forensics.filesystems.xfs.replay import NOT_REPLAYED, OLDER, replay
from forensics.source import Source
from parsers.errors import FormatError


def open_xfs(source: Source, replay_journal: bool = True) -> Xfs:
    """Open a filesystem, its log applied in memory where it needs that.

    Raises FormatError where there is none, UnsupportedFormat naming features. A log that cannot be applied is a problem.
    """
    lying = Xfs(source)
    done = replay(source, lying.geometry, replay_journal)
    fs = lying
    state, problems = done.state, done.problems
    if done.source is not source:
        try:
            fs = Xfs(done.source)
        except FormatError as error:
            state = NOT_REPLAYED
            problems.append(Problem("journal", source.name, f"with the log applied there is no filesystem: {error}{OLDER}"))
    fs.state = state
    fs.problems.extend(problems)
    return fs
