"""Which live bucket an old page of a bbolt file is an older state of, as far as its content tells.

A live bucket and an older state of it have most of their keys in common, with the same values, or, where they are buckets,
with the same root page and sequence. What is common to two buckets tells less than what only one has.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parsers.bbolt_layouts import PageFile
from parsers.bbolt_pages import Page
from parsers.bbolt_tree import Key, Path

TELLING = 8  # bytes of a value; shorter ones are alike by chance
COMMON = 16  # an element that stands in more live buckets tells nothing of where a page belongs


@dataclass(frozen=True)
class Index:
    """Which live buckets have an element, by the element's hash. paths: of the buckets, by number."""

    hashes: NDArray[np.int64]
    buckets: NDArray[np.uint32]
    paths: list[Path]

    def holders(self, element: int) -> set[Path]:
        """The buckets that have an element, none where too many do."""
        low, high = (int(np.searchsorted(self.hashes, element, side)) for side in ("left", "right"))
        return {self.paths[number] for number in self.buckets[low:high]} if high - low <= COMMON else set()


@dataclass(frozen=True, slots=True)
class Likeness:
    """The live bucket that a page is an older state of, and one that has all that the page has, perhaps by chance."""

    state: Path | None
    copy: Path | None


class Indexer:
    """Takes in every key of the live tree, in the order of a walk."""

    def __init__(self) -> None:
        self._hashes, self._buckets = array("q"), array("I")
        self._paths: list[Path] = []
        self._numbers: dict[Path, int] = {}

    def add(self, key: Key) -> None:
        """One more key."""
        if key.root == 0:
            return
        number = self._numbers.setdefault(key.bucket, len(self._paths))
        if number == len(self._paths):
            self._paths.append(key.bucket)
        self._hashes.append(hash((key.key, key.value)) if key.value is not None else hash((key.key, key.root, key.sequence)))
        self._buckets.append(number)

    def index(self) -> Index:
        """What was taken in."""
        column = np.frombuffer(self._hashes, np.int64)
        order = np.argsort(column, kind="stable")
        return Index(column[order], np.frombuffer(self._buckets, np.uint32)[order], self._paths)


def likeness(file: PageFile, index: Index, page: Page) -> Likeness:
    """How an old leaf page compares with the live buckets."""
    votes: Counter[Path] = Counter()
    all_votes: Counter[Path] = Counter()
    unique: Counter[Path] = Counter()
    elements = 0
    for flags, start, middle, stop in page.leaf:
        if not flags:
            element = hash((page.data[start:middle], page.data[middle:stop]))
        elif stop - middle == file.layouts.bucket.size:
            element = hash((page.data[start:middle], *file.layouts.bucket.unpack(page.data[middle:stop])))
        else:
            continue
        holders = index.holders(element)
        all_votes.update(holders)
        if stop - middle >= TELLING:
            elements += 1
            votes.update(holders)
            unique.update(holders if len(holders) == 1 else ())
    state = next(iter(unique)) if len(unique) == 1 else None
    if state is not None and (unique[state] < 2 or 3 * votes[state] <= 2 * elements):
        state = None
    copies = sorted(path for path, count in all_votes.items() if count == len(page.leaf))
    return Likeness(state, copies[0] if copies else None)
