"""The bounds of recovery: evidence may hold any number of things to try. Where a bound cuts something off, a gap says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from forensics.records import Gap

ARTEFACT = "recovery"

_T = TypeVar("_T")


@dataclass
class Limits:
    """What was cut off, each thing once."""

    gaps: list[Gap] = field(default_factory=list)

    def first(
        self, items: Iterable[_T], most: int, what: str, partition: int | None = None, path: str | None = None
    ) -> Iterator[_T]:
        """The first so many of some things, and a gap where there are more. what: their name, in the plural."""
        for number, item in enumerate(items):
            if number >= most:
                self.cut(f"more than {most} {what}: the rest was not looked at", partition, path)
                return
            yield item

    def cut(self, error: str, partition: int | None = None, path: str | None = None) -> None:
        """Something was left out."""
        gap = Gap(ARTEFACT, error, partition, path)
        if gap not in self.gaps:
            self.gaps.append(gap)
