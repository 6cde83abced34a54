"""What could not be read, or not be trusted as it was read: the limits of all else that the report says."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, read

MAX_GAPS = 200
MAX_LAYERS = 200
MAX_FAULTS = 30  # of one layer


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
    """A layer that is not as its container image says. faults: its entries that are not, the first ones of `fault_count`."""

    layer: str
    engine: str
    kind: str
    reason: str | None
    fault_count: int
    faults: tuple[tuple[str, str], ...]


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


@dataclass(frozen=True, slots=True)
class _Altered:
    layer_number: int
    layer: str
    engine: str
    kind: str
    integrity_reason: str | None


_ALTERED = f"FROM layers WHERE integrity = 'altered' ORDER BY layer_number LIMIT {MAX_LAYERS}"


def read_unread(scope: Scope) -> Unread:
    """All gaps of the case: what was not read may have been about any container."""
    gaps = read(scope, Gap, f"FROM gaps ORDER BY partition, path, artefact, offset LIMIT {MAX_GAPS}")
    total = scope.count("gaps")
    return Unread(
        gaps,
        total,
        total - len(gaps),
        tuple(_doubt(scope, row) for row in read(scope, _Altered, _ALTERED)),
        tuple(scope.db.execute("SELECT kind, count(*) FROM anomalies GROUP BY kind ORDER BY kind").fetchall()),
        tuple(
            scope.db.execute(
                "SELECT coalesce(name, substr(container_id, 1, 12)), rootfs, origin FROM containers"
                f" WHERE rootfs <> 'complete' AND {scope.only()} ORDER BY 1, container_number LIMIT 200"
            ).fetchall()
        ),
    )


def _doubt(scope: Scope, row: _Altered) -> Doubt:
    of_layer = f"layer_number = {row.layer_number}"
    faults = scope.db.execute(
        f"SELECT kind, path FROM layer_faults WHERE {of_layer} ORDER BY path, kind LIMIT {MAX_FAULTS}"
    ).fetchall()
    count = scope.count("layer_faults", of_layer)
    return Doubt(row.layer, row.engine, row.kind, row.integrity_reason, count, tuple(faults))
