"""A run of bytes that can be read at any offset: a disk image, a partition, a logical volume, a file inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Source(Protocol):
    """A read-only run of bytes, and where each of them stands in the disk image."""

    @property
    def name(self) -> str:
        """What people call it: the disk image's file name, `p2`, `vg0/root`."""
        ...

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only where the source ends. Raises EvidenceError on a failing device."""
        ...

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image that holds `offset`, or None where no single one does."""
        ...


@dataclass(frozen=True)
class Slice:
    """A contiguous part of another source: a partition, a linear segment."""

    parent: Source
    start: int
    size: int
    name: str

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset` of the slice; nothing outside it is ever returned."""
        if offset < 0 or offset >= self.size or size <= 0:
            return b""
        return self.parent.read(self.start + offset, min(size, self.size - offset))

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image that holds `offset`."""
        return self.parent.locate(self.start + offset)


@dataclass(frozen=True)
class Buffer:
    """Bytes held in memory, for data that stands nowhere on the disk as it is read."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        return self.data[offset : offset + size] if offset >= 0 else b""

    def locate(self, offset: int) -> int | None:
        """Always None: these bytes were made, not found."""
        return None
