"""Volumes on volumes: what encrypted volumes, RAID arrays and LVM2 groups hold, in whatever order they stand on each other.

A round opens what the volumes known so far lead to; what it finds is looked at in the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forensics.disk_partitions import partitions_in
from forensics.md_raid import RaidMember, assemble, read_member
from forensics.records import Gap
from forensics.source import Buffer, Source
from forensics.tolerant import Tolerant
from forensics.volume import Volume
from parsers import magic
from parsers.errors import CtrForensicsError, EvidenceError

if TYPE_CHECKING:
    from forensics.luks import DecryptedVolume
    from parsers.luks import LuksHeader

MAX_LOGICAL = 4096
MAX_ROUNDS = 8
_DISKS = ("luks", "md", "lvm")


def stack_volumes(
    volumes: Sequence[Volume], gaps: Sequence[Gap], secrets: Sequence[bytes]
) -> tuple[tuple[Volume, ...], tuple[Gap, ...]]:
    """All volumes, those that stand on the given ones included, and what could not be read of them besides `gaps`."""
    stack = _Stack(volumes, gaps, secrets)
    opened = mapped = 0
    for _ in range(MAX_ROUNDS):
        # a group's physical volumes may lie in arrays and encrypted volumes: those first, as far as they go
        if new := stack.volumes[opened:]:
            opened = len(stack.volumes)
            stack.open_encrypted(new)
            stack.assemble_arrays(new)
            stack.read_tables(new)
        elif new := stack.volumes[mapped:]:
            mapped = len(stack.volumes)
            stack.map_groups(new)
        else:
            break
    stack.join_devices()
    return tuple(stack.volumes), tuple(stack.gaps)


class _Stack:
    def __init__(self, volumes: Sequence[Volume], gaps: Sequence[Gap], secrets: Sequence[bytes]) -> None:
        self.volumes, self.gaps, self._secrets = list(volumes), list(gaps), secrets
        self._next = max((volume.number for volume in volumes), default=0) + 1

    def open_encrypted(self, new: Sequence[Volume]) -> None:
        """What LUKS volumes hold, where a secret opens them; one that stays closed is told when it is opened as a filesystem."""
        if not self._secrets:
            return
        for volume in new:
            if _kind(volume) != "luks":
                continue
            from forensics.luks import find_key, read_luks

            try:
                header = read_luks(volume.source)
                key = find_key(volume.source, header, self._secrets)
                if key is None:
                    raise EvidenceError("no passphrase or key that was given opens it")
                place, inside = self._decrypted(volume, header, key, new)
            except CtrForensicsError as error:
                self.gaps.append(Gap("LUKS volume", str(error), volume.number, offset=volume.offset))
                self._replace(replace(volume, error=str(error)))
                continue
            offset = inside.locate(0) if place.offset is not None else None
            kind = f"LUKS{header.version}"
            number = self._add("luks", inside.name, offset, inside.size, kind, header.label, header.uuid, inside)
            self._holds(place, f"{kind}, opened as volume {number}")
            if place is not volume:
                self._holds(volume, f"{kind} header of volume {number}")
                self._lacks_no_table(place)  # it is encrypted from its first byte on

    def _decrypted(
        self, volume: Volume, header: LuksHeader, key: bytes, others: Sequence[Volume]
    ) -> tuple[Volume, DecryptedVolume]:
        """The volume that the header belongs to, and what it holds: of a header apart, the one that its key makes sense of."""
        from forensics.luks import decrypted, is_apart

        if not is_apart(volume.source, header):
            return volume, decrypted(volume.source, header.segment, key, f"{volume.name}-luks")
        for each in others:
            if each is volume or _kind(each) is not None:
                continue
            inside = decrypted(each.source, header.segment, key, f"{each.name}-luks")
            if magic.identify(Tolerant(inside, []).read(0, magic.HEAD_SIZE)) is not None:
                return each, inside
        raise EvidenceError("this is its header only, and no volume here is what it encrypts; give that disk as well")

    def assemble_arrays(self, new: Sequence[Volume]) -> None:
        """The RAID arrays whose members are here."""
        members: list[RaidMember] = []
        by_number = {volume.number: volume for volume in new}
        for volume in new:
            try:
                member = read_member(volume.source, volume.number)
            except CtrForensicsError as error:
                if _kind(volume) != "md_raid":  # else opening it as a filesystem tells
                    self.gaps.append(Gap("MD RAID member", str(error), volume.number, offset=volume.offset))
                continue
            if member is not None:
                members.append(member)
        for array in assemble(members):
            source = array.source or Buffer(array.name, b"")
            offset = source.locate(0) if array.level == "RAID 1" and array.source is not None else None
            number = self._add("md", array.name, offset, source.size, array.level, None, array.uuid, source, array.error)
            if array.error:
                self.gaps.append(Gap("MD RAID array", f"{array.name}: {array.error}", number))
            if array.missing:
                missing = f"{array.name}: {array.missing} of its devices are not in this disk image"
                self.gaps.append(Gap("MD RAID array", missing, number))
            for each in array.members:
                self._holds(by_number[each], f"member of {array.level} {array.name}, volume {number}")
                self._lacks_no_table(by_number[each])

    def read_tables(self, new: Sequence[Volume]) -> None:
        """The partitions of arrays, encrypted disks and logical volumes that are disks of their own."""
        opened = {volume.number for volume in new}
        for volume in [each for each in self.volumes if each.number in opened]:
            if volume.scheme not in _DISKS or volume.holds or volume.error or _kind(volume) is not None:
                continue
            gaps: list[Gap] = []
            numbers: dict[int, int] = {}
            for part in partitions_in(volume, gaps):
                offset = None if volume.offset is None or part.offset is None else volume.offset + part.offset
                numbers[part.number] = self._next
                self.volumes.append(replace(part, number=self._next, offset=offset))
                self._next += 1
            if numbers:
                self._holds(volume, f"partitioned, volumes {min(numbers.values())} to {max(numbers.values())}")
            for gap in gaps:
                number = volume.number if gap.partition is None else numbers.get(gap.partition, volume.number)
                place = None if gap.offset is None else volume.source.locate(gap.offset)
                self.gaps.append(replace(gap, partition=number, offset=place))

    def join_devices(self) -> None:
        """The Btrfs filesystems on several devices, of which more than one is here."""
        candidates = [volume for volume in self.volumes if volume.holds is None and _kind(volume) == "btrfs"]
        from forensics.btrfs_devices import join, read_device

        found = [read_device(volume.source, volume.number) for volume in candidates]
        by_number = {volume.number: volume for volume in candidates}
        for joined in join([each for each in found if each is not None]):
            kind = f"Btrfs on {len(joined.devices)} devices"
            number = self._add("btrfs", joined.name, None, joined.size, kind, None, joined.uuid, joined)
            for each in joined.members:
                self._holds(by_number[each], f"device of Btrfs {joined.name}, volume {number}")

    def map_groups(self, new: Sequence[Volume]) -> None:
        """The logical volumes whose physical volumes are here."""
        members = [volume for volume in new if _kind(volume) == "lvm2" and volume.holds is None]
        if not members:
            return
        from forensics.lvm import PhysicalVolume, find_logical_volumes, read_physical_volume

        physical: list[PhysicalVolume] = []
        for volume in members:
            try:
                physical.append(read_physical_volume(volume.source, volume.number))
            except CtrForensicsError as error:
                self.gaps.append(Gap("LVM2 physical volume", str(error), volume.number, offset=volume.offset))
        found, gaps = find_logical_volumes(physical)
        if len(found) > MAX_LOGICAL:
            self.gaps.append(
                Gap("LVM2 volume group", f"{len(found)} logical volumes; only the first {MAX_LOGICAL} are looked at")
            )
        for lv in found[:MAX_LOGICAL]:
            source: Source = lv.source or Buffer(lv.name, b"")
            number = self._add("lvm", lv.name, lv.contiguous_at(), lv.size, lv.type, None, lv.uuid, source, lv.error)
            if lv.source is None and lv.error is None:
                self._holds(self.volumes[-1], lv.type)
            if lv.error:
                self.gaps.append(Gap("LVM2 logical volume", f"{lv.name}: {lv.error}", number))
        self.gaps += gaps

    def _add(
        self, scheme: str, name: str, offset: int | None, length: int, kind: str, label: str | None, uuid: str, source: Source,
        error: str | None = None,
    ) -> int:  # fmt: skip
        number = self._next
        self._next += 1
        self.volumes.append(Volume(number, scheme, name, offset, length, kind, label, uuid, source, error))
        return number

    def _lacks_no_table(self, disk: Volume) -> None:
        if disk.scheme == "none":
            self.gaps = [gap for gap in self.gaps if (gap.artefact, gap.offset) != ("partition table", disk.offset)]

    def _holds(self, volume: Volume, what: str) -> None:
        self._replace(replace(volume, holds=what))

    def _replace(self, volume: Volume) -> None:
        place = next(index for index, each in enumerate(self.volumes) if each.number == volume.number)
        self.volumes[place] = volume


def _kind(volume: Volume) -> str | None:
    # who opens the volume as a filesystem will tell what fails
    return magic.identify(Tolerant(volume.source, []).read(0, magic.HEAD_SIZE))
