"""Which live bucket an old page of a bbolt file is an older state of, as far as its content tells.

A live bucket and an older state of it have most of their keys in common, with the same values, or, where they are buckets,
with the same root page and sequence. What is common to two buckets tells less than what only one has.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parsers.bbolt_layouts import PageFile
from parsers.bbolt_pages import Page
from parsers.bbolt_tree import Key, Path

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
    """The live buckets that share most elements with a page, and how many. certain: the page is of the one that is named."""

    best: tuple[Path, ...]
    shared: int
    certain: bool


def index_keys(keys: Iterator[Key]) -> Index:
    """Takes in every key of the live tree."""
    hashes, buckets = array("q"), array("I")
    paths: list[Path] = []
    numbers: dict[Path, int] = {}
    for key in keys:
        if key.root == 0:
            continue
        number = numbers.setdefault(key.bucket, len(paths))
        if number == len(paths):
            paths.append(key.bucket)
        hashes.append(hash((key.key, key.value)) if key.value is not None else hash((key.key, key.root, key.sequence)))
        buckets.append(number)
    column = np.frombuffer(hashes, np.int64)
    order = np.argsort(column, kind="stable")
    return Index(column[order], np.frombuffer(buckets, np.uint32)[order], paths)


def likeness(file: PageFile, index: Index, page: Page) -> Likeness:
    """How an old leaf page compares with the live buckets."""
    votes: Counter[Path] = Counter()
    unique: Counter[Path] = Counter()
    elements = 0
    for flags, start, middle, stop in page.leaf:
        if not flags:
            element = hash((page.data[start:middle], page.data[middle:stop]))
        elif stop - middle == file.layouts.bucket.size:
            element = hash((page.data[start:middle], *file.layouts.bucket.unpack(page.data[middle:stop])))
        else:
            continue
        elements += 1
        holders = index.holders(element)
        votes.update(holders)
        if len(holders) == 1:
            unique.update(holders)
    shared = max(votes.values(), default=0)
    best = tuple(sorted(path for path, count in votes.items() if count == shared))
    own = len(unique) == 1 and len(best) == 1 and unique[best[0]] >= 2 and 3 * shared > 2 * elements
    return Likeness(best, shared, own or (shared > 0 and shared == len(page.leaf)))
