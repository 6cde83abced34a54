"""Rules about what containers deleted of their own: programs and scripts that were there for a while."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.findings.changed_files import ELF, HEAD, TEMPORARY, hides
from forensics.findings.commands_seen import bare_downloads, downloads_run, reverse_shells
from forensics.findings.escapes import escape_traces
from forensics.findings.grouping import grouped
from forensics.findings.redact import quoted
from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Scene
from forensics.records import Finding, Gap

MOST = 100_000  # deleted files that are looked at


def deleted_programs(scene: Scene) -> Iterator[Finding]:
    """Programs and scripts that a container deleted; of one that was removed as a whole, everything is deleted."""
    rows = scene.db.execute(
        "SELECT d.id, d.container, d.path, d.path_raw, d.size, d.mode, d.sha256, d.partition, d.offset FROM deleted_file d"
        " JOIN container c ON c.id = d.container WHERE c.origin = 'allocated' AND d.type = 'f' AND d.size > 0"
        " AND d.path IS NOT NULL AND d.method <> 'orphan' ORDER BY d.container, d.id LIMIT ?",
        (MOST + 1,),
    ).fetchall()
    if len(rows) > MOST:
        scene.gaps.append(Gap("findings", f"more than {MOST:,} deleted files of containers; the others were not looked into"))
    found: dict[int, list[Finding]] = {}
    for number, container, text, raw, size, mode, sha256, partition, offset in rows[:MOST]:
        path = text.encode() if raw is None else raw
        head = scene.read(partition, -number, 0, min(size, HEAD))
        told = _weighed(path, mode or 0, head)
        if told is not None:
            severity, title, detail = told
            each = Finding(severity, title, f"{detail}, {size} bytes", container, path, sha256, partition, offset)
            found.setdefault(container, []).append(each)
    for findings in found.values():
        yield from grouped(findings)


def _weighed(path: bytes, mode: int, head: bytes) -> tuple[str, str, str] | None:
    """How grave a deleted file is, what it was, and what tells; None where it was nothing that runs."""
    script, elf = head.startswith(b"#!"), head.startswith(ELF)
    odd = path.startswith(TEMPORARY) or hides(path)
    if script or (mode & 0o111 and not elf):
        for seen in (*reverse_shells(head), *downloads_run(head)):
            return "high", f"deleted script {seen.what}", quoted(seen.line)
        trace = escape_traces(head)
        if trace is not None:
            return "high", f"deleted script escapes by {trace[0]}", quoted(trace[1])
        for seen in bare_downloads(head):
            return "high" if odd else "medium", f"deleted script {seen.what}", quoted(seen.line)
    if odd and elf:
        return "medium", "program deleted from a temporary or hidden place", f"ELF, mode {mode:04o}"
    if odd and script:
        return "low", "script deleted from a temporary or hidden place", f"mode {mode:04o}"
    return None


RULES: tuple[Rule[Scene], ...] = (
    rule(
        "deleted-program",
        "high",
        "Program or script that was deleted",
        why="Droppers and tools are deleted when they have done their work; what is left of them tells what that was.",
        check="ctrforensics deleted, extract --deleted NUMBER; then what changed in the container at that time.",
        benign="Installers and compilers leave nothing behind in /tmp, either.",
        attack=("T1070.004", "T1105"),
        look=deleted_programs,
    ),
)  # fmt: skip
