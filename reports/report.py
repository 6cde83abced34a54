"""A report, as all its forms are made of it: the sections, and what the examiner adds."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from reports.redacted import redacted
from reports.scope import Scope
from reports.sections.changes import Tree, read_trees
from reports.sections.deleted import Deleted, read_deleted
from reports.sections.evidence import Examined, read_examined
from reports.sections.exposure import Exposure, read_exposure
from reports.sections.findings import Findings, read_findings
from reports.sections.indicators import Indicators, read_indicators
from reports.sections.inventory import Inventory, read_inventory
from reports.sections.provenance import Provenance, read_provenance
from reports.sections.story import tell
from reports.sections.timeline import Timeline, read_timeline
from reports.sections.unread import Unread, read_unread


@dataclass(frozen=True, slots=True)
class About:
    """What the report says of itself. case_file: the file's name; made: when, ISO 8601; container: the only one that it is about.

    secrets_shown: whether values of secrets are in it.
    """

    case_file: str
    made: str
    tool: str
    container: str | None = None
    container_number: int | None = None
    examiner: str | None = None
    case_number: str | None = None
    notes: str | None = None
    secrets_shown: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report tells, in the order in which it does."""

    about: About
    summary: tuple[str, ...]
    examined: Examined
    inventory: Inventory
    findings: Findings
    changes: tuple[Tree, ...]
    deleted: Deleted
    timeline: Timeline
    images: Provenance
    exposure: Exposure
    unread: Unread
    indicators: Indicators

    @property
    def title(self) -> str:
        """What stands on top of it."""
        return f"Container forensics report: {self.about.container}" if self.about.container else "Container forensics report"


def read_report(db: sqlite3.Connection, about: About) -> Report:
    """The report on a case file that is open as `db`; secrets are taken out unless `about` says that they are to be shown."""
    scope = Scope(db, about.case_file, about.container_number)
    examined = read_examined(scope)
    inventory = read_inventory(scope, about.secrets_shown)
    findings = read_findings(scope)
    deleted = read_deleted(scope)
    timeline = read_timeline(scope, inventory.containers)
    unread = read_unread(scope)
    report = Report(
        about,
        tell(examined, inventory, findings, deleted, timeline, unread),
        examined,
        inventory,
        findings,
        read_trees(scope, inventory.containers),
        deleted,
        timeline,
        read_provenance(scope),
        read_exposure(scope, inventory.containers, about.secrets_shown),
        unread,
        read_indicators(scope, inventory.containers, findings),
    )
    return report if about.secrets_shown else redacted(report)
