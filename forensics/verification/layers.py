"""The layers: every entry's metadata, and whether a layer of a container image is what was unpacked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from forensics.filesystem import NO_TIME, Tree
from forensics.integrity import verify_layer
from forensics.left_out import layers_below
from forensics.stores.all import read_stores
from forensics.stores.reading import StoreReader
from forensics.text import readable
from forensics.verification.check import Check, Difference, Opened
from forensics.wh_marks import with_overrides
from parsers.errors import EvidenceError, FormatError
from parsers.id_map import from_text

MAX_TOLD = 1000  # differences of one check that are told one by one
_COLUMNS = (
    "type", "mode", "uid", "gid", "size", "mtime_ns", "atime_ns", "ctime_ns", "crtime_ns", "inode", "offset", "rdev", "target",
    "xattrs",
)  # fmt: skip


def check_entries(opened: Opened) -> Check:
    """Read every layer's directory again, and hold each entry's metadata, target, xattrs and place against the case."""
    db = opened.case.db
    facts, differences, left_out = 0, _Told(), 0
    layers = db.execute(
        "SELECT id, name, path, partition, directory, marks, owners, entries, first_entry FROM layer"
        " WHERE first_entry IS NOT NULL ORDER BY id"
    ).fetchall()
    opened.progress.stage("reading the layers again", len(layers), "layers")
    for number, name, path, partition, directory, marks, owners, entries, first in layers:
        opened.progress.advance(1)
        fs = opened.filesystems.get(partition)
        if directory is None or directory < 0:
            left_out += 1
            continue
        facts += entries
        try:
            if fs is None:
                raise EvidenceError(f"partition {partition} has no filesystem that can be read")
            tree = fs.tree(directory)
        except (FormatError, EvidenceError) as error:
            differences.add(Difference(f"layer {name}", f"{path} cannot be read: {error}"))
            continue
        tree = with_overrides(tree, from_text(owners) if owners else None) if marks == "fuse" else tree
        rows = _rows_of(opened, number, first, entries)
        for at, now in _entries(tree):
            recorded = rows.pop(at, None)
            where = f"{path}{readable(at) if at != b'/' else ''}"
            if recorded is None:
                differences.add(Difference(where, "is not in the case", now["offset"]))
            elif recorded != now:
                differences.add(Difference(where, _told(recorded, now), now["offset"]))
        for at, recorded in rows.items():
            differences.add(Difference(f"{path}{readable(at)}", "is not in the layer any more", recorded["offset"]))
    note = f"{left_out} removed layers: their files are among the deleted files" if left_out else None
    return Check("entries", facts, tuple(differences.each), differences.note(note))


class _Told:
    """Differences, as many as anybody reads; the others are counted."""

    def __init__(self) -> None:
        self.each: list[Difference] = []
        self._more = 0

    def add(self, difference: Difference) -> None:
        """One more."""
        if len(self.each) < MAX_TOLD:
            self.each.append(difference)
        else:
            self._more += 1

    def note(self, otherwise: str | None) -> str | None:
        """How many are not listed, before what else there is to say."""
        more = f"{self._more} more differ" if self._more else None
        return "; ".join(filter(None, (more, otherwise))) or None


def _rows_of(opened: Opened, layer: int, first: int, count: int) -> dict[bytes, dict[str, Any]]:
    """A layer's entries as the case has them, by raw path."""
    rows = {}
    found = opened.case.db.execute(
        "SELECT path, path_raw, type, mode, uid, gid, size, mtime_ns, atime_ns, ctime_ns, crtime_ns, inode, offset, rdev,"
        " target, target_raw, xattrs, private_xattrs, id FROM entry WHERE layer_id = ? AND id BETWEEN ? AND ?",
        (layer, first, first + count - 1),
    )
    far = {
        (entry, field): int(ns)
        for entry, field, ns in opened.case.db.execute(
            "SELECT entry_id, field, ns FROM far_time WHERE entry_id BETWEEN ? AND ?", (first, first + count - 1)
        )
    }
    for path, raw, *plain, target, target_raw, shown, private, number in found:
        row = dict(zip(_COLUMNS, plain, strict=False))
        if far:
            row |= {
                name: far[number, name] for name in ("mtime_ns", "atime_ns", "ctime_ns", "crtime_ns") if (number, name) in far
            }
        row["target"] = target_raw if target_raw is not None else None if target is None else target.encode()
        row["xattrs"] = _decoded(shown) | _decoded(private)
        rows[path.encode() if raw is None else raw] = row
    return rows


def _decoded(text: str | None) -> dict[str, str]:
    return dict(json.loads(text)) if text else {}


def _entries(tree: Tree) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """A layer's entries as they are read now, with their paths from its top."""
    paths: list[bytes] = [b""]
    columns = [getattr(tree, name).tolist() for name in _COLUMNS[1:-3]]
    kinds = tree.type.tobytes().decode("ascii")
    for row, (parent, values) in enumerate(zip(tree.parent.tolist(), zip(*columns, strict=True), strict=True)):
        if row:
            paths.append(paths[parent] + b"/" + tree.names[row])
        now = dict(zip(_COLUMNS[1:-3], values, strict=True))
        for name in ("mtime_ns", "atime_ns", "ctime_ns", "crtime_ns"):
            if now[name] == NO_TIME:
                now[name] = tree.far_times.get((row, name))
        device = kinds[row] in "cb"
        yield paths[row] or b"/", {
            "type": kinds[row], **now, "offset": None if now["offset"] < 0 else now["offset"],
            "rdev": f"{tree.rdev_major[row]}:{tree.rdev_minor[row]}" if device else None, "target": tree.targets.get(row),
            "xattrs": {readable(n): base64.b64encode(v).decode("ascii") for n, v in tree.xattrs.get(row, {}).items()},
        }  # fmt: skip


def _told(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} is {now[name]}, not {recorded[name]}" for name in _COLUMNS if recorded[name] != now[name])


def check_integrity(opened: Opened) -> Check:
    """Hold layers of container images against their archives once more, where the carve did."""
    recorded = {
        (store, key): (name, state)
        for store, key, name, state in opened.case.db.execute(
            "SELECT s.key, l.key, l.name, l.integrity FROM layer l JOIN store s ON s.id = l.store_id"
            " WHERE l.integrity IS NOT NULL"
        )
    }
    if not recorded:
        return Check("layer integrity", 0, note="layers were not held against their archives; carve --verify-layers does it")
    differences, altered = [], []
    opened.progress.stage("holding layers against their archives", len(recorded), "layers")
    left = dict(recorded)
    for contents in read_stores(opened.survey, StoreReader()):
        by_key = {each.key: each for each in contents.layers}
        for layer in contents.layers:
            name, state = left.pop((contents.store.key, layer.key), (None, None))
            if name is None:
                continue
            found = verify_layer(layer, opened.filesystems, layers_below(layer, by_key)).state
            opened.progress.advance(1)
            if found != state:
                differences.append(Difference(f"layer {name}", f"is {found}, not {state} as recorded"))
            elif found == "altered":
                altered.append(name[:12])
    differences += (Difference(f"layer {name}", "is in no store any more") for name, _ in left.values())
    note = f"altered, as recorded: {', '.join(sorted(altered))}" if altered else None
    return Check("layer integrity", len(recorded), tuple(differences), note)
