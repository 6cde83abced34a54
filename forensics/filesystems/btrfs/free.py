"""Which bytes of a Btrfs belong to nothing: in the chunks of data by the extent tree, and on its devices outside of all chunks.

Source: Linux 6.12, fs/btrfs/extent-tree.c (what has an extent item), volumes.c (calc_stripe_length).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.items import LAST
from forensics.filesystems.btrfs.reader import BtrfsFilesystem
from forensics.filesystems.btrfs.stale import nodes_in_use
from forensics.filesystems.btrfs.subvolumes import Key, Leaf, Root
from forensics.filesystems.bulk.reading import Numbers
from forensics.source import Source
from parsers import btrfs
from parsers.btrfs_extents import EXTENT_ITEM, METADATA_ITEM
from parsers.errors import EvidenceError, FormatError

_HEAD = btrfs.node_header.size
_ITEMS = btrfs.leaf_item.dtype()
_PLACE = btrfs.file_extent.size
_MOST = 1 << 62
MAX_NODES = 1 << 22
MAX_EXTENT = 128 << 20  # BTRFS_MAX_EXTENT_SIZE

Runs = list[tuple[int, int]]
_SUPERBLOCKS: Runs = [(place, place + btrfs.SUPERBLOCK_SIZE) for place in btrfs.SUPERBLOCKS]


def free_space(fs: BtrfsFilesystem) -> Iterator[tuple[Source, Numbers, Numbers]]:
    """What is free, by what it is read from: where the runs begin there, and where they end.

    Of a filesystem on one device that is the device; of one on several, be they here or not, their address space, and each of
    those that are here for what no chunk has. What a damaged part of the extent tree tells of is not free, and becomes a problem;
    without that tree, chunks have nothing free. What stood in chunks of metadata is not here: it is read as the tree nodes that
    it was.
    """
    logical = fs.reader.logical
    chunks = [chunk for chunk in _within_devices(fs) if chunk.type & btrfs.DATA]
    used = _used(fs)
    free = (
        without(((chunk.logical, chunk.logical + chunk.length) for chunk in chunks), used)
        if used is not None
        else without([], [])
    )
    outside = {
        device: without([(0, source.size)], _stripes_on(logical.chunks, device))
        for device, source in sorted(logical.devices.items())
    }
    if len(logical.devices) > 1 or not all(_is_one_run(chunk, logical.devices) for chunk in chunks):
        yield logical, *free
        for device, runs in outside.items():
            yield logical.devices[device], *runs
    else:
        for device, runs in outside.items():
            here = [
                *_on_device(chunks, logical.devices[device].size, *free),
                *zip(runs[0].tolist(), runs[1].tolist(), strict=True),
            ]
            yield logical.devices[device], *without(here, _SUPERBLOCKS)


def without(runs: Iterable[tuple[int, int]], used: Iterable[tuple[int, int]] | Numbers) -> tuple[Numbers, Numbers]:
    """The parts of runs that nothing uses; both as (start, end), in no order, and may overlap."""
    some, other = np.array(list(runs), np.int64).reshape(-1, 2), np.array(used, np.int64).reshape(-1, 2)
    places = np.unique(np.concatenate([some.ravel(), other.ravel()]))
    inside = _depth(places, some) > 0
    free = np.flatnonzero((inside & (_depth(places, other) == 0))[:-1])
    starts, ends = places[free], places[free + 1]
    first = np.append(True, starts[1:] != ends[:-1])[: len(starts)]
    return starts[first], ends[np.append(first[1:], True)[: len(ends)]]


def _depth(places: Numbers, runs: Numbers) -> Numbers:
    """How many runs have what follows each place."""
    steps = np.zeros(len(places), np.int64)
    np.add.at(steps, np.searchsorted(places, runs[:, 0]), 1)
    np.add.at(steps, np.searchsorted(places, runs[:, 1]), -1)
    return np.cumsum(steps)


def _within_devices(fs: BtrfsFilesystem) -> Iterator[btrfs.Chunk]:
    """The chunks that lie within the devices that are here, not in each other, as far as these have room for them all."""
    devices = fs.reader.logical.devices
    room = sum(device.size for device in devices.values())
    end = 0
    for chunk in fs.reader.logical.chunks:
        before, end = end, max(end, chunk.logical + chunk.length)
        if chunk.logical < before:
            told = f"the chunk at logical address {chunk.logical} begins in another: what is free in it is not known"
            fs.problems.append(Problem("free space", "chunk tree", told))
            continue
        length = _stripe_length(chunk)
        here = [at for number, at in chunk.stripes if number in devices and at + length <= devices[number].size]
        room -= length * len(here)
        if here and room >= 0 and chunk.logical + chunk.length < _MOST:
            yield chunk


def _is_one_run(chunk: btrfs.Chunk, devices: Collection[int]) -> bool:
    """Whether a chunk lies on the devices that are here as its addresses follow each other."""
    return _stripe_length(chunk) == chunk.length and all(number in devices for number, _ in chunk.stripes)


def _stripe_length(chunk: btrfs.Chunk) -> int:
    """How many bytes of a device each of a chunk's stripes takes."""
    count = len(chunk.stripes)
    if chunk.type & btrfs.RAID0:
        return chunk.length // count
    if chunk.type & btrfs.RAID10:
        return chunk.length * chunk.sub_stripes // count
    if chunk.type & (btrfs.RAID5 | btrfs.RAID6):
        return chunk.length // max(count - (1 if chunk.type & btrfs.RAID5 else 2), 1)
    return chunk.length


