"""The analyst's own YARA rules over files' contents, with yara-x (an extra: pip install 'ctrforensics[yara]').

The files of containers' own layers, deleted files of which content is left, or all files of all layers, each content once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.findings.rule import SEVERITIES, Rule, rule
from forensics.findings.scene import Scene
from forensics.records import Finding, Gap
from parsers.errors import EvidenceError, FormatError, UsageError

SCOPES = ("changed", "recovered", "all")
MOST = 64 << 20  # bytes of a file that are scanned, from its beginning
SECONDS = 20  # that one file may take
MATCHES = 20  # of one pattern that are looked for
SHOWN = 5
SUFFIXES = (".yar", ".yara", ".rule", ".rules")

_LAYER_FILES = (
    "SELECT CASE WHEN l.kind = 'container' THEN (SELECT min(c.id) FROM container c WHERE c.layer_id = l.id) END, e.path,"
    " e.path_raw, k.sha256, l.partition, e.inode, e.size, coalesce(k.offset, e.offset), l.name, l.kind"
    " FROM entry e JOIN layer l ON l.id = e.layer_id LEFT JOIN content k ON k.partition = l.partition AND k.inode = e.inode"
    " WHERE e.type = 'f' AND e.mark IS NULL AND e.metacopy IS NULL AND e.size > 0 AND (l.kind = 'container' OR :all)"
    " ORDER BY l.partition, e.inode, e.id"
)
_DELETED_FILES = (
    "SELECT id, container, path, path_raw, sha256, partition, extents, size, offset FROM deleted_file"
    " WHERE coalesce(type, 'f') = 'f' ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a content was found."""

    container: int | None
    path: bytes | None
    sha256: str | None
    partition: int
    offset: int | None
    where: str


def compiled(path: Path) -> Any:
    """The rules of a file, or of all rule files in a directory. Raises UsageError where they cannot be used."""
    try:
        import yara_x  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UsageError("--yara needs yara-x; pip install 'ctrforensics[yara]' installs it") from error
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} has no rule files ({', '.join(SUFFIXES)})")
    compiler = yara_x.Compiler(relaxed_re_syntax=True)
    for file in files:
        try:
            compiler.new_namespace(file.name)
            compiler.add_include_dir(str(file.parent))
            compiler.add_source(file.read_text(encoding="utf-8", errors="replace"), origin=str(file))
        except OSError as error:
            raise UsageError(f"{file}: the YARA rules cannot be read ({error.strerror})") from error
        except yara_x.CompileError as error:
            raise UsageError(f"{file}: {' '.join(str(error).split())[:400]}") from error
    return compiler.build()


def yara_rule(rules: Any, scope: str) -> Rule[Scene]:
    """The rule that stands for all of the analyst's."""
    return rule(
        "yara",
        "high",
        "YARA rule of the analyst's own",
        why="A rule that the analyst gave with --yara matched; its own description says what that means.",
        check="ctrforensics extract, and the offsets of the patterns in the detail.",
        benign="As the rule's author says.",
        attack=(),
        look=lambda scene: _scan(scene, rules, scope),
    )


def _scan(scene: Scene, rules: Any, scope: str) -> Iterator[Finding]:
    import yara_x  # noqa: PLC0415 (an extra)

    scanner = yara_x.Scanner(rules)
    scanner.set_timeout(SECONDS)
    scanner.max_matches_per_pattern(MATCHES)
    for place, data in _contents(scene, scope):
        try:
            matching = scanner.scan(data).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            shown = place.path.decode("utf-8", "backslashreplace") if place.path is not None else None
            scene.gaps.append(Gap("YARA scan", f"{error}; {place.where}", place.partition, shown, place.offset))
            continue
        for match in matching:
            yield _finding(match, place)


def _contents(scene: Scene, scope: str) -> Iterator[tuple[_Place, bytes]]:
    if scope in ("changed", "all"):
        last = None
        for row in scene.db.execute(_LAYER_FILES, {"all": scope == "all"}).fetchall():
            container, path, raw, sha256, partition, inode, size, offset, layer, kind = row
            if (partition, inode) == last:
                continue  # another name of the same file
            last = partition, inode
            where = f"in the {kind} layer {layer}" + (f", the first {MOST} of {size} bytes" if size > MOST else "")
            place = _Place(container, path.encode() if raw is None else raw, sha256, partition, offset, where)
            yield place, scene.content(partition, inode, 0, min(size, MOST))
    if scope in ("recovered", "all"):
        for number, container, path, raw, sha256, partition, extents, size, offset in scene.db.execute(_DELETED_FILES).fetchall():
            name = raw if raw is not None else path.encode() if path is not None else None
            data = scene.content(partition, -number, 0, min(size or 0, MOST)) or _recovered(scene, partition, extents)
            yield _Place(container, name, sha256, partition, offset, "in a deleted file"), data


def _recovered(scene: Scene, partition: int, extents: str | None) -> bytes:
    """What is left of a deleted file's content that is not whole: [[logical, offset, length], ...], as the table has it."""
    filesystem = scene.filesystems.get(partition)
    if filesystem is None or extents is None:
        return b""
    content = bytearray()
    for logical, offset, length in json.loads(extents):
        if not 0 <= logical < MOST or length <= 0:
            continue
        content.extend(bytes(max(0, logical - len(content))))
        try:
            content[logical:] = (
                filesystem.source.read(offset, min(length, MOST - logical)) if offset is not None else bytes(length)
            )
        except (FormatError, EvidenceError):
            break
    return bytes(content[:MOST])


def _finding(match: Any, place: _Place) -> Finding:
    metadata = {str(key): value for key, value in match.metadata}
    severity = str(metadata.get("severity", "medium")).lower()
    hits = [f"{pattern.identifier} at {', '.join(str(m.offset) for m in list(pattern.matches)[:SHOWN])}"
            for pattern in match.patterns if list(pattern.matches)]  # fmt: skip
    told = [str(metadata["description"])] if "description" in metadata else []
    told += [f"tags {', '.join(match.tags)}"] if match.tags else []
    told += [f"patterns {'; '.join(hits[:20])}"] if hits else []
    return Finding(
        severity if severity in SEVERITIES else "medium", f"YARA rule {match.identifier} of {match.namespace}",
        "; ".join([*told, place.where]), place.container, place.path, place.sha256, place.partition, place.offset,
    )  # fmt: skip
