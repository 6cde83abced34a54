"""Btrfs on several devices: volumes that are devices of one filesystem, put together."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.source import Source
from forensics.tolerant import Tolerant
from parsers import btrfs
from parsers.errors import FormatError


@dataclass(frozen=True, slots=True)
class Device:
    """A volume that is one of a filesystem's devices. partition: the volume's number."""

    partition: int
    source: Source
    superblock: btrfs.Superblock


@dataclass(frozen=True, slots=True)
class JoinedDevices:
    """The devices of a filesystem, by id. Read as a source it is the one that was written last.

    older: ids of those that were left behind. members: their volumes' numbers.
    """

    name: str
    uuid: str
    first: Source
    devices: Mapping[int, Source]
    older: frozenset[int]
    members: tuple[int, ...]

    @property
    def size(self) -> int:
        """The first device's."""
        return self.first.size

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the first device."""
        return self.first.read(offset, size)

    def locate(self, offset: int) -> int | None:
        """Where a byte of the first device stands in the disk image."""
        return self.first.locate(offset)


def read_device(source: Source, partition: int) -> Device | None:
    """The volume as a device of a filesystem that has others, None where it is none."""
    place = btrfs.SUPERBLOCKS[0]
    try:
        head = Tolerant(source, []).read(place, btrfs.SUPERBLOCK_SIZE)
        superblock = btrfs.parse_superblock(head, place)
    except FormatError:
        return None  # who opens it as a filesystem tells why
    return Device(partition, source, superblock) if superblock.devices > 1 else None


def join(devices: Sequence[Device]) -> Iterator[JoinedDevices]:
    """The filesystems of which more than one device is here, in the order of their UUIDs."""
    ordered = sorted(devices, key=lambda each: (each.superblock.uuid, each.partition))
    for fsid, group in itertools.groupby(ordered, key=lambda each: each.superblock.uuid):
        by_age = sorted(group, key=lambda each: (each.superblock.generation, -each.partition))
        by_id = {each.superblock.devid: each for each in by_age}  # a device that is here twice: the newer one
        if len(by_id) < 2:
            continue
        newest = by_age[-1]
        older = frozenset(n for n, each in by_id.items() if each.superblock.generation < newest.superblock.generation)
        name = newest.superblock.label or str(uuid.UUID(bytes=fsid))
        yield JoinedDevices(
            name, str(uuid.UUID(bytes=fsid)), newest.source, {n: by_id[n].source for n in sorted(by_id)}, older,
            tuple(sorted(each.partition for each in by_id.values())),
        )  # fmt: skip
