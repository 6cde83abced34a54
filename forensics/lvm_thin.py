"""LVM2's thin volumes and snapshots: volumes of chunks that stand wherever there was room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.mapped import read_chunks
from forensics.source import Source
from parsers import dm_thin
from parsers.errors import FormatError

MAX_NODES = 1 << 20
MAX_EXCEPTIONS = 1 << 26


@dataclass(frozen=True, slots=True)
class ThinVolume:
    """A thin volume. origin: what it shows where it has no chunk of its own, zeros where that is None."""

    name: str
    size: int
    chunk: int
    data: Source
    keys: NDArray[np.uint64]
    blocks: NDArray[np.uint64]
    origin: Source | None

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        return _read(self, offset, size)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image, None where the volume has no chunk."""
        return _locate(self, offset)

    def place(self, number: int) -> tuple[Source, int] | None:
        """Where a chunk of the volume stands."""
        index = int(np.searchsorted(self.keys, np.uint64(number)))
        if index < len(self.keys) and int(self.keys[index]) == number:
            return self.data, int(self.blocks[index]) * self.chunk
        return None if self.origin is None else (self.origin, number * self.chunk)


@dataclass(frozen=True, slots=True)
class SnapshotVolume:
    """A snapshot: the origin, but for the chunks that were copied before they changed."""

    name: str
    size: int
    chunk: int
    origin: Source
    store: Source
    copied: dict[int, int]

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        return _read(self, offset, size)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image."""
        return _locate(self, offset)

    def place(self, number: int) -> tuple[Source, int] | None:
        """Where a chunk of the volume stands."""
        new = self.copied.get(number)
        return (self.origin, number * self.chunk) if new is None else (self.store, new * self.chunk)


def _read(volume: ThinVolume | SnapshotVolume, offset: int, size: int) -> bytes:
    def part(number: int, inside: int, length: int) -> bytes:
        place = volume.place(number)
        if place is None:
            return bytes(length)
        return place[0].read(place[1] + inside, length).ljust(length, b"\0")  # an origin may be shorter than what stands on it

    return read_chunks(volume.size, volume.chunk, offset, size, part)


def _locate(volume: ThinVolume | SnapshotVolume, offset: int) -> int | None:
    if not 0 <= offset < volume.size:
        return None
    number, inside = divmod(offset, volume.chunk)
    place = volume.place(number)
    return None if place is None else place[0].locate(place[1] + inside)


def open_thin(name: str, size: int, metadata: Source, data: Source, device: int, origin: Source | None) -> ThinVolume:
    """The thin volume with this device id, by the pool's metadata."""
    pool = dm_thin.parse_thin_pool(metadata.read(0, dm_thin.BLOCK))
    devices, roots = _leaves(metadata, pool.root)
    found = np.flatnonzero(devices == np.uint64(device))
    if not found.size:
        raise FormatError(f"the thin pool's metadata has no device {device}", name)
    keys, values = _leaves(metadata, int(roots[found[0]]))
    return ThinVolume(name, size, pool.chunk, data, keys, values >> np.uint64(24), origin)


def _leaves(metadata: Source, root: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """All keys and values below a node, in the order of the keys."""
    keys, values = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    seen: set[int] = set()
    pending = [root]
    while pending:
        block = pending.pop()
        if block in seen or len(seen) >= MAX_NODES:
            raise FormatError("the thin pool's tree leads in a circle", metadata.name, block * dm_thin.BLOCK)
        seen.add(block)
        node = dm_thin.parse_node(metadata.read(block * dm_thin.BLOCK, dm_thin.BLOCK), block)
        if node.leaf:
            keys.append(node.keys)
            values.append(node.values)
        else:
            pending += node.values.tolist()[::-1]
    joined = np.concatenate(keys)
    if (np.diff(joined.astype(np.int64)) <= 0).any():
        raise FormatError("the thin pool's tree is in no order", metadata.name)
    return joined, np.concatenate(values)


def open_snapshot(name: str, size: int, origin: Source, store: Source) -> SnapshotVolume:
    """The snapshot of `origin` whose copied chunks are in `store`."""
    chunk = dm_thin.parse_snapshot(store.read(0, dm_thin.SECTOR))
    copied: dict[int, int] = {}
    per_area = chunk // 16
    area, last = 0, False
    while not last:
        raw = store.read((1 + (per_area + 1) * area) * chunk, chunk)
        if len(raw) < chunk:
            break  # the store is full to its end
        found, last = dm_thin.parse_exceptions(raw)
        copied |= found
        area += 1
        if len(copied) > MAX_EXCEPTIONS:
            raise FormatError(f"a snapshot with more than {MAX_EXCEPTIONS} chunks", name)
    return SnapshotVolume(name, size, chunk, origin, store, copied)
