"""What each logical volume of a group stands on: physical volumes, or other logical volumes of the group.

Source: LVM2 2.03, lib/striped/striped.c, lib/raid/raid.c, lib/mirror/mirrored.c, lib/snapshot/snapshot.c, lib/thin/thin.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forensics.lvm_thin import open_snapshot, open_thin
from forensics.mapped import MappedVolume, Run
from forensics.source import Slice, Source
from parsers import dm_thin
from parsers.errors import FormatError, UnsupportedFormat
from parsers.lvm2_text import LogicalVolume as TextVolume
from parsers.lvm2_text import Segment, VolumeGroup

MAX_SIZE = 1 << 62
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A visible logical volume. source: None where it cannot be mapped, and `error` says why; a thin pool has neither."""

    name: str
    uuid: str
    type: str
    size: int
    source: Source | None
    error: str | None

    def contiguous_at(self) -> int | None:
        """Where in the disk image the whole volume stands in one piece, None where it does not."""
        return self.source.contiguous_at() if isinstance(self.source, MappedVolume) else None


def map_group(group: VolumeGroup, present: Mapping[str, Source]) -> Iterator[LogicalVolume]:
    """The visible logical volumes. present: the physical volumes that are in the evidence, by id."""
    mapper = _Mapper(group, present)
    for volume in group.logical_volumes:
        if not mapper.is_visible(volume):
            continue
        name, size = f"{group.name}/{volume.name}", mapper.size(volume)
        source: Source | None = None
        error: str | None = None
        try:
            source = None if mapper.kind(volume) == "thin-pool" else mapper.source(volume.name)
        except FormatError as problem:
            error = str(problem)
        yield LogicalVolume(name, volume.uuid, mapper.kind(volume), size, source, error)


