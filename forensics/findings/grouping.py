"""Many findings of one rule in one container, told as one where nobody would read them one by one."""

from __future__ import annotations

from collections.abc import Iterable

from forensics.findings.rule import SEVERITIES
from forensics.records import Finding
from forensics.text import readable

ALONE = {"high": 50, "medium": 2, "low": 2, "info": 1}  # as many are told one by one
LISTED = 30  # paths in a finding that stands for many


def grouped(findings: Iterable[Finding]) -> list[Finding]:
    """The findings of one rule in one container, gravest first; where there are too many of one severity, one for all of them.

    That one points to the evidence of the first, and lists the others.
    """
    findings = list(findings)
    if len(findings) <= 1:
        return findings  # as nearly always, for each of many rules in each of many containers
    by_severity: dict[str, list[Finding]] = {}
    for finding in findings:
        by_severity.setdefault(finding.severity, []).append(finding)
    told: list[Finding] = []
    for severity in SEVERITIES:
        some = by_severity.get(severity, [])
        told.extend(some if len(some) <= ALONE[severity] else [_one_for(some)])
    return told


def _one_for(findings: list[Finding]) -> Finding:
    first = findings[0]
    lines = [f"{readable(f.path)}: {f.detail}" if f.path is not None else f.detail for f in findings[:LISTED]]
    more = len(findings) - len(lines)
    if more > 0:
        lines.append(f"and {more} more")
    return first._replace(title=f"{first.title}, and {len(findings) - 1} more like it", detail="\n".join(lines))
