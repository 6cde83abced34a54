"""A progress bar on stderr, where a person watches it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forensics.progress import Progress, Silent
from forensics.text import harmless

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import Task, TaskID

REDRAW = 0.1  # seconds between two updates: a hot loop tells of every unit


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress with rate and time left if stderr is a terminal, else silence; the bars are gone when the block ends."""
    if not sys.stderr.isatty():
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    with RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar for each stage."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._unit = ""
        self._waiting = 0
        self._drawn = 0.0

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a new bar; the one before is full."""
        if self._task is not None:
            self._draw(self._task)
            self._bars.refresh()
            self._bars.remove_task(self._task)
        self._unit, self._waiting, self._drawn = unit, 0, time.monotonic()
        self._task = self._bars.add_task(harmless(name), total=total, done="")

    def advance(self, units: int) -> None:
        """Move the bar, not more often than it can be seen."""
        self._waiting += units
        if self._task is not None and time.monotonic() - self._drawn >= REDRAW:
            self._draw(self._task)

    def _draw(self, number: TaskID) -> None:
        """Let a bar tell all that is known."""
        self._bars.update(number, advance=self._waiting)
        self._waiting, self._drawn = 0, time.monotonic()
        task = next(t for t in self._bars.tasks if t.id == number)
        if task.completed:
            self._bars.update(number, done=_done(task, self._unit))


def _done(task: Task, unit: str) -> str:
    """How much is done, and how fast it goes."""
    speed = task.speed or 0
    if unit != "B":
        return f"{task.completed:,.0f} {unit}, {speed:,.0f}/s"
    return f"{task.completed / 1e6:,.0f} MB, {speed / 1e6:,.0f} MB/s"
