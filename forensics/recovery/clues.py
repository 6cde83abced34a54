"""What one source still knows of something that was removed, and how sure it is.

The rules of `confidence` (README, `Recovered records`): certain, an engine's own file or file name tells it, and it names itself;
probable, a whole record that names itself, but nothing tells whose file it stood in; possible, a part of a record, one put
together from blocks that are not neighbours, or a mere reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from forensics.records import Container, ContainerImage

CERTAIN, PROBABLE, POSSIBLE = "certain", "probable", "possible"
RANK = {CERTAIN: 0, PROBABLE: 1, POSSIBLE: 2}

ENVIRONMENT = frozenset(("env",))
CREATED = frozenset(("created_ns",))
STARTED = frozenset(("started_ns",))
ENDED = frozenset(("finished_ns",))
BY_DIRECTORY = frozenset(("created_ns", "log_driver"))

MENTIONS = frozenset(("cni", "kubelet", "record", "unit", "log"))
"""Kinds of clues that are mere mentions of an id by others: any other kind that names the same id makes them probable."""

Recovered = TypeVar("Recovered", Container, ContainerImage)


@dataclass(frozen=True, slots=True)
class Clue(Generic[Recovered]):
    """One source's record; what it does not tell is None there. Its `source` says where it was read, and how.

    kind: database, file, text (carved), reference, or one of MENTIONS: two of different kinds do not come from one and the same
    write.
    store: the key of the store that it belongs to, or what is known of it (see homes). weak: columns that any other source tells
    better: Docker's spec has an environment to which the engine added, libpod's config one to which it is yet to add;
    containers/storage's time of creation is that of the layer, libpod's exit codes have whole seconds, and a directory's birth
    comes some milliseconds later or, of a shim's, before. written_ns: when it was written: the newer of two that tell no time
    of their own is taken.
    """

    record: Recovered
    confidence: str
    kind: str
    store: str | None = None
    weak: frozenset[str] = frozenset()
    written_ns: int | None = None
