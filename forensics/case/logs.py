"""Log lines in a case file: the tables, the view `logs`, and the full-text search `log_search` over it."""

from __future__ import annotations

from typing import Any

from forensics.logs.lines import LogFile, LogLine
from forensics.text import raw_if_unequal, readable

TABLES = """
CREATE TABLE log_file (
    id INTEGER PRIMARY KEY, container INTEGER REFERENCES container, format TEXT NOT NULL, partition INTEGER NOT NULL,
    path TEXT, path_raw BLOB, inode INTEGER, offset INTEGER, origin TEXT NOT NULL, container_id TEXT,
    container_name TEXT, confidence TEXT NOT NULL DEFAULT 'certain', how TEXT NOT NULL DEFAULT 'allocated') STRICT;
CREATE TABLE log_line (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES log_file, container INTEGER REFERENCES container, time_ns INTEGER,
    stream TEXT, source TEXT, text TEXT NOT NULL, text_raw BLOB, position INTEGER, pieces TEXT,
    unfinished INTEGER NOT NULL DEFAULT 0) STRICT;
"""

INDEXES = """
CREATE INDEX log_line_container ON log_line (container, file, position);
"""

VIEWS = """
CREATE VIEW logs AS SELECT
    coalesce(c.container_id, f.container_id) AS container_id, coalesce(c.name, f.container_name) AS container, n.time_ns,
    n.stream, n.text, n.source, f.format, f.path, n.position, f.partition, n.text_raw, f.origin, f.confidence, f.inode, f.offset,
    n.pieces, n.unfinished, n.id AS line_number, n.file AS file_number, c.id AS container_number, f.how
FROM log_line n JOIN log_file f ON f.id = n.file LEFT JOIN container c ON c.id = n.container;
CREATE VIRTUAL TABLE log_search USING fts5(
    container UNINDEXED, time_ns UNINDEXED, stream UNINDEXED, source UNINDEXED, text, content = 'logs',
    content_rowid = 'line_number', columnsize = 0);
INSERT INTO log_search (rowid, text) SELECT id, text FROM log_line;
"""

FILE_COLUMNS = (
    "id", "container", "format", "partition", "path", "path_raw", "inode", "offset", "origin", "container_id", "container_name",
    "confidence", "how",
)  # fmt: skip
"""The columns of the table `log_file`, in the order of `file_row`."""

LINE_COLUMNS = LogLine._fields
"""The columns of the table `log_line`, in the order of a LogLine."""


def file_row(file: LogFile) -> tuple[Any, ...]:
    """A log's file as a row of its table."""
    path = None if file.path is None else readable(file.path)
    raw = None if file.path is None or path is None else raw_if_unequal(file.path, path)
    return (
        file.number, file.container, file.format, file.partition, path, raw, file.inode, file.offset,
        file.origin, file.container_id, file.container_name, file.confidence, file.how,
    )  # fmt: skip
