"""Findings in a case file: the tables, and the views `findings` and `rules`."""

from __future__ import annotations

TABLES = """
CREATE TABLE rule (
    name TEXT PRIMARY KEY, title TEXT NOT NULL, why TEXT NOT NULL, check_by_hand TEXT NOT NULL, benign TEXT NOT NULL,
    attack TEXT NOT NULL) STRICT;
CREATE TABLE finding (
    id INTEGER PRIMARY KEY, severity TEXT NOT NULL, rule TEXT NOT NULL REFERENCES rule, title TEXT NOT NULL,
    container INTEGER REFERENCES container, path TEXT, path_raw BLOB, detail TEXT NOT NULL, attack TEXT NOT NULL, sha256 TEXT,
    partition INTEGER, offset INTEGER) STRICT;
"""

INDEXES = """
CREATE INDEX finding_container ON finding (container);
"""

VIEWS = """
CREATE VIEW findings AS SELECT
    f.severity, f.rule, f.title, c.container_id, c.name AS container, f.path, f.detail, f.attack, f.offset, f.sha256, f.partition,
    r.why, r.check_by_hand, r.benign, f.path_raw, f.id AS finding_number, c.id AS container_number
FROM finding f JOIN rule r ON r.name = f.rule LEFT JOIN container c ON c.id = f.container;
CREATE VIEW rules AS SELECT name AS rule, title, why, check_by_hand, benign, attack FROM rule;
"""
