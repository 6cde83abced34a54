"""Owners that a container's filesystem shows and the disk does not have: of idmapped mounts, and of fuse-overlayfs's own maps."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.records import ShownIds
from parsers.id_map import NOBODY

COLUMNS = ("container", "kind", "first", "shown", "count")
TABLES = """
CREATE TABLE shown_id (
    container INTEGER NOT NULL REFERENCES container, kind TEXT NOT NULL, first INTEGER NOT NULL, shown INTEGER NOT NULL,
    count INTEGER NOT NULL) STRICT;
"""
INDEXES = "CREATE INDEX shown_id_container ON shown_id (container, kind);"
VIEWS = ""

ALL, LOWER = "all", "lower"
_SHOWN = f"""CASE WHEN c.shift IS NULL OR (c.shift = '{LOWER}' AND e.layer_id = c.layer_id) THEN e.{{kind}} ELSE coalesce((
        SELECT s.shown + e.{{kind}} - s.first FROM shown_id s WHERE s.container = c.id AND s.kind = '{{kind}}'
        AND e.{{kind}} >= s.first AND e.{{kind}} < s.first + s.count LIMIT 1), {NOBODY}) END"""
SQL = {kind: _SHOWN.format(kind=kind) for kind in ("uid", "gid")}
"""How an entry `e` of a container `c` shows its owners."""


def shift_of(ids: ShownIds | None) -> str | None:
    """Which of a container's layers are shown with other owners: all, those below its own, or none."""
    if ids is None:
        return None
    return ALL if ids.own_layer else LOWER


def rows(container: int, ids: ShownIds | None) -> Iterator[tuple[int, str, int, int, int]]:
    """The rows of shown_id; container: its number."""
    if ids is not None:
        for kind, ranges in (("uid", ids.maps.uids), ("gid", ids.maps.gids)):
            yield from ((container, kind, each.inside, each.outside, each.count) for each in ranges)
