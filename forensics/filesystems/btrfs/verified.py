"""Contents by logical address, each sector held against its checksum; where one copy is wrong, another serves.

As the kernel does: what is right in no copy cannot be read. Source: Linux 6.12, fs/btrfs/bio.c (btrfs_check_read_bio).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from forensics.filesystems.btrfs.checksums import Checksums
from forensics.filesystems.btrfs.chunks import LogicalSource
from parsers.errors import EvidenceError, FormatError

MAX_TOLD = 1 << 16
Way = tuple[tuple[int, int], ...]
"""Places (device, byte on it) whose sum is a byte, as LogicalSource.places gives them."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A sector that was read from another copy than the first. bad: the copies that were wrong, and why the first one was."""

    address: int
    bad: tuple[Way, ...]
    good: Way
    why: str


@dataclass
class VerifiedSource:
    """The logical address space, of which contents are verified. replaced: by address; more than MAX_TOLD are counted only."""

    logical: LogicalSource
    checksums: Checksums
    replaced: dict[int, Replaced] = field(default_factory=dict)
    untold: int = 0
    _lock: Lock = field(default_factory=Lock)

    @property
    def name(self) -> str:
        """The filesystem's."""
        return self.logical.name

    @property
    def size(self) -> int:
        """The end of the address space."""
        return self.logical.size

    @property
    def findings(self) -> int:
        """How much there is to tell so far; grows with each thing more."""
        return len(self.replaced) + self.untold + len(self.checksums.problems())

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image of the first copy that is here."""
        return self.logical.locate(offset)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at a logical address. FormatError, with the sector's address, where no copy of one of them is right."""
        if size <= 0:
            return b""
        sector = self.checksums.sector
        start, end = offset - offset % sector, -(-(offset + size) // sector) * sector
        tables = self.checksums.between(start, end)
        try:
            data = self.logical.read(start, end - start)
            bad: Sequence[int] = self.checksums.wrong(data, start, tables)
        except (FormatError, EvidenceError):
            data, bad = bytes(end - start), range(start, end, sector)
        if bad:
            mended = bytearray(data)
            for at in bad:
                mended[at - start : at - start + sector] = self._sector(at)
            data = bytes(mended)
        return data[offset - start : offset - start + size]

    def _sector(self, address: int) -> bytes:
        """A sector from the first copy of it that can be read and is right."""
        size = self.checksums.sector
        table = self.checksums.between(address, address + size)
        ways, _ = self.logical.places(address)
        bad: list[Way] = []
        first: FormatError | EvidenceError | None = None
        for copy, way in enumerate(ways):
            try:
                data = self.logical.copy(address, size, copy)
                if self.checksums.wrong(data, address, table):
                    raise FormatError("the checksum is wrong", self.name, address)
            except (FormatError, EvidenceError) as error:
                bad.append(way)
                first = first or error
                continue
            if first is not None:
                self._note(Replaced(address, tuple(bad), way, first.what if isinstance(first, FormatError) else str(first)))
            return data
        if first is None:
            return self.logical.read(address, size)  # which tells what is missing
        if len(bad) > 1 and isinstance(first, FormatError):
            raise FormatError(f"{first.what} in all {len(bad)} copies", self.name, address)
        raise first

    def _note(self, found: Replaced) -> None:
        with self._lock:
            if len(self.replaced) < MAX_TOLD or found.address in self.replaced:
                self.replaced[found.address] = found
            else:
                self.untold += 1
