"""A volume whose bytes stand on others: in runs, each on one device or striped over several."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from forensics.source import Source
from parsers.errors import FormatError


def read_chunks(volume: int, chunk: int, offset: int, size: int, part: Callable[[int, int, int], bytes]) -> bytes:
    """The bytes at `offset` of a volume of this many, that stands in chunks.

    part: of a chunk by its number, from a byte in it on, so many; the last are those of a part that is shorter.
    """
    if offset < 0 or size <= 0 or offset >= volume:
        return b""
    end = min(offset + size, volume)
    parts = []
    while offset < end:
        number, inside = divmod(offset, chunk)
        length = min(chunk - inside, end - offset)
        parts.append(part(number, inside, length))
        if len(parts[-1]) < length:
            break
        offset += length
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a volume from `start` on, over `stripes` in chunks; a stripe is None where its device is missing."""

    start: int
    length: int
    chunk: int
    stripes: tuple[tuple[Source, int] | None, ...]

    def place(self, offset: int) -> tuple[Source, int, int]:
        """The source and offset that hold the byte at `offset` of the run, and how many bytes follow there in one piece."""
        if len(self.stripes) == 1:
            column, inside, room = 0, offset, self.length - offset
        else:
            chunk, rest = divmod(offset, self.chunk)
            row, column = divmod(chunk, len(self.stripes))
            inside, room = row * self.chunk + rest, self.chunk - rest
        stripe = self.stripes[column]
        if stripe is None:
            raise FormatError("lies on a device that is not in this disk image", offset=self.start + offset)
        return stripe[0], stripe[1] + inside, room


@dataclass(frozen=True, slots=True)
class MappedVolume:
    """Runs as a source. Where a device is missing, reading raises FormatError."""

    name: str
    size: int
    runs: tuple[Run, ...]
    starts: tuple[int, ...]

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        parts = []
        while offset < end:
            source, place, room = self._place(offset)
            part = source.read(place, min(room, end - offset))
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image, None where the device is missing."""
        if not 0 <= offset < self.size:
            return None
        try:
            source, place, _ = self._place(offset)
        except FormatError:
            return None
        return source.locate(place)

    def contiguous_at(self) -> int | None:
        """Where in the disk image the whole volume stands in one piece, None where it does not."""
        place = first = self.locate(0)
        for run in self.runs:
            if len(run.stripes) > 1 or place is None or self.locate(run.start) != place:
                return None
            place += run.length
        return first

    def _place(self, offset: int) -> tuple[Source, int, int]:
        run = self.runs[bisect_right(self.starts, offset) - 1]
        try:
            return run.place(offset - run.start)
        except FormatError as error:
            raise FormatError(error.what, self.name, offset) from error
