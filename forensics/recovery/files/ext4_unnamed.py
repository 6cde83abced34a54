"""Where a file was of which no name was ever written: in a directory that changed while it was made and unlinked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from forensics.filesystems.ext4.columns import columns
from forensics.filesystems.ext4.inodes import InodeTables, records
from forensics.filesystems.ext4.past_inodes import States
from forensics.filesystems.ext4.reuse import TICK
from forensics.filesystems.past.paths import BEFORE, PastPaths
from forensics.recovery.files.deleted_file import PROBABLE, DeletedFile

OVERLAY_WORK = b"/work/work"  # where overlayfs prepares what it moves to the upper directory: only its own files are made there
DIRECTORY = ord("d")


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Places files without names among the directories of a filesystem."""

    states: States
    tables: InodeTables
    paths: PastPaths

    def placed(self, file: DeletedFile) -> DeletedFile:
        """The file with a path of its directory, `#` and its inode number; else with what is above all that it may be in.

        A directory's modification time is then that of its making or its unlinking; where the journal has the transaction that
        did both, it has a state of the directory too.
        """
        if file.crtime_ns is None or file.ctime_ns is None:
            return file
        s = self.states
        own = np.flatnonzero((s.number == file.inode) & (s.generation == (file.generation or 0)))
        moment = int(s.first[own[0]]) if len(own) else BEFORE
        found: dict[bytes, tuple[int, int]] = {}
        for number, generation in self._changed(moment, file.crtime_ns, file.ctime_ns + TICK):
            path = self.paths.directory(number, generation, moment)
            if not path.endswith(OVERLAY_WORK):
                found[path] = number, generation
        if len(found) == 1:
            ((path, parent),) = found.items()
            return replace(file, path=path + b"/#%d" % file.inode, parent=parent, confidence=PROBABLE)
        return replace(file, within=_common(list(found)), confidence=PROBABLE) if found else file

    def _changed(self, moment: int, since: int, until: int) -> Iterator[tuple[int, int]]:
        """The directories that were changed in a transaction between two times; all of now where it is older than the journal."""
        s = self.states
        times = s.columns.times["mtime"]
        near = (s.first == moment) & (s.columns.type == DIRECTORY) & (times >= since) & (times <= until)
        yield from zip(s.number[near].tolist(), s.generation[near].tolist(), strict=True)
        for numbers, rows in self.tables.sweep() if moment == BEFORE else ():
            found = columns(records(rows), True)
            times = found.times["mtime"]
            near = (found.type == DIRECTORY) & (times >= since) & (times <= until) & ~np.isin(numbers, s.number)
            yield from zip(numbers[near].tolist(), records(rows)["i_generation"][near].tolist(), strict=True)


def _common(paths: list[bytes]) -> bytes:
    """The directory above all of some directories."""
    parts = zip(*(path.split(b"/") for path in paths), strict=False)
    return b"/".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, parts))
