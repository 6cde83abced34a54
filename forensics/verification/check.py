"""What a verification finds: one check after another, with everything that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.case.lookup import Case
from forensics.evidence import Evidence
from forensics.filesystem import Filesystem
from forensics.progress import Progress
from forensics.survey import Survey

AGREES, DIFFERS, UNCHECKED = "agrees", "differs", "not checked"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the evidence does not say as the case does. path: what people know it by; offset: in the disk image."""

    path: str
    detail: str
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. facts: how many were held against the evidence. note: what was left out, and why."""

    name: str
    facts: int
    differences: tuple[Difference, ...] = ()
    note: str | None = None

    @property
    def state(self) -> str:
        """Whether case and evidence agree; `not checked` where there was nothing that could be held against it."""
        return DIFFERS if self.differences else AGREES if self.facts else UNCHECKED


@dataclass(frozen=True, slots=True)
class Opened:
    """A case, and its evidence opened as the carve opened it. filesystems: by partition, deleted files among them."""

    case: Case
    evidence: Evidence
    survey: Survey
    filesystems: Mapping[int, Filesystem]
    progress: Progress
