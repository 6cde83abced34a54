"""What each container changed, as a tree that stays readable: large directories are cut, and say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reports.scope import Scope, read
from reports.sections.inventory import Container

MAX_READ = 300_000  # changes of one container that are looked at
MAX_LINES = 12_000  # of all trees in a report together
MAX_TREE = 2_000  # lines of one tree
LEAST_TREE = 60
MAX_SIBLINGS = 150  # entries of one directory
MAX_DEPTH = 40  # directories within each other; a deeper path's end is one name


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs. kind: A, C, D. type, mode, size, mtime_ns, sha256: of what is there now, or of what was deleted.

    severity: of a finding that points to it. suspicious: one points to it or to something below it. left_out: changes below it
    that are not listed.
    """

    name: str
    path: str
    kind: str | None
    type: str | None
    mode: int | None
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    severity: str | None
    suspicious: bool
    left_out: int
    children: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A container's changes. listed: how many are in the tree. left_out: how many are not."""

    container_number: int
    changes: tuple[Change, ...]
    listed: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str | None
    path: str
    type: str | None
    mode: int | None
    size: int | None
    mtime_ns: int | None
    sha256: str | None


_UNCHANGED = _Row(None, "", None, None, None, None, None)


@dataclass(slots=True)
class _Node:
    name: str
    path: str
    row: _Row | None = None
    below: int = 0
    children: dict[str, _Node] = field(default_factory=dict)
    suspicious: bool = False
    shown: list[_Node] = field(default_factory=list)


def read_trees(scope: Scope, containers: Iterable[Container]) -> tuple[Tree, ...]:
    """A tree for each container that changed something."""
    changed = [container for container in containers if container.changes]
    lines = max(LEAST_TREE, min(MAX_TREE, MAX_LINES // max(1, len(changed))))
    return tuple(_tree(scope, container, lines) for container in changed)


def _tree(scope: Scope, container: Container, lines: int) -> Tree:
    severities = dict(
        scope.db.execute(
            "SELECT path, severity FROM findings WHERE container_number = ? AND path IS NOT NULL"
            " ORDER BY CASE severity WHEN 'high' THEN 3 WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END",
            (container.number,),
        ).fetchall()
    )
    root = _Node("", "")
    for row in _rows(scope, container):
        _insert(root, row, row.path in severities)
    listed = _choose(root, lines)
    return Tree(
        container.number, tuple(_change(node, severities) for node in root.shown), listed, container.changes - listed
    )  # fmt: skip


def _rows(scope: Scope, container: Container) -> tuple[_Row, ...]:
    """The changes with what the container's own layer, or the one that a deletion hides, says of each path."""
    now = read(
        scope,
        _Row,
        "FROM changes k JOIN containers c ON c.container_number = k.container_number"
        " LEFT JOIN container o ON o.id = c.container_number"
        " LEFT JOIN layer_files f ON f.layer_number = o.layer_id AND f.path = k.path AND f.mark IS NULL AND k.kind <> 'D'"
        f" WHERE k.container_number = ? GROUP BY k.kind, k.path ORDER BY k.path, k.kind LIMIT {MAX_READ}",
        (container.number,),
        {"kind": "k.kind", "path": "k.path", **{name: f"f.{name}" for name in ("type", "mode", "size", "mtime_ns", "sha256")}},
    )
    if not container.deleted:
        return now
    gone = {
        row.path: row
        for row in read(
            scope,
            _Row,
            "FROM hidden_files WHERE container_number = ? AND reason IN ('whiteout', 'opaque') ORDER BY path LIMIT 100000",
            (container.number,),
            {"kind": "'D'"},
        )
    }
    return tuple(gone.get(row.path, row) if row.kind == "D" else row for row in now)


def _insert(root: _Node, row: _Row, suspicious: bool) -> None:
    parts = row.path.strip("/").split("/", MAX_DEPTH - 1)
    node, path = root, ""
    trail = [root]
    for part in parts:
        path = f"{path}/{part}"
        node = node.children.setdefault(part, _Node(part, path))
        trail.append(node)
    if node.row is None:
        for above in trail[:-1]:
            above.below += 1
    node.row = row
    if suspicious:
        for above in trail:
            above.suspicious = True


def _choose(root: _Node, lines: int) -> int:
    """Mark which nodes are shown: level by level, what a finding points to first. The answer is how many changes are."""
    waiting, listed = deque([root]), 0
    while waiting:
        node = waiting.popleft()
        children = sorted(node.children.values(), key=lambda child: (not child.suspicious, child.name))
        some = children[: max(0, min(MAX_SIBLINGS, lines))]
        some += [child for child in children[len(some) :] if child.suspicious]
        lines -= len(some)
        listed += sum(child.row is not None for child in some)
        node.shown = sorted(some, key=lambda child: child.name)
        waiting.extend(child for child in node.shown if child.children)
    return listed


def _change(node: _Node, severities: Mapping[str, str]) -> Change:
    names = [node.name]
    while len(node.shown) == 1 == len(node.children) and node.shown[0].children and _alike(node, node.shown[0], severities):
        node = node.shown[0]
        names.append(node.name)
    row = node.row or _UNCHANGED
    children = tuple(_change(child, severities) for child in node.shown)
    left_out = node.below - sum(child.below + (child.row is not None) for child in node.shown)
    return Change(
        "/".join(names), node.path, row.kind, row.type, row.mode, row.size, row.mtime_ns, row.sha256, severities.get(node.path),
        node.suspicious, left_out, children,
    )  # fmt: skip


def _alike(above: _Node, below: _Node, severities: Mapping[str, str]) -> bool:
    """Whether two directories are one line: both changed only by what is in them."""
    kinds = {node.row.kind if node.row else None for node in (above, below)}
    return kinds <= {"C", None} and above.path not in severities and below.path not in severities
