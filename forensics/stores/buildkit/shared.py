"""Which records of the build cache container images have as layers, too: `Shared` of `docker builder du`.

A record's stack of diff ids is its parent's and its own; that of a merged one (COPY --link) is its parents' on each other. An
image has it where the stack is the bottom of the image's. With a graph driver, snapshots.db tells the layer that a record became.

Source: buildkit v0.8 to v0.25, cache/manager.go (DiskUsage, markShared), cache/refs.go (layerDigestChain); moby v20.10 to v28,
builder/builder-next/imagerefchecker.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from parsers.buildkit import CacheRecord, GraphSnapshot
from parsers.docker_layer import MAX_LOWER, chain_id

MAX_MERGED = 1 << 20  # layers put on others for merged records, all together; no cache has a hundredth of them


@dataclass(frozen=True, slots=True)
class _Stack:
    """Layers on each other, by the top one. chain_id: of all of them."""

    below: _Stack | None
    diff_id: str
    chain_id: str
    height: int

    def diff_ids(self) -> list[str]:
        """Bottom first."""
        found: list[str] = []
        here: _Stack | None = self
        while here is not None:
            found.append(here.diff_id)
            here = here.below
        return found[::-1]


def shared_records(
    records: Sequence[CacheRecord], snapshots: Mapping[str, GraphSnapshot], chains: Collection[str]
) -> frozenset[str]:
    """The ids of records that images have, and of all that these build on. chains: the chain ids of all images' layers."""
    by_id = {record.id: record for record in records}
    stacks = dict(_stacks(by_id))
    pending = []
    for record in records:
        snapshot = snapshots.get(record.snapshot)
        stack = stacks.get(record.id)
        told = (
            record.chain_id,
            snapshot.chain_id if snapshot is not None else None,
            stack.chain_id if stack is not None else None,
        )
        if any(chain in chains for chain in told if chain is not None):
            pending.append(record.id)
    found: set[str] = set()
    while pending:
        record_id = pending.pop()
        if record_id in by_id and record_id not in found:
            found.add(record_id)
            pending += by_id[record_id].parents
    return frozenset(found)


def _stacks(by_id: Mapping[str, CacheRecord]) -> Iterator[tuple[str, _Stack]]:
    """Records' stacks, as far as they are known; those of a circle of parents are not, nor what is merged beyond MAX_MERGED."""
    above: dict[str, list[str]] = {}
    waiting = {}
    for record in by_id.values():
        waiting[record.id] = len(record.parents)
        for parent in record.parents:
            above.setdefault(parent, []).append(record.id)
    ready = [record_id for record_id, count in waiting.items() if not count]
    known: dict[str, _Stack] = {}
    room = MAX_MERGED
    while ready:
        record = by_id[ready.pop()]
        parents = [known.get(parent) for parent in record.parents]
        room -= min(sum(parent.height for parent in parents[1:] if parent is not None), MAX_LOWER)
        stack = _stack(record, parents) if room >= 0 or len(parents) < 2 else None
        if stack is not None:
            known[record.id] = stack
            yield record.id, stack
        for each in above.get(record.id, ()):
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)


def _stack(record: CacheRecord, parents: Sequence[_Stack | None]) -> _Stack | None:
    stack: _Stack | None = None
    for number, parent in enumerate(parents):
        if parent is None or (number and stack is None):
            return None
        stack = parent if not number else _on(stack, parent.diff_ids())
    if record.merged:
        return stack
    return _on(stack, [record.diff_id]) if record.diff_id is not None else None


def _on(stack: _Stack | None, diff_ids: Sequence[str]) -> _Stack | None:
    """The same stack with these layers on it; None where that is higher than any that can be mounted."""
    for diff_id in diff_ids:
        if stack is not None and stack.height >= MAX_LOWER:
            return None
        below = stack.chain_id if stack is not None else None
        stack = _Stack(stack, diff_id, chain_id(below, diff_id), stack.height + 1 if stack is not None else 1)
    return stack
