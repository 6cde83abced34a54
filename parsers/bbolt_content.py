"""Which live bucket an old page of a bbolt file is an older state of, as far as its content tells.

A live bucket and an older state of it have most of their keys in common, with the same values, or, where they are buckets,
with the same root page and sequence. What is common to two buckets tells less than what only one has.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
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
    """Which live buckets have an element, by the element's hash. Buckets are numbered in the order of the walk, the root is 0.

    parents, names, lengths: of the buckets, by number: the one that it is in, where in the file its name stands, its bytes.
    """

    hashes: NDArray[np.int64]
    buckets: NDArray[np.uint32]
    parents: array[int]
    names: array[int]
    lengths: array[int]

    def holders(self, elements: Sequence[int]) -> Iterator[set[int]]:
        """Of each element the buckets that have it, none where too many do."""
        wanted = np.array(elements, np.int64)
        lows, highs = (self.hashes.searchsorted(wanted, side).tolist() for side in ("left", "right"))
        for low, high in zip(lows, highs, strict=True):
            yield set(self.buckets[low:high].tolist()) if 0 < high - low <= COMMON else set()

    def path(self, file: PageFile, number: int) -> Path:
        """A bucket's path: names of a hundred thousand buckets would take more than all else. FormatError as of the file."""
        path: list[bytes] = []
        while number:
            path.append(file.read(self.names[number], self.lengths[number]))
            number = self.parents[number]
        return tuple(reversed(path))


@dataclass(frozen=True, slots=True)
class Likeness:
    """The live bucket that a page is an older state of, and one that has all that the page has, perhaps by chance."""

    state: Path | None
    copy: Path | None


class Indexer:
    """Takes in every key of the live tree, in the order of a walk."""

    def __init__(self) -> None:
        self._hashes, self._buckets = array("q"), array("I")
        self._parents, self._names, self._lengths = array("I", [0]), array("Q", [0]), array("I", [0])
        self._trail: list[tuple[Path, int]] = [((), 0)]  # the buckets that the walk is in the middle of

    def add(self, key: Key) -> None:
        """One more key."""
        path, number = self._trail[-1]
        if path is not key.bucket:
            number = self._enter(key.bucket)
        if key.value is None:
            self._parents.append(number)
            self._names.append(key.offset)
            self._lengths.append(len(key.key))
        if key.root == 0:
            return
        self._hashes.append(hash((key.key, key.value)) if key.value is not None else hash((key.key, key.root, key.sequence)))
        self._buckets.append(number)

    def _enter(self, path: Path) -> int:
        """The number of the bucket at a path: the one that was named last, or one that holds it."""
        if len(path) > len(self._trail[-1][0]):
            self._trail.append((path, len(self._parents) - 1))
        while self._trail[-1][0] != path:
            self._trail.pop()
        return self._trail[-1][1]

    def index(self) -> Index:
        """What was taken in."""
        column = np.frombuffer(self._hashes, np.int64)
        order = np.argsort(column, kind="stable")
        buckets = np.frombuffer(self._buckets, np.uint32)[order]
        return Index(column[order], buckets, self._parents, self._names, self._lengths)


def likeness(file: PageFile, index: Index, page: Page) -> Likeness:
    """How an old leaf page compares with the live buckets."""
    votes: Counter[int] = Counter()
    all_votes: Counter[int] = Counter()
    unique: Counter[int] = Counter()
    elements: list[int] = []
    telling: list[bool] = []
    for flags, start, middle, stop in page.leaf:
        if not flags:
            elements.append(hash((page.data[start:middle], page.data[middle:stop])))
        elif stop - middle == file.layouts.bucket.size:
            elements.append(hash((page.data[start:middle], *file.layouts.bucket.unpack(page.data[middle:stop]))))
        else:
            continue
        telling.append(stop - middle >= TELLING)
    for holders, tells in zip(index.holders(elements), telling, strict=True):
        all_votes.update(holders)
        if tells:
            votes.update(holders)
            unique.update(holders if len(holders) == 1 else ())
    state = next(iter(unique)) if len(unique) == 1 else None
    if state is not None and (unique[state] < 2 or 3 * votes[state] <= 2 * sum(telling)):
        state = None
    copy = min((number for number, count in all_votes.items() if count == len(page.leaf)), default=None)
    paths = (index.path(file, number) if number is not None else None for number in (state, copy))
    return Likeness(*paths)
