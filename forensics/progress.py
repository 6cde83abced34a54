"""How a long job says how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of the stages of a job and of the work done in each."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """A new stage begins; total: how many units it has, None where nobody knows yet."""
        ...

    def advance(self, units: int) -> None:
        """So many more units of the stage are done."""
        ...


class Silent:
    """Hears everything and says nothing."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Say nothing."""

    def advance(self, units: int) -> None:
        """Say nothing."""
