"""The volumes of a disk image: partitions, the whole disk where there are none, and what stands on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forensics.disk_partitions import partitions_of
from forensics.evidence import DiskImage, Evidence
from forensics.records import Gap
from forensics.source import Source
from forensics.tolerant import Tolerant
from forensics.volume import Volume
from forensics.volume_stack import stack_volumes

COLLECTIONS = ("directory", "tar")


def find_volumes(evidence: Source, secrets: Sequence[bytes] = ()) -> tuple[tuple[Volume, ...], tuple[Gap, ...]]:
    """Every volume of one disk or, in an Evidence, of several, in order of number, and what could not be read.

    secrets: passphrases and keys for encrypted volumes.
    """
    disks = evidence.each() if isinstance(evidence, Evidence) else ((None, evidence),)
    volumes: list[Volume] = []
    gaps: list[Gap] = []
    for position, (image, disk) in enumerate(disks):
        before = max((volume.number for volume in volumes), default=0)
        if image is not None and image.format in COLLECTIONS:
            volumes.append(_collection(image, disk, before + 1))
            continue
        found, found_gaps = _on_disk(disk, f"d{position + 1}" if position else "", before)
        volumes += found
        gaps += found_gaps
    return stack_volumes(volumes, gaps, secrets)


def _collection(image: DiskImage, source: Source, number: int) -> Volume:
    offset = source.locate(0) if image.size else None
    path = image.paths[0]
    return Volume(number, image.format, image.name, offset, image.size, None, None, None, source, collection=path)


def _on_disk(disk: Source, prefix: str, before: int) -> tuple[list[Volume], list[Gap]]:
    """The partitions of one disk. before: the highest number that other disks' volumes have."""
    start = disk.locate(0) or 0
    failed: list[Gap] = []
    gaps: list[Gap] = []
    volumes = partitions_of(disk, Tolerant(disk, failed), prefix, gaps)
    return [_shifted(volume, start, before) for volume in volumes], [*failed, *(_shifted_gap(gap, start, before) for gap in gaps)]


def _shifted(volume: Volume, start: int, before: int) -> Volume:
    """A disk's volume as one of all disks: its offset counts from the first disk's start, its number is free."""
    offset = None if volume.offset is None else volume.offset + start
    return replace(volume, number=volume.number + before, offset=offset)


def _shifted_gap(gap: Gap, start: int, before: int) -> Gap:
    number = None if gap.partition is None else gap.partition + before
    return replace(gap, partition=number, offset=None if gap.offset is None else gap.offset + start)
