"""What is read from a case itself once all rows are in it: what stands for what, what happened when, and what is suspicious."""

from __future__ import annotations

from collections.abc import Mapping

from forensics.case.writer import CaseWriter
from forensics.filesystem import Filesystem
from forensics.findings.all import find
from forensics.findings.rule import Rule
from forensics.findings.scene import Scene
from forensics.progress import Progress
from forensics.records import Gap
from forensics.timeline.all import read_events
from forensics.timeline.copy_up import lower_entries


def analyse(
    case: CaseWriter, filesystems: Mapping[int, Filesystem], findings: str, own_rules: tuple[Rule[Scene], ...], progress: Progress
) -> None:
    """Write the timeline and the findings. findings: as in CarveOptions; own_rules: the analyst's."""
    with case.analysis() as db:
        progress.stage("putting the timeline together")
        case.lower_entries((each.entry, each.lower, each.copied) for each in lower_entries(db, filesystems))
    with case.analysis() as db:
        gaps: list[Gap] = []
        case.events(read_events(db, filesystems, gaps))
        case.gaps(gaps)
    if findings != "none":
        with case.analysis() as db:
            progress.stage("looking for what is suspicious")
            scene = Scene(db, filesystems)
            for rule, found in find(scene, own_rules, findings == "all"):
                case.rule(rule, found)
            case.gaps(scene.gaps)
