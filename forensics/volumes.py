"""The volumes of a disk image: partitions of a GPT or a DOS table, the whole disk where there is none, LVM2 logical volumes.

The tables are read by our own parsers, because a disk image that was cut short or whose table is damaged still has to give
what it can: The Sleuth Kit opens no table with a partition behind the image's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forensics.evidence import DiskImage, Evidence
from forensics.partition_tables import Table, read_dos, read_gpt, search_filesystems
from forensics.records import Gap
from forensics.source import Buffer, Slice, Source
from forensics.tolerant import Tolerant
from forensics.volume import Volume
from forensics.volume_stack import stack_volumes
from parsers import magic

COLLECTIONS = ("directory", "tar")
MAX_PARTITIONS = 256
"""Linux 6.6 include/linux/genhd.h, DISK_MAX_PARTS."""


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
    gaps: list[Gap] = []
    start = disk.locate(0) or 0
    failed: list[Gap] = []
    table = _read_table(Tolerant(disk, failed))
    gaps.extend(table.gaps)
    if len(table.partitions) > MAX_PARTITIONS:
        error = f"{len(table.partitions)} partitions; only the first {MAX_PARTITIONS}, as many as Linux knows, are looked at"
        gaps.append(Gap("partition table", error))
    volumes = [
        Volume(
            part.number,
            table.scheme,
            f"{prefix}p{part.number}",
            part.offset,
            part.length,
            part.type,
            part.label,
            part.uuid,
            _clip(disk, part.offset, part.length, f"{prefix}p{part.number}"),
        )
        for part in table.partitions[:MAX_PARTITIONS]
    ]
    gaps.extend(_misfits(disk, volumes))
    if not volumes:
        name = f"disk{prefix[1:]}"
        volumes = [Volume(1, "none", name, 0, disk.size, None, None, None, disk)]
    return [_shifted(volume, start, before) for volume in volumes], [*failed, *(_shifted_gap(gap, start, before) for gap in gaps)]


def _shifted(volume: Volume, start: int, before: int) -> Volume:
    """A disk's volume as one of all disks: its offset counts from the first disk's start, its number is free."""
    offset = None if volume.offset is None else volume.offset + start
    return replace(volume, number=volume.number + before, offset=offset)


def _shifted_gap(gap: Gap, start: int, before: int) -> Gap:
    number = None if gap.partition is None else gap.partition + before
    return replace(gap, partition=number, offset=None if gap.offset is None else gap.offset + start)


def _read_table(disk: Source) -> Table:
    """The table in force, as Linux would choose it; where there is none and nothing at the disk's start, what a search finds."""
    gpt = read_gpt(disk)
    if gpt is not None and gpt.partitions:
        return gpt
    at_start = magic.identify(disk.read(0, magic.HEAD_SIZE))
    dos = read_dos(disk) if at_start not in ("fat", "ntfs", "exfat", "bitlocker") else None
    gaps = (*(gpt.gaps if gpt else ()), *(dos.gaps if dos else ()))
    if dos is not None and dos.partitions:
        return Table(dos.scheme, dos.partitions, gaps)
    if at_start is not None:
        return Table("none", (), gaps)
    backup = read_gpt(disk, backup_only=True)
    if backup is not None and backup.partitions:
        return backup
    found = search_filesystems(disk)
    what = f"found by signature: {len(found)}"
    missing = Gap("partition table", f"no partition table and no filesystem at the start of the disk; {what}", offset=0)
    return Table("signature", found, (*gaps, missing))


def _clip(disk: Source, offset: int, length: int, name: str) -> Source:
    return Slice(disk, offset, min(length, disk.size - offset), name) if offset < disk.size else Buffer(name, b"")


def _misfits(disk: Source, volumes: Sequence[Volume]) -> list[Gap]:
    """Partitions that reach past the disk image's end, or into each other."""
    gaps = []
    placed = sorted((volume.offset, volume.length, volume.number) for volume in volumes if volume.offset is not None)
    for offset, length, number in placed:
        if offset + length > disk.size:
            missing = offset + length - max(offset, disk.size)
            error = (
                f"ends {missing} of its {length} bytes behind the end of the disk image, which was cut short or its table damaged"
            )
            gaps.append(Gap("partition", error, number, offset=offset))
    end, last = 0, 0
    for offset, length, number in placed:
        if offset < end:
            gaps.append(Gap("partition", f"overlaps partition {last}", number, offset=offset))
        if offset + length > end:
            end, last = offset + length, number
    return gaps