def _stripes_on(chunks: Iterable[btrfs.Chunk], device: int) -> Runs:
    """What chunks have of a device."""
    found = [(at, at + _stripe_length(chunk)) for chunk in chunks for number, at in chunk.stripes if number == device]
    return [(start, end) for start, end in found if end < _MOST]


def _on_device(chunks: Iterable[btrfs.Chunk], size: int, starts: Numbers, ends: Numbers) -> Runs:
    """Where runs of logical addresses stand on the only device, of that size, where each chunk is one run, or some alike."""
    found: Runs = []
    for chunk in chunks:
        end = chunk.logical + chunk.length
        moved = next(at for _, at in chunk.stripes if at + chunk.length <= size) - chunk.logical
        first, last = int(np.searchsorted(ends, chunk.logical, "right")), int(np.searchsorted(starts, end))
        runs = zip(starts[first:last].tolist(), ends[first:last].tolist(), strict=True)
        found += [(max(start, chunk.logical) + moved, min(stop, end) + moved) for start, stop in runs]
    return found


def _used(fs: BtrfsFilesystem) -> Numbers | None:
    """All that is in use of the address space; None where there is no extent tree."""
    root = fs.forest.own.get(btrfs.EXTENT_TREE)
    if root is None:
        fs.problems.append(Problem("free space", "extent tree", "it is missing: what is free in chunks is not known"))
        return None
    return np.concatenate([*_allocated(fs, root), _logged(fs)])


def _allocated(fs: BtrfsFilesystem, root: Root) -> Iterator[Numbers]:
    """The extents that the extent tree has, leaf by leaf; where a node of it is damaged, all that it may tell of."""
    size, end = fs.reader.superblock.node, min(fs.reader.logical.size, _MOST)
    pending: list[tuple[Root, Key, Key]] = [(root, (0, 0, 0), (LAST, 0, 0))]
    seen: set[int] = set()
    while pending:
        at, low, high = pending.pop()
        try:
            if at.address in seen or len(seen) > MAX_NODES or at.level >= btrfs.MAX_LEVEL:
                raise FormatError(f"the node at logical address {at.address} is out of place")
            seen.add(at.address)
            data = fs.reader.node(at.address, at.level, at.generation)
            below = list(Leaf(at.address, data).pointers()) if at.level else []
            keys = [low, *(pointer[:3] for pointer in below), high]
            if at.level and (not below or keys != sorted(keys)):
                raise FormatError(f"the node at logical address {at.address} has keys in no order")
        except (FormatError, EvidenceError) as error:
            # where what follows begins with references to an extent, its own item is in what is lost
            last = high[0] + (MAX_EXTENT if high[1] > METADATA_ITEM else 0)
            told = f"{error}; what is free from logical address {low[0]} to {min(last, end)} is not known"
            fs.problems.append(Problem("free space", "extent tree", told, fs.source.locate(at.address)))
            yield np.array([(min(low[0], end), min(last, end))], np.int64)
            continue
        if at.level:
            children = [Root(address, at.level - 1, made) for *_, address, made in below]
            pending += list(zip(children, keys[1:-1], keys[2:], strict=True))[::-1]
            continue
        items = np.frombuffer(data, _ITEMS, btrfs.node_header.fields(data)["nritems"], _HEAD)
        extents = items[(items["type"] == EXTENT_ITEM) | (items["type"] == METADATA_ITEM)]
        starts = np.minimum(extents["objectid"], end).astype(np.int64)
        lengths = np.where(extents["type"] == METADATA_ITEM, size, np.minimum(extents["key_offset"], end)).astype(np.int64)
        yield np.stack([starts, starts + np.minimum(lengths, end - starts)], axis=1)


def _logged(fs: BtrfsFilesystem) -> Numbers:
    """What the tree logs have, which the extent tree does not tell of: the contents that were synced, and their own nodes."""
    runs = [(address, address + fs.reader.superblock.node) for address in nodes_in_use(fs.reader, fs.log.roots)]
    for changes in fs.log.changes.values():
        for (_, kind, _), item in changes.items():
            if kind == btrfs.EXTENT_DATA and item is not None and len(item.data) >= _PLACE + btrfs.file_extent_place.size:
                start, length, _, _ = btrfs.file_extent_place.unpack(item.data, _PLACE)
                runs.append((start, start + length))
    return np.array([run for run in runs if run[1] < _MOST], np.int64).reshape(-1, 2)
