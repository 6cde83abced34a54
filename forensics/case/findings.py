"""Findings in a case file: the tables, what the views `findings` and `rules` show, and their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from forensics.records import Finding, RuleText
from forensics.text import raw_if_unequal, readable

TABLES = """
CREATE TABLE rule (
    name TEXT PRIMARY KEY, severity TEXT NOT NULL, title TEXT NOT NULL, why TEXT NOT NULL, check_by_hand TEXT NOT NULL,
    benign TEXT NOT NULL, attack TEXT NOT NULL) STRICT;
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
CREATE VIEW rules AS SELECT name AS rule, severity, title, why, check_by_hand, benign, attack FROM rule;
"""


def rule_row(rule: RuleText) -> dict[str, Any]:
    """A rule that was looked for, found or not, as a row of its table."""
    return {
        "name": rule.name, "severity": rule.severity, "title": rule.title, "why": rule.why, "check_by_hand": rule.check,
        "benign": rule.benign, "attack": json.dumps(rule.attack),
    }  # fmt: skip


FINDING_COLUMNS = (
    "severity", "rule", "title", "container", "path", "path_raw", "detail", "attack", "sha256", "partition", "offset",
)  # fmt: skip
"""The columns of the table `finding`, in the order of `finding_rows`."""


def finding_rows(rule: RuleText, findings: Iterable[Finding]) -> Iterator[tuple[Any, ...]]:
    """What a rule found, as rows of its table."""
    attack = json.dumps(rule.attack)
    for each in findings:
        path = None if each.path is None else readable(each.path)
        raw = None if each.path is None or path is None else raw_if_unequal(each.path, path)
        yield (
            each.severity, rule.name, each.title, each.container, path, raw, each.detail, attack, each.sha256, each.partition,
            each.offset,
        )  # fmt: skip
