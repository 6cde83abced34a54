"""Which contents get a SHA-256, gathered layer by layer and hashed once each at the end, filesystem by filesystem.

A content is an inode: names that are hard links of one file, and layers that share files, cost one reading.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.case.writer import CaseWriter
from forensics.filesystem import Filesystem, Tree
from forensics.hashing import hash_files
from forensics.progress import Progress
from forensics.records import Gap

KINDS = {"all": ("image", "init", "container", "orphan"), "changed": ("container", "orphan"), "none": ()}


@dataclass(frozen=True, slots=True)
class _Contents:
    """A layer's regular files: row by row for all of the layer, `wanted` where they are to be hashed."""

    first_entry: int
    partition: int
    inode: NDArray[np.int64]
    size: NDArray[np.int64]
    wanted: NDArray[np.bool_]


class ContentPlan:
    """The contents that are to be hashed. choice: all, changed or none."""

    def __init__(self, choice: str) -> None:
        self._kinds = KINDS[choice]
        self._layers: list[_Contents] = []

    def add(self, kind: str, partition: int, first_entry: int, tree: Tree, metacopy: Iterable[int]) -> None:
        """A layer's files; `metacopy` rows have no bytes of their own. Layers come in the order of their first entries."""
        if not self._kinds:
            return
        wanted = (tree.type == ord("f")) if kind in self._kinds else np.zeros(len(tree), bool)
        wanted[list(metacopy)] = False
        wanted[tree.inode < 0] = False  # deleted files are hashed where they are found
        self._layers.append(_Contents(first_entry, partition, tree.inode, tree.size, wanted))

    def need(self, entries: Iterable[int]) -> None:
        """Entries whose bytes a metacopy file above them shows; hashed if that file is."""
        starts = [layer.first_entry for layer in self._layers]
        for entry in entries:
            layer = self._layers[bisect_right(starts, entry) - 1] if starts else None
            if layer is not None:
                row = entry - layer.first_entry
                layer.wanted[row] = layer.inode[row] > 0

    def hash_all(self, case: CaseWriter, filesystems: Mapping[int, Filesystem], progress: Progress) -> None:
        """Hash what was gathered and write it down; a content that cannot be read is a gap."""
        files = {number: self._files(number) for number in sorted({layer.partition for layer in self._layers})}
        total = sum(int(size.sum()) for _, size in files.values())
        if not total:
            return
        progress.stage("hashing files", total, "B")
        for number, (inode, size) in files.items():
            hashed = list(hash_files(filesystems[number], zip(inode.tolist(), size.tolist(), strict=True), progress))
            case.contents(number, hashed)
            failed = sorted((each for each in hashed if each.error is not None), key=lambda each: each.inode)
            case.gaps(Gap("file content", each.error or "", number, f"inode {each.inode}", each.bad_offset) for each in failed)

    def _files(self, partition: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The inode numbers to hash in a partition, each once, and their sizes."""
        layers = [layer for layer in self._layers if layer.partition == partition]
        inode = np.concatenate([layer.inode[layer.wanted] for layer in layers])
        size = np.concatenate([layer.size[layer.wanted] for layer in layers])
        inode, first = np.unique(inode, return_index=True)
        return inode, size[first]