class _Mapper:
    """Maps the volumes of one group, each once."""

    def __init__(self, group: VolumeGroup, present: Mapping[str, Source]) -> None:
        self._group, self._present = group, present
        self._volumes = {volume.name: volume for volume in group.logical_volumes}
        self._physical = {pv.name: pv for pv in group.physical_volumes}
        # A snapshot's own volume looks linear and holds its changed chunks; only the segment of another one says so.
        self._snapshots = {
            segment.cow_store: segment
            for volume in group.logical_volumes
            for segment in volume.segments
            if segment.type == "snapshot" and segment.cow_store is not None
        }

    def is_visible(self, volume: TextVolume) -> bool:
        """As lv_is_visible in lib/metadata/metadata.c has it: the text says VISIBLE of what only describes a snapshot."""
        if any(segment.type == "snapshot" for segment in volume.segments):
            return False
        shown = self._snapshots.get(volume.name)
        if shown is not None and shown.origin in self._volumes:
            return self._volumes[shown.origin].visible
        return volume.visible

    def size(self, volume: TextVolume) -> int:
        """The volume's size in bytes, as the text has it."""
        shown = self._snapshots.get(volume.name)
        if shown is not None and shown.origin in self._volumes:
            volume = self._volumes[shown.origin]
        extents = max((segment.start_extent + segment.extent_count for segment in volume.segments), default=0)
        return min(extents * self._group.extent_size, MAX_SIZE)

    def kind(self, volume: TextVolume) -> str:
        """The volume's type, as people call it."""
        if volume.name in self._snapshots:
            return "snapshot"
        types = sorted({segment.type for segment in volume.segments})
        if types == ["striped"]:
            return "linear" if all(len(segment.stripes) == 1 for segment in volume.segments) else "striped"
        return "+".join(types)

    def source(self, name: str) -> Source:
        """The volume's bytes. Raises FormatError where they cannot be had."""
        volume = self._volumes[name]
        shown = self._snapshots.get(name)
        if shown is None:
            return self._stored(name, 0)
        if shown.merging:
            raise UnsupportedFormat("a snapshot that was being merged into its origin is not read")
        if shown.origin is None:
            raise FormatError("what it is a snapshot of is not told")
        return open_snapshot(self._full(name), self.size(volume), self._stored(shown.origin, 1), self._stored(name, 1))

    def _full(self, name: str) -> str:
        return f"{self._group.name}/{name}"

    def _stored(self, name: str, depth: int) -> Source:
        """A volume as its segments have it."""
        volume = self._volumes.get(name)
        if volume is None:
            raise UnsupportedFormat(f"it lies on {name}, which is no volume of its group")
        if depth > MAX_DEPTH:
            raise FormatError("its volumes stand on each other in a circle")
        extents = max((segment.start_extent + segment.extent_count for segment in volume.segments), default=0)
        if extents * self._group.extent_size > MAX_SIZE:
            raise FormatError(f"it is said to have {extents} extents of {self._group.extent_size} bytes")
        if not volume.segments:
            raise FormatError("it has no segments")
        types = {segment.type for segment in volume.segments}
        if types == {"striped"}:
            return self._runs(volume, depth)
        if len(volume.segments) == 1:
            return self._special(volume, volume.segments[0], depth)
        raise UnsupportedFormat(f"logical volumes of the type {'+'.join(sorted(types))} are not read")

    def _special(self, volume: TextVolume, segment: Segment, depth: int) -> Source:
        size = segment.extent_count * self._group.extent_size
        if segment.type in ("raid1", "mirror"):
            return Slice(self._leg(segment, depth), 0, size, self._full(volume.name))
        if segment.type in ("raid0", "raid0_meta") and len(segment.legs) > 1 and segment.stripe_size:
            columns = tuple((self._stored(leg, depth + 1), 0) for leg in segment.legs)
            return MappedVolume(self._full(volume.name), size, (Run(0, size, segment.stripe_size, columns),), (0,))
        if segment.type == "thin" and segment.thin_pool is not None and segment.device_id is not None:
            pools = self._volumes.get(segment.thin_pool)
            pool = pools.segments[0] if pools is not None and pools.segments else None
            if pool is None or pool.pool is None or not pool.metadata:
                raise FormatError(f"its thin pool {segment.thin_pool} is not described")
            origin = None if segment.external_origin is None else self._stored(segment.external_origin, depth + 1)
            metadata, data = self._stored(pool.metadata[0], depth + 1), self._stored(pool.pool, depth + 1)
            return open_thin(self._full(volume.name), size, metadata, data, segment.device_id, origin)
        raise UnsupportedFormat(f"logical volumes of the type {segment.type} are not read")

    def _leg(self, segment: Segment, depth: int) -> Source:
        """The leg of a mirror that the kernel would read: one that is there, whole, and as new as any other."""
        legs: list[tuple[int, Source, dm_thin.RaidLeg | None]] = []
        problem: FormatError | None = None
        for position, name in enumerate(segment.legs):
            try:
                source = self._stored(name, depth + 1)
                source.read(0, 1)
                state = None
                if segment.type == "raid1" and position < len(segment.metadata):
                    state = dm_thin.parse_raid_leg(self._stored(segment.metadata[position], depth + 1).read(0, dm_thin.BLOCK))
                legs.append((position, source, state))
            except FormatError as error:
                problem = error
        newest = max((state.events for _, _, state in legs if state is not None), default=0)
        failed = 0
        for _, _, state in legs:
            failed |= state.failed if state is not None and state.events == newest else 0
        for position, source, state in legs:
            if state is None or (state.whole and state.events == newest and not failed >> position & 1):
                return source
        raise problem or FormatError("none of its mirrors is whole")

    def _runs(self, volume: TextVolume, depth: int) -> MappedVolume:
        runs: list[Run] = []
        start = 0
        extent = self._group.extent_size
        for segment in volume.segments:
            if segment.start_extent * extent != start or not segment.stripes:
                raise FormatError(f"the segment at extent {segment.start_extent} does not follow on the one before it")
            length = segment.extent_count * extent
            if len(segment.stripes) > 1 and length % (segment.stripe_size * len(segment.stripes)):
                raise FormatError(f"the segment at extent {segment.start_extent} is no whole number of stripes")
            columns = tuple(self._column(stripe.device, stripe.start_extent, depth) for stripe in segment.stripes)
            runs.append(Run(start, length, segment.stripe_size, columns))
            start += length
        return MappedVolume(self._full(volume.name), start, tuple(runs), tuple(run.start for run in runs))

    def _column(self, name: str, start_extent: int, depth: int) -> tuple[Source, int] | None:
        place = start_extent * self._group.extent_size
        device = self._physical.get(name)
        if device is not None:
            found = self._present.get(device.uuid)
            return None if found is None else (found, device.pe_start + place)
        if name not in self._volumes:
            raise UnsupportedFormat(f"it lies on {name}, which is no physical volume of its group")
        return self._stored(name, depth + 1), place
