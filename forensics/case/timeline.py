"""Events in a case file: the table, and the view `timeline`."""

from __future__ import annotations

TABLES = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL,
    container INTEGER REFERENCES container, path TEXT, path_raw BLOB, message TEXT NOT NULL, confidence TEXT NOT NULL,
    partition INTEGER, offset INTEGER) STRICT;
"""

INDEXES = """
CREATE INDEX event_time ON event (time_ns);
"""


def iso(ns: str) -> str:
    """SQL that writes a column of nanoseconds since 1970 as ISO 8601 in UTC, in any SQLite; NULL beyond the year 9999."""
    fraction = f"(({ns} % 1000000000 + 1000000000) % 1000000000)"
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({ns} - {fraction}) / 1000000000, 'unixepoch') || printf('.%09dZ', {fraction})"


VIEWS = f"""
CREATE VIEW timeline AS SELECT
    e.time_ns, {iso("e.time_ns")} AS time, e.event, e.source, c.container_id, c.name AS container, e.path, e.message,
    e.confidence, e.partition, e.offset, e.path_raw, c.id AS container_number
FROM event e LEFT JOIN container c ON c.id = e.container;
"""
