"""Logical addresses: where in the device each of them stands, and in how many copies."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forensics.source import Source
from parsers import btrfs
from parsers.errors import EvidenceError, FormatError


@dataclass
class LogicalSource:
    """The logical address space of a filesystem as a source. older: ids of devices that were left behind, and are asked last."""

    name: str
    devices: Mapping[int, Source]
    older: frozenset[int] = frozenset()
    chunks: list[btrfs.Chunk] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def use(self, chunks: Sequence[btrfs.Chunk]) -> None:
        """Take these chunks for the address space."""
        self.chunks = sorted({chunk.logical: chunk for chunk in chunks}.values(), key=lambda chunk: chunk.logical)
        self._starts = [chunk.logical for chunk in self.chunks]

    @property
    def size(self) -> int:
        """The end of the address space."""
        return max((chunk.logical + chunk.length for chunk in self.chunks), default=0)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at a logical address. FormatError where they stand in no chunk, or on a device that is not here."""
        return self.copy(offset, size, 0)

    def copy(self, offset: int, size: int, copy: int) -> bytes:
        """As read, from the copy of that number, counted among those that are here."""
        parts = []
        while size > 0:
            ways, room = self.places(offset)
            if copy >= len(ways):
                what = "has no other copy" if ways else f"lies on {self._missing(offset)}, not in the evidence"
                raise FormatError(f"logical address {offset} {what}", self.name)
            length = min(size, room)
            part = self._combined(ways[copy], length, offset)
            parts.append(part)
            offset, size = offset + length, size - length
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image of the first copy that is here; None where it stands nowhere as it is."""
        try:
            ways, _ = self.places(offset)
        except FormatError:
            return None
        whole = next((way for way in ways if len(way) == 1), None)
        return None if whole is None else self.devices[whole[0][0]].locate(whole[0][1])

    def places(self, offset: int) -> tuple[list[tuple[tuple[int, int], ...]], int]:
        """The ways to read a byte, each as places (device, byte on it) whose sum it is, and how many bytes follow it there."""
        index = bisect_right(self._starts, offset) - 1
        chunk = self.chunks[index] if index >= 0 else None
        if chunk is None or offset >= chunk.logical + chunk.length:
            raise FormatError(f"logical address {offset} is in no chunk", self.name)
        inside = offset - chunk.logical
        ways, at, room = _stripes(chunk, inside)
        found = [tuple((chunk.stripes[n][0], chunk.stripes[n][1] + at) for n in way) for way in ways]
        here = [way for way in found if all(device in self.devices for device, _ in way)]
        here.sort(key=lambda way: any(device in self.older for device, _ in way))
        return here, min(room, chunk.length - inside)

    def _combined(self, way: tuple[tuple[int, int], ...], length: int, offset: int) -> bytes:
        total = 0
        for device, at in way:
            source = self.devices[device]
            part = source.read(at, length) if at + length <= source.size else b""
            if len(part) < length:
                raise FormatError(f"logical address {offset} or one behind it lies behind the end of the device", self.name)
            if len(way) == 1:
                return part
            total ^= int.from_bytes(part, "little")
        return total.to_bytes(length, "little")

    def _missing(self, offset: int) -> str:
        chunk = self.chunks[bisect_right(self._starts, offset) - 1]
        ways, _, _ = _stripes(chunk, offset - chunk.logical)
        missing = sorted({chunk.stripes[n][0] for n in ways[0]} - set(self.devices))
        return f"device {', '.join(map(str, missing))}"


def _stripes(chunk: btrfs.Chunk, inside: int) -> tuple[list[tuple[int, ...]], int, int]:
    """The ways to read a chunk's byte, each as stripes whose sum it is, the byte's place in each, and how many bytes follow."""
    count, kind = len(chunk.stripes), chunk.type
    if not kind & (btrfs.RAID0 | btrfs.RAID10 | btrfs.RAID5 | btrfs.RAID6):
        return [(n,) for n in range(count if kind & btrfs.MIRRORED else 1)], inside, chunk.length - inside
    number, rest = divmod(inside, chunk.stripe_len)
    room = chunk.stripe_len - rest
    if kind & btrfs.RAID10:
        row, column = divmod(number, count // chunk.sub_stripes)
        first = column * chunk.sub_stripes
        return [(n,) for n in range(first, first + chunk.sub_stripes)], row * chunk.stripe_len + rest, room
    data = count - (1 if kind & btrfs.RAID5 else 2 if kind & btrfs.RAID6 else 0)
    if data < 1:
        raise FormatError(f"a chunk of {count} stripes, of which none has data")
    row, column = divmod(number, data)
    at = row * chunk.stripe_len + rest
    if not kind & (btrfs.RAID5 | btrfs.RAID6):
        return [(column,)], at, room
    others = tuple((n + row) % count for n in range(data + 1) if n != column)  # the last of them is the parity
    return [((column + row) % count,), others], at, room


@dataclass(frozen=True, slots=True)
class NodeReader:
    """Reads tree nodes, each held against its checksum; where one copy is damaged, another serves."""

    logical: LogicalSource
    superblock: btrfs.Superblock

    def node(self, address: int, level: int, generation: int | None = None) -> bytes:
        """The node at a logical address. FormatError where no copy of it is whole."""
        problem: FormatError | EvidenceError | None = None
        copy = 0
        while True:
            try:
                data = self.logical.copy(address, self.superblock.node, copy)
            except (FormatError, EvidenceError) as error:
                raise problem or error from None
            try:
                self._check(data, address, level, generation)
            except FormatError as error:
                problem = problem or error
                copy += 1
                continue
            return data

    def _check(self, data: bytes, address: int, level: int, generation: int | None) -> None:
        fields = btrfs.node_header.fields(data)
        if not btrfs.is_whole(self.superblock.checksum, data):
            raise FormatError(f"the node at logical address {address} has a wrong checksum", self.logical.name)
        if fields["bytenr"] != address or fields["fsid"] != self.superblock.fsid or fields["level"] != level:
            raise FormatError(f"at logical address {address} stands no node of level {level}", self.logical.name)
        if generation is not None and fields["generation"] != generation:
            raise FormatError(f"the node at logical address {address} is of another transaction", self.logical.name)
        size = btrfs.key_pointer.size if level else btrfs.leaf_item.size
        if fields["nritems"] * size > len(data) - btrfs.node_header.size:
            raise FormatError(f"the node at logical address {address} has {fields['nritems']} items", self.logical.name)
