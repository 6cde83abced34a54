"""What could not be read, or not be trusted as it was read: the limits of all else that the report says."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, read

MAX_GAPS = 200


@dataclass(frozen=True, slots=True)
class Gap:
    """A thing that could not be read. offset: byte in the disk image."""

    artefact: str
    partition: int | None
    path: str | None
    offset: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A layer that is not as its container image says, or cannot be compared."""

    layer: str
    engine: str
    kind: str
    integrity: str


@dataclass(frozen=True, slots=True)
class Unread:
    """anomalies: kinds of oddity in layers, with how many there are. incomplete: containers without a whole filesystem:
    name, what is left of it, origin of their records.
    """

    gaps: tuple[Gap, ...]
    total: int
    left_out: int
    altered: tuple[Doubt, ...]
    anomalies: tuple[tuple[str, int], ...]
    incomplete: tuple[tuple[str, str, str], ...]


def read_unread(scope: Scope) -> Unread:
    """All gaps of the case: what was not read may have been about any container."""
    gaps = read(scope, Gap, f"FROM gaps ORDER BY partition, path, artefact, offset LIMIT {MAX_GAPS}")
    total = scope.count("gaps")
    return Unread(
        gaps,
        total,
        total - len(gaps),
        read(scope, Doubt, "FROM layers WHERE integrity = 'altered' ORDER BY layer_number LIMIT 200"),
        tuple(scope.db.execute("SELECT kind, count(*) FROM anomalies GROUP BY kind ORDER BY kind").fetchall()),
        tuple(
            scope.db.execute(
                "SELECT coalesce(name, substr(container_id, 1, 12)), rootfs, origin FROM containers"
                f" WHERE rootfs <> 'complete' AND {scope.only()} ORDER BY 1, container_number LIMIT 200"
            ).fetchall()
        ),
    )
