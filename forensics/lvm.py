"""LVM2 logical volumes: physical volumes in, readable volumes out. Linear and striped ones of any number of segments.

Source: LVM2 2.03, lib/format_text/format-text.c (finding the text in force, the ring), lib/striped/striped.c (the mapping).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.lvm_mapping import LogicalVolume, map_group
from forensics.records import Gap
from forensics.source import Source
from forensics.tolerant import Tolerant
from parsers import lvm2, lvm2_text
from parsers.errors import FormatError

MAX_RING = 16 << 20  # an older text is looked for in at most so many bytes of a metadata area
_TEXT_START = re.compile(rb'[A-Za-z0-9+_.-]{1,128} \{\nid = "')
MAX_SIZE = 1 << 62
MAX_TEXTS = 48 << 20
HEADER = lvm2.MDA_HEADER_SIZE
_LABEL_HEAD = lvm2.LABEL_SECTORS * lvm2.SECTOR


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A physical volume that is in the evidence. partition: the number of the volume that it is."""

    partition: int
    uuid: str
    source: Source
    label: lvm2.Label


Present = Mapping[str, PhysicalVolume]
"""The physical volumes that are in the evidence, by id."""


def read_physical_volume(source: Source, partition: int) -> PhysicalVolume:
    """The label of a physical volume."""
    label = lvm2.read_label(source.read(0, _LABEL_HEAD))
    if label is None:
        raise FormatError("no LVM2 label", source.name)
    return PhysicalVolume(partition, label.pv_uuid, source, label)


def find_logical_volumes(physical: Sequence[PhysicalVolume]) -> tuple[tuple[LogicalVolume, ...], tuple[Gap, ...]]:
    """The visible logical volumes of all volume groups, sorted by group and name."""
    gaps: list[Gap] = []
    present: dict[str, PhysicalVolume] = {}
    texts = _Texts()
    groups: dict[str, lvm2_text.VolumeGroup] = {}
    for volume in physical:
        if volume.uuid in present:
            error = f"its id {volume.uuid} is that of partition {present[volume.uuid].partition} too; that one is used"
            gaps.append(Gap("LVM2 physical volume", error, volume.partition, offset=volume.source.locate(0)))
            continue
        present[volume.uuid] = volume
        group = _read_group(volume, texts, gaps)
        if group is not None and (group.uuid not in groups or groups[group.uuid].seqno < group.seqno):
            groups[group.uuid] = group
    known = {pv.uuid for group in groups.values() for pv in group.physical_volumes}
    for volume in present.values():
        if volume.uuid not in known and _keeps_no_text(volume):
            gaps.append(
                Gap("LVM2 physical volume", "the metadata of its volume group is not in this disk image", volume.partition)
            )
    found: list[LogicalVolume] = []
    for group in sorted(groups.values(), key=lambda group: (group.name, group.uuid)):
        gaps.extend(Gap("LVM2 volume group", problem) for problem in group.problems)
        gaps.extend(_missing(group, present))
        found.extend(map_group(group, {uuid: volume.source for uuid, volume in present.items()}))
    return tuple(found), tuple(gaps)


class _Texts:
    """Metadata texts read so far: every physical volume of a group has the same one, which is to be parsed once."""

    def __init__(self) -> None:
        self._groups: dict[bytes, lvm2_text.VolumeGroup] = {}
        self._room = MAX_TEXTS

    def group(self, text: bytes) -> lvm2_text.VolumeGroup:
        """The volume group that a text describes. FormatError where it is damaged, or one text too many."""
        if text not in self._groups:
            self._room -= len(text)
            if self._room < 0:
                raise FormatError(f"more than {MAX_TEXTS} bytes of LVM2 metadata")
            self._groups[text] = lvm2_text.volume_group(text)
        return self._groups[text]


def _read_group(volume: PhysicalVolume, texts: _Texts, gaps: list[Gap]) -> lvm2_text.VolumeGroup | None:
    """The volume group by the newest intact text in the physical volume's metadata areas, or else by an older one."""
    source = Tolerant(volume.source, gaps)
    groups: list[lvm2_text.VolumeGroup] = []
    errors: list[tuple[str, int]] = []
    for area in volume.label.metadata_areas:
        try:
            text = _text_in_force(source, area)
            if text is not None:
                groups.append(texts.group(text))
        except FormatError as error:
            errors.append((str(error), area.offset))
    if not groups and errors:
        groups = [group for area in volume.label.metadata_areas for group in _groups_in_ring(source, area, texts)]
        rescued = f"; an older text, number {max(group.seqno for group in groups)}, is used" if groups else ""
        for what, offset in errors:
            gaps.append(Gap("LVM2 metadata", what + rescued, volume.partition, offset=volume.source.locate(offset)))
    return max(groups, key=lambda group: group.seqno, default=None)


def _keeps_no_text(volume: PhysicalVolume) -> bool:
    """Whether the physical volume leaves its group's metadata to others; one that was never in a group keeps an empty area."""
    source = Tolerant(volume.source, [])
    try:
        headers = [lvm2.read_metadata_header(source.read(area.offset, HEADER)) for area in volume.label.metadata_areas]
    except FormatError:
        return False  # _read_group has told
    return all(header.ignored for header in headers)


def _text_in_force(source: Source, area: lvm2.Area) -> bytes | None:
    header = lvm2.read_metadata_header(source.read(area.offset, HEADER))
    if header.start != area.offset:
        raise FormatError(f"the LVM2 metadata area says that it starts at {header.start}", source.name, area.offset)
    if header.text is None:
        return None
    text = b"".join(source.read(part.offset, part.size) for part in lvm2.text_ranges(header))
    lvm2.check_text(header, text)
    return text


def _groups_in_ring(source: Source, area: lvm2.Area, texts: _Texts) -> Iterator[lvm2_text.VolumeGroup]:
    """What the texts say that a metadata area still holds from earlier changes; each starts on a sector."""
    ring = source.read(area.offset + HEADER, min(area.size or MAX_RING, MAX_RING))
    starts = [start for start in range(0, len(ring), lvm2.SECTOR) if _TEXT_START.match(ring, start)]
    for start, following in itertools.pairwise([*starts, len(ring)]):
        end = ring.find(b"\0", start, following)
        try:
            yield texts.group(ring[start : end if end >= 0 else following])
        except FormatError:
            continue  # overwritten in part; a whole one is looked for


def _missing(group: lvm2_text.VolumeGroup, present: Present) -> Iterator[Gap]:
    for pv in group.physical_volumes:
        if pv.uuid not in present:
            seen = f", last seen as {pv.device}," if pv.device else ""
            error = f"the physical volume {pv.uuid} of the volume group {group.name}{seen} is not in this disk image"
            yield Gap("LVM2 physical volume", error)
