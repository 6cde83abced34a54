"""Layers into the case file: each one's entries, what it changes in the view below it, and what `docker diff` would say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forensics.case.entries import LayerEntries
from forensics.case.writer import CaseWriter
from forensics.changes import docker_changes, view_changes
from forensics.content_plan import ContentPlan
from forensics.filesystem import Filesystem, Tree
from forensics.layers import NumberedLayer
from forensics.overlay import Delta, LayerTree, Merger
from forensics.progress import Progress
from forensics.records import Gap, Layer
from forensics.text import readable
from forensics.wh_marks import with_overrides
from parsers.errors import EvidenceError, FormatError


class LayerContent:
    """Writes layers into a case, a store at a time.

    present: the numbers of the layers that could be read. changes: what `docker diff` would say of each container layer, by
    number.
    """

    def __init__(self, case: CaseWriter, filesystems: Mapping[int, Filesystem], plan: ContentPlan, progress: Progress) -> None:
        self._case, self._filesystems, self._plan, self._progress = case, filesystems, plan, progress
        self._next_entry = self._next_placement = 1
        self._layers: dict[int, NumberedLayer] = {}
        self.present: set[int] = set()
        self.changes: dict[int, Sequence[tuple[str, bytes]]] = {}

    def write(self, store_id: int, layers: Sequence[NumberedLayer]) -> None:
        """Write a store's layers, which come depth first, each after its lower one."""
        merger = Merger(first_placement=self._next_placement)
        self._layers = {numbered.number: numbered for numbered in layers}
        keys = {numbered.number: numbered.layer.key for numbered in layers}
        for numbered in layers:
            tree = self._read(numbered.layer)
            if tree is None:
                self._case.layer(store_id, numbered, None, 0)
            else:
                # a missing layer hides nothing: the view goes on with the next lower one that is there
                lower = next((keys[number] for number in numbered.chain[1:] if number in self.present), None)
                layer_tree = LayerTree(numbered.layer.key, lower, _marks(numbered.layer), tree, self._next_entry)
                self._write(store_id, numbered, layer_tree, merger)
            self._progress.advance(1)
        self._next_placement = merger.next_placement

    def _read(self, layer: Layer) -> Tree | None:
        fs = self._filesystems.get(layer.partition)
        if layer.directory is None or fs is None:
            return None
        try:
            tree = fs.tree(layer.directory)
        except (FormatError, EvidenceError) as error:
            self._case.gaps([Gap("layer directory", str(error), layer.partition, layer.path)])
            return None
        return with_overrides(tree, layer.owners) if layer.marks == "fuse" else tree

    def _write(self, store_id: int, numbered: NumberedLayer, layer_tree: LayerTree, merger: Merger) -> None:
        first, tree = layer_tree.first_entry, layer_tree.tree
        delta = merger.add(layer_tree)
        metacopy = frozenset(entry - first for entry, _ in delta.data if 0 <= entry - first < len(tree))
        self._case.layer(store_id, numbered, first, len(tree))
        self._case.entries(LayerEntries(
            numbered.number, first, tree, layer_tree.paths, layer_tree.marks,
            {entry - first: reason for entry, reason in delta.invisible}, metacopy,
            frozenset(entry - first for entry in delta.merged),
        ))  # fmt: skip
        self._case.delta(numbered.number, delta)
        self._plan.add(numbered.layer.kind, numbered.layer.partition, first, tree, metacopy)
        self._plan.need(data for _, data in delta.data if data is not None)
        self._report(numbered, layer_tree, delta)
        self.present.add(numbered.number)
        self._next_entry += len(tree)
        if numbered.layer.kind == "container":
            changes = self._changes(numbered, merger.chain, delta)
            if changes is not None:
                self.changes[numbered.number] = changes

    def _changes(self, numbered: NumberedLayer, chain: Sequence[LayerTree], delta: Delta) -> Sequence[tuple[str, bytes]] | None:
        """What `docker diff` would say; None where it cannot be told, as without all layers below. chain: its own, topmost
        first."""
        layer = numbered.layer
        if layer.compared_with is None:
            whole = not numbered.dangling and all(number in self.present for number in numbered.chain[1:])
            return docker_changes(chain, delta) if layer.stacked and whole else None
        base = next((each for each in self._layers.values() if each.layer.key == layer.compared_with), None)
        if base is None:
            return None
        known = {each.key: each for each in chain}
        first = self._next_entry
        old: list[LayerTree] = []
        for below in (self._layers[number].layer for number in reversed(base.chain)):
            found = known.get(below.key)
            if found is None:
                tree = self._read(below)
                if tree is None:
                    return None
                found = LayerTree(below.key, old[-1].key if old else None, _marks(below), tree, first)
                first += len(tree)
            old.append(found)
        return view_changes(chain, old[::-1])

    def _is_whole(self, numbered: NumberedLayer) -> bool:
        """Whether all below a layer is there. Only a container image's layer stands on none: else what was below is not known."""
        lowest = self._layers[numbered.chain[-1]].layer
        below = all(number in self.present for number in numbered.chain[1:])
        return below and not numbered.dangling and lowest.kind == "image" and lowest.origin == "allocated"

    def _report(self, numbered: NumberedLayer, layer_tree: LayerTree, delta: Delta) -> None:
        """What the merge met: what cannot be read is a gap besides."""
        layer, whole = numbered.layer, self._is_whole(numbered)
        for problem in delta.problems:
            if problem.kind == "stale whiteout" and not whole:
                continue  # it may well hide something in a layer that is not there
            row = problem.entry - layer_tree.first_entry
            own = 0 <= row < len(layer_tree.tree)
            self._case.anomaly(problem.entry, problem.kind, problem.text)
            if problem.kind in ("refused", "limit"):
                path = layer.path + (readable(layer_tree.paths[row]) if own else "")
                self._case.gaps([Gap("merged view", problem.text, layer.partition, path)])


def _marks(layer: Layer) -> str:
    return layer.marks if layer.stacked else "none"
