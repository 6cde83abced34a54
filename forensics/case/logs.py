"""Log lines in a case file: the tables, and the view `logs`."""

from __future__ import annotations

TABLES = """
CREATE TABLE log_file (
    id INTEGER PRIMARY KEY, container INTEGER REFERENCES container, format TEXT NOT NULL, partition INTEGER NOT NULL,
    path TEXT NOT NULL, path_raw BLOB, inode INTEGER, offset INTEGER, origin TEXT NOT NULL) STRICT;
CREATE TABLE log_line (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES log_file, container INTEGER REFERENCES container, time_ns INTEGER,
    stream TEXT, source TEXT, text TEXT NOT NULL, text_raw BLOB, position INTEGER) STRICT;
"""

INDEXES = """
CREATE INDEX log_line_container ON log_line (container, time_ns);
"""

VIEWS = """
CREATE VIEW logs AS SELECT
    c.container_id, c.name AS container, n.time_ns, n.stream, n.text, n.source, f.format, f.path, n.position, f.partition,
    n.text_raw, f.origin, n.id AS line_number, c.id AS container_number
FROM log_line n JOIN log_file f ON f.id = n.file LEFT JOIN container c ON c.id = n.container;
"""
