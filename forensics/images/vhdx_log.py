"""A VHDX file as it is once its log has been replayed; the file itself stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

from forensics.images.files import EvidenceFile
from forensics.text import counted
from parsers import vhdx
from parsers.errors import FormatError

MAX_ZEROS = 1024
"""Runs of zeros that a log may write; what is not one of a few is no real one."""


class ReplayedFile:
    """A file with what its log writes over it, and where that reaches beyond the end, longer."""

    def __init__(self, file: EvidenceFile, writes: Sequence[vhdx.Write]) -> None:
        self._file = file
        self._sectors: dict[int, bytes] = {}
        self._zeros: list[tuple[int, int]] = []
        for write in writes:
            if write.data is not None:
                self._sectors[write.offset] = write.data
            else:
                self._clear(write.offset, write.offset + write.length)
        self.size = max([file.size, *(place + vhdx.SECTOR for place in self._sectors)])

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only at the end."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        data = bytearray(self._file.read(offset, end - offset).ljust(end - offset, b"\0"))
        for start, stop in self._zeros:
            first, last = max(start, offset), min(stop, end)
            if first < last:
                data[first - offset : last - offset] = bytes(last - first)
        for place in range(offset // vhdx.SECTOR * vhdx.SECTOR, end, vhdx.SECTOR):
            if place in self._sectors:
                first, last = max(place, offset), min(place + vhdx.SECTOR, end)
                data[first - offset : last - offset] = self._sectors[place][first - place : last - place]
        return bytes(data)

    def _clear(self, start: int, end: int) -> None:
        if len(self._zeros) == MAX_ZEROS:
            raise FormatError(f"a log that writes more than {MAX_ZEROS} runs of zeros")
        self._zeros.append((start, end))
        for place in [place for place in self._sectors if start <= place < end]:
            del self._sectors[place]


def replay_log(file: EvidenceFile) -> tuple[EvidenceFile | ReplayedFile, str | None]:
    """The file with its log replayed in memory, and how many entries that took; the file itself where it was closed.

    FormatError where there is a log that cannot be replayed.
    """
    log = vhdx.open_log(file.read(0, vhdx.HEADERS_SIZE))
    if log is None:
        return file, None
    entries = vhdx.replayable(log, file.read(log.offset, log.length))
    if not entries:
        raise FormatError("no entry of it is whole", offset=log.offset)
    if entries[-1].flushed_size > file.size:
        raise FormatError(f"the file was {entries[-1].flushed_size} bytes long when it was written", offset=log.offset)
    return ReplayedFile(
        file, [write for entry in entries for write in entry.writes]
    ), f"{counted(len(entries), 'entry', 'entries')} replayed in memory"
