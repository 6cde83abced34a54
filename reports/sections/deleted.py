"""Deleted files of which something is left, and records of containers that were removed."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, read

MAX_FILES = 250
_RANK = "CASE confidence WHEN 'certain' THEN 0 WHEN 'probable' THEN 1 ELSE 2 END"


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """A deleted file. recovered_bytes: how many of its size are still on the disk. deleted_means: it was at that time, or before.

    reused: whether none, some or all of its blocks belong to other files now.
    """

    container: str | None
    layer: str | None
    path: str | None
    type: str | None
    size: int | None
    recovered_bytes: int | None
    sha256: str | None
    method: str
    confidence: str
    deleted_ns: int | None
    deleted_means: str | None
    inode: int | None
    partition: int
    offset: int | None
    reused: str | None


@dataclass(frozen=True, slots=True)
class RemovedContainer:
    """A container that its engine no longer knows."""

    container_id: str
    name: str | None
    image: str | None
    created_ns: int | None
    finished_ns: int | None
    confidence: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """total: deleted files in all, directories and the like among them; of_containers: those that were in a container's layer.

    whole: files whose every byte is left. left_out: how many are not told.
    """

    files: tuple[DeletedFile, ...]
    total: int
    of_containers: int
    whole: int
    left_out: int
    containers: tuple[RemovedContainer, ...]


def read_deleted(scope: Scope) -> Deleted:
    """What was deleted: containers' own first, files before directories, the surest first."""
    files = read(
        scope,
        DeletedFile,
        f"FROM deleted_files WHERE {scope.only()}"
        f" ORDER BY container_number IS NULL, type = 'd', path IS NULL, {_RANK}, container, path, deleted_number"
        f" LIMIT {MAX_FILES}",
        spelled={"container": "coalesce(container, substr(container_id, 1, 12))"},
    )
    total = scope.count("deleted_files", scope.only())
    return Deleted(
        files,
        total,
        scope.count("deleted_files", f"{scope.only()} AND container_number IS NOT NULL"),
        scope.count("deleted_files", f"{scope.only()} AND type = 'f' AND size > 0 AND recovered_bytes = size"),
        total - len(files),
        read(
            scope,
            RemovedContainer,
            f"FROM containers WHERE {scope.only()} AND origin <> 'allocated' ORDER BY created_ns, container_id LIMIT 500",
        ),
    )
