"""What was removed of containers' logs: deleted files first, then what no file has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.logs.carved import carved_lines
from forensics.logs.containers import LogOwner
from forensics.logs.deleted import deleted_lines, find_deleted_logs
from forensics.logs.lines import LogFile, LogLine
from forensics.logs.reading import Budget
from forensics.records import Gap
from forensics.recovery.carving.scan import Hits
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.extents import extents_of


@dataclass(frozen=True)
class RemovedLogs:
    """Where removed logs may be. is_containers_own: whether a byte of a partition was in a file of a container."""

    filesystems: Mapping[int, Filesystem]
    deleted: Sequence[Numbered]
    hits: Sequence[Hits]
    is_containers_own: Callable[[int, int], bool]


def removed_lines(
    removed: RemovedLogs, owners: Sequence[LogOwner], numbers: Iterator[int], budget: Budget, gaps: list[Gap]
) -> Iterator[LogFile | LogLine]:
    """The files, and the lines behind the file that they were in."""
    logs = find_deleted_logs(removed.deleted, owners)
    yield from deleted_lines(logs, removed.filesystems, owners, numbers, budget, gaps)
    read = {log.each.number for log in logs}
    extents = extents_of(removed.deleted) if removed.hits else {}
    for hits in removed.hits:
        yield from carved_lines(hits, extents.get(hits.space.partition), read, removed.is_containers_own, numbers, gaps)
