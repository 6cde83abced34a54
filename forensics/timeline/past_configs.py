"""A container's earlier runs, its renaming and its removal, from the deleted versions of its config.v2.json.

Docker writes the file anew with each change of state and renames it into its place (moby 29.0, daemon/container/container.go
CheckpointTo): the version's birth is that change, and the old version is a deleted file. A live record tells the last run only.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.case.deleted_rows import AT, find_deleted_file
from forensics.filesystem import Filesystem
from forensics.records import Event, Gap
from forensics.recovery.files.content import read_deleted
from parsers.docker_container import ContainerConfig, parse_config
from parsers.errors import EvidenceError, FormatError

MAX_CONFIG = 1 << 20
MAX_VERSIONS = 2000  # of all containers: 2 GiB at most
SOURCE = "deleted config.v2.json"
_PATH = re.compile(r"/containers/([0-9a-f]{64})/config\.v2\.json$")
_VERSIONS = """SELECT id, path, partition, coalesce(crtime_ns, mtime_ns), deleted_ns, deleted_means, offset FROM deleted_file
    WHERE type = 'f' AND path LIKE '%/config.v2.json' AND recovered_bytes = size AND size BETWEEN 2 AND ? ORDER BY id LIMIT ?"""
_KNOWN = """SELECT container_id, id, name, created_ns, started_ns, finished_ns, origin, source_partition, source_inode,
    removed_ns FROM container ORDER BY origin = 'allocated', engine = 'docker', id"""


@dataclass(frozen=True, slots=True)
class _Version:
    """One deleted version of a container's configuration."""

    config: ContainerConfig
    partition: int
    written_ns: int
    deleted_ns: int | None
    deleted_means: str | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """The container as the case has it. number: None where it has it not."""

    number: int | None = None
    name: str | None = None
    created_ns: int | None = None
    started_ns: int | None = None
    finished_ns: int | None = None
    origin: str = ""
    partition: int | None = None
    inode: int | None = None
    removed_ns: int | None = None

    def event(self, version: _Version, time_ns: int, event: str, message: str, confidence: str = "probable") -> Event:
        """What a version of this container's configuration tells."""
        called = version.config.name or (version.config.id or "")[:12]
        text = f"{called.removeprefix('/')}: {message}"
        return Event(time_ns, event, SOURCE, text, self.number, None, confidence, version.partition, version.offset)


def past_config_events(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem], gaps: list[Gap]) -> Iterator[Event]:
    """What deleted versions of Docker's containers tell that their live records do not."""
    versions: dict[str, list[_Version]] = {}
    rows = db.execute(_VERSIONS, (MAX_CONFIG, MAX_VERSIONS + 1)).fetchall()
    if len(rows) > MAX_VERSIONS:
        gaps.append(
            Gap("timeline", f"more than {MAX_VERSIONS:,} deleted versions of config.v2.json; what the others tell is no event")
        )
    for row in rows[:MAX_VERSIONS]:
        version = _read(db, filesystems, row)
        if version is not None and version.config.id is not None:
            versions.setdefault(version.config.id, []).append(version)
    known = {row[0]: _Known(*row[1:]) for row in db.execute(_KNOWN)} if versions else {}
    for container_id, found in sorted(versions.items()):
        container = known.get(container_id, _Known())
        found.sort(key=lambda each: each.written_ns)
        yield from _runs(container, found)
        yield from _names(container, found, filesystems)
        if container.origin != "allocated" and container.removed_ns is None:
            yield from _removed(container, found)


def _read(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem], row: Sequence[Any]) -> _Version | None:
    """A version whose content is what it was: of the container that its path names. Others' blocks were written over."""
    number, path, partition, written, deleted_ns, means, offset = row
    match, fs = _PATH.search(path), filesystems.get(partition)
    if match is None or fs is None or written is None:
        return None
    try:
        config = parse_config(b"".join(read_deleted(fs, find_deleted_file(db, number).file)))
    except (FormatError, EvidenceError):
        return None
    if config.id != match[1]:
        return None
    return _Version(config, partition, written, deleted_ns, means, offset)


def _runs(container: _Known, versions: Sequence[_Version]) -> Iterator[Event]:
    """Starts and ends that the live record has no more."""
    told = {(container.started_ns, "container started"), (container.finished_ns, "container exited")}
    first = versions[0]
    if container.created_ns is None and first.config.created_ns is not None:
        yield container.event(first, first.config.created_ns, "container created", f"from {first.config.image_name}")
    for version in versions:
        state = version.config.state
        if state is None:
            continue
        ended = state.name in ("exited", "dead", "removing", "restarting")
        code = f"exit code {state.exit_code}" if ended and state.exit_code is not None else "an unknown exit code"
        for time_ns, event, message in (
            (state.started_ns, "container started", "a run was seen to have started"),
            (state.finished_ns if ended else None, "container exited", f"the end of a run, {code}"),
        ):
            if time_ns is not None and (time_ns, event) not in told:
                told.add((time_ns, event))
                yield container.event(version, time_ns, event, message)


def _names(container: _Known, versions: Sequence[_Version], filesystems: Mapping[int, Filesystem]) -> Iterator[Event]:
    """Renamings: a version has another name than the one before it; the live one is the last."""
    for old, new in itertools.pairwise(versions):
        if old.config.name and new.config.name and old.config.name != new.config.name:
            message = f"was called {old.config.name.removeprefix('/')} before"
            yield container.event(new, new.written_ns, "container renamed", message)
    last = versions[-1]
    old_name = (last.config.name or "").removeprefix("/")
    if container.origin == "allocated" and container.name and old_name and old_name != container.name:
        fs = filesystems.get(container.partition or 0)
        try:
            live = fs.inode(container.inode) if fs is not None and container.inode is not None else None
        except (FormatError, EvidenceError):
            live = None
        if live is not None and live.crtime_ns is not None:
            yield container.event(last, live.crtime_ns, "container renamed", f"is called {container.name} since")


def _removed(container: _Known, versions: Sequence[_Version]) -> Iterator[Event]:
    """The last version went with its container."""
    last = max(versions, key=lambda each: each.deleted_ns or each.written_ns)
    if last.deleted_ns is not None:
        event = "container removed" if last.deleted_means == AT else "container removed (latest)"
        yield container.event(last, last.deleted_ns, event, "its configuration was deleted")
