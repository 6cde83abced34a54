"""What is suspicious, gravest first: one entry for each rule and severity, with every place where the rule found something."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from reports.scope import Scope, read, words

SEVERITIES = ("high", "medium", "low", "info")
MAX_PLACES = 50  # of one rule and severity
_RANK = "CASE severity WHEN 'high' THEN 0 WHEN 'medium' THEN 1 WHEN 'low' THEN 2 ELSE 3 END"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule found something. offset: byte in the disk image, of what it points to."""

    title: str
    container: str | None
    container_number: int | None
    path: str | None
    detail: str
    sha256: str | None
    partition: int | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What one rule found with one severity. left_out: places that are not told. attack: MITRE ATT&CK technique ids."""

    severity: str
    rule: str
    title: str
    why: str
    check_by_hand: str
    benign: str
    attack: tuple[str, ...]
    places: tuple[Place, ...]
    left_out: int

    @property
    def count(self) -> int:
        """In how many places the rule found something."""
        return len(self.places) + self.left_out


@dataclass(frozen=True, slots=True)
class Findings:
    """counts: how many there are of each severity. rules: how many were looked for; None where nobody looked."""

    counts: tuple[tuple[str, int], ...]
    suspicions: tuple[Suspicion, ...]
    rules: int | None

    def count(self, severity: str) -> int:
        """How many findings of this severity there are."""
        return dict(self.counts).get(severity, 0)


@dataclass(frozen=True, slots=True)
class _Row:
    severity: str
    rule: str
    title: str
    container: str | None
    container_number: int | None
    path: str | None
    detail: str
    attack: str | None
    sha256: str | None
    partition: int | None
    offset: int | None
    rule_title: str
    why: str
    check_by_hand: str
    benign: str


def read_findings(scope: Scope) -> Findings:
    """The findings about what the report is about."""
    rows = read(
        scope,
        _Row,
        f"FROM findings f WHERE {scope.only()} ORDER BY {_RANK}, rule, container_number, path, finding_number",
        spelled={
            "rule_title": "(SELECT r.title FROM rules r WHERE r.rule = f.rule)",
            "container": "coalesce(container, substr(container_id, 1, 12))",
        },
    )
    rules = scope.count("rules")
    counts = [(severity, sum(row.severity == severity for row in rows)) for severity in SEVERITIES]
    grouped = groupby(rows, key=lambda row: (row.severity, row.rule))
    return Findings(
        tuple((severity, number) for severity, number in counts if number),
        tuple(_suspicion(list(group)) for _key, group in grouped),
        rules or None,
    )


def _suspicion(rows: list[_Row]) -> Suspicion:
    first = rows[0]
    places = tuple(
        Place(row.title, row.container, row.container_number, row.path, row.detail, row.sha256, row.partition, row.offset)
        for row in rows[:MAX_PLACES]
    )
    return Suspicion(
        first.severity, first.rule, first.rule_title, first.why, first.check_by_hand, first.benign, words(first.attack), places,
        len(rows) - len(places),
    )  # fmt: skip
