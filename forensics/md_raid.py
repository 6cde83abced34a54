"""Linux software RAID: members in, arrays out. Mirrors, stripes and concatenations here, RAID 4 to 10 in `raid_layouts`."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forensics.mapped import MappedVolume, Run
from forensics.raid_layouts import RedundantVolume, copies, parity
from forensics.source import Slice, Source
from forensics.tolerant import Tolerant
from parsers import magic, md
from parsers.errors import FormatError, UnsupportedFormat

LEVELS = {-1: "linear", 0: "RAID 0", 1: "RAID 1", 4: "RAID 4", 5: "RAID 5", 6: "RAID 6", 10: "RAID 10"}
_STARTS = (0, 4096)


@dataclass(frozen=True, slots=True)
class RaidMember:
    """A volume that is a member of an array. partition: the volume's number."""

    partition: int
    source: Source
    member: md.Member


@dataclass(frozen=True, slots=True)
class Array:
    """An array. source: None where it cannot be read, and `error` says why. missing: devices that are not in the evidence."""

    name: str
    uuid: str
    level: str
    members: tuple[int, ...]
    missing: int
    source: Source | None
    error: str | None


def read_member(source: Source, partition: int) -> RaidMember | None:
    """The volume as a member of an array, None where no MD superblock is on it. FormatError where that is damaged."""
    problem: FormatError | None = None
    tolerant = Tolerant(source, [])
    for at in (*_STARTS, *magic.md_at_end(source.size)):
        head = tolerant.read(at, md.SIZE) if at >= 0 else b""
        if not head.startswith(magic.MD_MAGIC):
            continue
        try:
            return RaidMember(partition, source, md.parse_member(head, at))
        except FormatError as error:
            problem = error
    if problem is not None:
        raise problem
    return None


def stands_on(disk: Source) -> tuple[int, md.Member] | None:
    """The superblock at a disk's end, and its place, of a disk that is a member as a whole; None where there is no sound one."""
    for at in magic.md_at_end(disk.size):
        head = disk.read(at, md.SIZE) if at >= 0 else b""
        if head.startswith(magic.MD_MAGIC):
            with contextlib.suppress(FormatError):
                return at, md.parse_member(head, at)
    return None


def assemble(members: Sequence[RaidMember]) -> Iterator[Array]:
    """The arrays of which these are members, in the order of their ids."""
    key = sorted(members, key=lambda each: (each.member.array, each.partition))
    for array, group in itertools.groupby(key, key=lambda each: each.member.array):
        yield _assemble(array, list(group))


def _assemble(array: bytes, group: Sequence[RaidMember]) -> Array:
    newest = max(group, key=lambda each: each.member.events).member
    level = LEVELS.get(newest.level, f"level {newest.level}")
    name = (newest.name or array.hex()).rpartition(":")[2]
    # a device that fell out of the array has an older count of events, and older content
    current = [each for each in group if each.member.events + 1 >= newest.events and each.member.role is not None]
    roles = {each.member.role: each for each in sorted(current, key=lambda each: each.member.events)}
    numbers, missing = tuple(each.partition for each in group), max(newest.devices - len(roles), 0)
    try:
        if newest.reshaping:
            raise UnsupportedFormat("it was being reshaped")
        source = _map(name, newest, roles)
    except FormatError as error:
        return Array(name, array.hex(), level, numbers, missing, None, str(error))
    return Array(name, array.hex(), level, numbers, missing, source, None)


def _map(name: str, newest: md.Member, roles: dict[int | None, RaidMember]) -> Source:
    if newest.level == 1:
        whole = [each for _, each in sorted(roles.items(), key=lambda item: item[0] or 0) if each.member.whole]
        if not whole:
            raise FormatError("none of its mirrors that are in this disk image is whole")
        return Slice(whole[0].source, whole[0].member.data_offset, _size(whole[0]), name)
    if newest.level not in LEVELS:
        raise UnsupportedFormat(f"arrays of the type {newest.level} are not read")
    columns = [roles.get(number) for number in range(newest.devices)]
    if newest.level > 1:
        return _redundant(name, newest, columns)
    return _striped(name, newest, columns) if newest.level == 0 else _linear(name, columns)


def _size(each: RaidMember) -> int:
    return max(min(each.member.data_size, each.source.size - each.member.data_offset), 0)


def _striped(name: str, newest: md.Member, columns: Sequence[RaidMember | None]) -> MappedVolume:
    """RAID 0: over all devices as far as the smallest goes, then over those that go on (raid0.c, create_strip_zones)."""
    chunk = newest.chunk
    if chunk <= 0 or chunk % md.SECTOR:
        raise FormatError(f"chunks of {chunk} bytes")
    sizes = [None if each is None else _size(each) // chunk * chunk for each in columns]
    known = sorted({size for size in sizes if size is not None})
    if len(known) > 1 and None in sizes:
        raise UnsupportedFormat("one of its devices, which are of different sizes, is missing")
    if len(known) > 1 and newest.layout not in (md.ORIGINAL, md.ALTERNATE):
        raise UnsupportedFormat("its devices are of different sizes, and which of two ways they are striped in is not told")
    runs: list[Run] = []
    start = below = 0
    for size in known:
        zone = [each for each, end in zip(columns, sizes, strict=True) if end is None or end >= size]
        first = start // chunk % len(zone) if newest.layout == md.ORIGINAL else 0
        places = [None if each is None else (each.source, each.member.data_offset + below) for each in zone]
        length = (size - below) * len(zone)
        runs.append(Run(start, length, chunk, tuple(places[first:] + places[:first])))
        start, below = start + length, size
    return MappedVolume(name, start, tuple(runs), tuple(run.start for run in runs))


def _redundant(name: str, newest: md.Member, columns: Sequence[RaidMember | None]) -> RedundantVolume:
    chunk = newest.chunk
    if chunk <= 0 or chunk % md.SECTOR:
        raise FormatError(f"chunks of {chunk} bytes")
    if newest.journalled:
        raise UnsupportedFormat("what a RAID with a write journal has there is not read")
    # what a device that was being rebuilt lacks, the others have
    whole = [each if each is not None and each.member.whole else None for each in columns]
    sizes = [each.member.data_size for each in whole if each is not None]
    if not sizes:
        raise FormatError("none of its devices that are in this disk image is whole")
    places = [None if each is None else (each.source, each.member.data_offset) for each in whole]
    if newest.level == 10:
        return copies(name, newest.layout, chunk, min(sizes), places)
    return parity(name, newest.level, newest.layout, chunk, min(sizes), places)


def _linear(name: str, columns: Sequence[RaidMember | None]) -> MappedVolume:
    runs: list[Run] = []
    start = 0
    for each in columns:
        if each is None:
            raise FormatError("a device of a concatenation is missing, and where the next one begins is not known")
        runs.append(Run(start, _size(each), 0, ((each.source, each.member.data_offset),)))
        start += _size(each)
    return MappedVolume(name, start, tuple(runs), tuple(run.start for run in runs))
