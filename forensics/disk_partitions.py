"""The partitions of a disk, or of a volume that is partitioned as a disk is: an array, an encrypted disk, a guest's in LVM2.

The tables are read by our own parsers, because a disk image that was cut short or whose table is damaged still has to give
what it can: The Sleuth Kit opens no table with a partition behind the image's end.
"""

from __future__ import annotations

from collections.abc import Sequence

from forensics.md_raid import stands_on
from forensics.partition_tables import Table, gpt_ends_with, read_dos, read_gpt, search_filesystems
from forensics.records import Gap
from forensics.source import Buffer, Slice, Source
from forensics.tolerant import Tolerant
from forensics.volume import Volume
from parsers import magic

MAX_PARTITIONS = 256
"""Linux 6.6 include/linux/genhd.h, DISK_MAX_PARTS."""


def partitions_of(disk: Source, failing: Tolerant, prefix: str, gaps: list[Gap]) -> list[Volume]:
    """The partitions of a disk, or the disk as a whole where it has none; offsets count from its start.

    failing: the disk, read past bad sectors. prefix: of the volumes' names. gaps: what the table lacks.
    """
    table = _read_table(failing)
    if table.scheme != "none" and _is_array_member(failing, table):
        table = Table("none", ())
    volumes = _volumes(disk, table, f"{prefix}p", gaps)
    return volumes or [Volume(1, "none", f"disk{prefix[1:]}", 0, disk.size, None, None, None, disk)]


def partitions_in(volume: Volume, gaps: list[Gap]) -> list[Volume]:
    """The partitions of a volume that is partitioned as a disk is, with offsets in it; none where it has no table."""
    source = Tolerant(volume.source, [])
    gpt = read_gpt(source)
    table = gpt if gpt is not None and gpt.partitions else read_dos(source)
    return _volumes(volume.source, table, f"{volume.name}-part", gaps) if table is not None else []


def _volumes(disk: Source, table: Table, name: str, gaps: list[Gap]) -> list[Volume]:
    gaps.extend(table.gaps)
    if len(table.partitions) > MAX_PARTITIONS:
        error = f"{len(table.partitions)} partitions; only the first {MAX_PARTITIONS}, as many as Linux knows, are looked at"
        gaps.append(Gap("partition table", error))
    volumes = [
        Volume(
            part.number,
            table.scheme,
            f"{name}{part.number}",
            part.offset,
            part.length,
            part.type,
            part.label,
            part.uuid,
            _clip(disk, part.offset, part.length, f"{name}{part.number}"),
        )
        for part in table.partitions[:MAX_PARTITIONS]
    ]
    gaps.extend(_misfits(disk, volumes))
    return volumes


def _is_array_member(disk: Source, table: Table) -> bool:
    """Whether the table at a disk's start is that of the array which the whole disk is a member of, by the superblock at its end.

    An old superblock must not hide partitions, and of format 0.90 the last partition's may stand at the same place.
    """
    found = stands_on(disk)
    if found is None:
        return False
    place, member = found
    for part in table.partitions:
        if place - part.offset in magic.md_at_end(part.length):
            return False
    whole = gpt_ends_with(disk)
    if whole is not None:
        return not whole
    last = max((part.offset + part.length for part in table.partitions), default=0)
    return table.scheme != "dos" or last > disk.size or (member.level == 1 and last <= place)


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
