"""E01 disk images: their segment files, and the chunks in them, each verified against its own checksum.

libewf's Python binding gives other bytes for a damaged chunk and does not tell (version 20260924: three chunks of three), so
this reader is ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.images.chunks import LARGE, ChunkCache, cut
from forensics.images.files import EvidenceFile
from parsers import ewf
from parsers.errors import EvidenceError, FormatError

MAX_SECTIONS = 1 << 20
MAX_TABLE = 256 << 20
_SMALL = 1 << 20
_FEW = 1 << 10
"""Bytes that a chunk of zeros may be packed into, to be known again."""
_TOGETHER = 1 << 13


@dataclass
class _Index:
    """What the sections of the segment files say.

    places: for each run of chunks, the segment file's number, and per chunk its offset there, its length, and whether it is a
    zlib stream. damaged: the table whose copy has yet to be tried.
    """

    media: ewf.Media | None = None
    details: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    places: list[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = field(default_factory=list)
    sectors: ewf.Section | None = None
    damaged: ewf.Section | None = None


class EwfMedia:
    """The media in a set of segment files."""

    def __init__(self, files: Sequence[EvidenceFile], index: _Index, media: ewf.Media) -> None:
        self.format, self.files, self.details, self.problems = "E01", tuple(files), index.details, index.problems
        self.size, self._chunk_size = media.size, media.chunk_size
        runs = index.places
        self._file = _joined([np.full(len(offsets), number) for number, offsets, _, _ in runs], np.int64)
        self._offset = _joined([offsets for _, offsets, _, _ in runs], np.int64)
        # a chunk is hardly longer than what it holds, whatever a table says
        self._length = np.clip(_joined([lengths for _, _, lengths, _ in runs], np.int64), 0, 2 * self._chunk_size + 4096)
        self._compressed = _joined([flags for _, _, _, flags in runs], np.bool_)
        missing = media.chunks - len(self._file)
        if missing > 0:
            self.problems.append(f"{missing} of {media.chunks} chunks are in none of the segment files; is the last one missing?")
        self._cache = ChunkCache(self._chunk_size, self._unpack)
        self._zeros = b""

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; EvidenceError where a chunk is damaged or missing."""
        return self._cache.read(offset, size) if size <= LARGE else self._read_many(offset, size)

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be zero because its chunk is stored as others of zeros are."""
        number = offset // self._chunk_size
        while number < len(self._file) and (alike := self._stored_as_zeros(number)):
            number += alike
        return min(max(offset, number * self._chunk_size), self.size)

    def _stored_as_zeros(self, number: int) -> int:
        """How many chunks from this one on are stored as the first chunk of zeros that was met."""
        if not self._zeros and self._length[number] <= _FEW:
            with contextlib.suppress(EvidenceError):
                self._unpack(number)
        if not self._zeros or self._length[number] != len(self._zeros):
            return 0
        part = slice(number, number + _TOGETHER)
        expected = self._offset[number] + len(self._zeros) * np.arange(len(self._offset[part]))
        differ = (self._file[part] != self._file[number]) | (self._offset[part] != expected) | ~self._compressed[part]
        count = int(np.argmax(differ)) if differ.any() else len(differ)
        stored = self.files[self._file[number]].read(int(self._offset[number]), count * len(self._zeros))
        if stored == count * self._zeros:
            return count
        return next((n for n in range(count) if not stored.startswith(self._zeros, n * len(self._zeros))), 0)

    def close(self) -> None:
        """Close the segment files."""
        for file in self.files:
            file.close()

    def _read_many(self, offset: int, size: int) -> bytes:
        """As `read`, but what chunks are stored as is read at once, and none is kept."""
        first, last = offset // self._chunk_size, (offset + size - 1) // self._chunk_size
        files, starts, lengths = (column[first : last + 1] for column in (self._file, self._offset, self._length))
        parts: list[bytes] = []
        if len(files) == last + 1 - first and (files == files[0]).all() and (starts[1:] == starts[:-1] + lengths[:-1]).all():
            together = memoryview(self.files[files[0]].read(int(starts[0]), int(lengths.sum())))
            places = (starts - starts[0]).tolist()
            for number, place, length in zip(range(first, last + 1), places, lengths.tolist(), strict=True):
                parts.append(self._unpack(number, together[place : place + length]))
        else:
            parts += [self._unpack(number) for number in range(first, last + 1)]
        return cut(parts, offset - first * self._chunk_size, size)

    def _unpack(self, number: int, stored: bytes | memoryview | None = None) -> bytes:
        """A chunk, from what it is stored as, where that was read already."""
        start = number * self._chunk_size
        size = min(self._chunk_size, self.size - start)
        if number >= len(self._file):
            raise EvidenceError(f"{self.files[-1].path}: byte {start} of the disk is in none of the segment files")
        file = self.files[self._file[number]]
        if stored is None:
            stored = file.read(int(self._offset[number]), int(self._length[number]))
        if stored == self._zeros:
            return bytes(size)
        problem = ""
        for expected in sorted({size, self._chunk_size}):  # the last chunk may have been filled up
            try:
                chunk = ewf.parse_chunk(stored, bool(self._compressed[number]), expected)
                if len(stored) <= _FEW and self._compressed[number] and size == self._chunk_size and not any(chunk):
                    self._zeros = bytes(stored)
                return chunk[:size]
            except FormatError as error:
                problem = error.what
        raise EvidenceError(f"{file.path}: bytes {start} to {start + size} of the disk cannot be read: {problem}")


def open_ewf(first: EvidenceFile) -> EwfMedia:
    """The media of which `first` is a segment file, any of them."""
    files: list[EvidenceFile] = []
    try:
        for path in _segment_paths(first):
            files.append(first if path == first.path else EvidenceFile(path))
        index = _Index()
        for number, file in enumerate(files):
            _check_number(file, number + 1)
            try:
                _read_segment(index, number, file)
            except FormatError as error:
                # chunks are numbered through: what follows a break in an earlier file would stand at the wrong place
                if not index.places or number + 1 < len(files):
                    raise
                index.problems.append(f"{file.path.name}: {error}; nothing behind that place is read, copy the file again")
        if index.media is None:
            raise EvidenceError(f"{files[0].path}: what the disk was is not told any more; copy the file again")
        return EwfMedia(files, index, index.media)
    except BaseException as error:
        for file in files:
            if file is not first:
                file.close()
        if isinstance(error, FormatError):
            raise EvidenceError(f"{(files or [first])[-1].path}: {error}; copy the file again") from error
        raise


def _check_number(file: EvidenceFile, expected: int) -> None:
    found = ewf.parse_file_header(file.read(0, ewf.file_header.size))
    if found != expected:
        raise EvidenceError(f"{file.path}: is segment {found} of its set, not {expected}; one is missing or misnamed")


def _read_segment(index: _Index, number: int, file: EvidenceFile) -> None:
    offset, size = ewf.file_header.size, ewf.section_descriptor.size
    index.sectors = index.damaged = None
    for _ in range(MAX_SECTIONS):
        section = ewf.parse_section(file.read(offset, size), offset)
        if index.damaged is not None and section.type != "table2":
            _take_copy(index, number, file, None)
        _read_section(index, number, file, section)
        if section.type in ("next", "done"):
            return
        if section.next_offset < section.data:
            raise FormatError(f"section {section.type!r} leads back to byte {section.next_offset}", offset=offset)
        offset = section.next_offset
    raise FormatError(f"more than {MAX_SECTIONS} sections")


def _read_section(index: _Index, number: int, file: EvidenceFile, section: ewf.Section) -> None:
    if section.type == "sectors":
        index.sectors = section
    elif section.type == "table":
        index.damaged = None if _add_table(index, number, file, section, strict=True) else section
    elif section.type == "table2":
        _take_copy(index, number, file, section)
    elif section.type in ("volume", "disk", "data"):
        _set_media(index, file, section)
    elif section.type in ("hash", "digest"):
        for name, value in ewf.parse_hashes(section.type, file.read(section.data, min(section.size, _SMALL))).items():
            index.details[f"stored {name}"] = value
    elif section.type in ("header", "header2"):
        try:
            index.details |= ewf.parse_header(section.type, file.read(section.data, min(section.size, _SMALL)))
        except FormatError as error:
            index.problems.append(f"{file.path.name}: {error.what}")


def _take_copy(index: _Index, number: int, file: EvidenceFile, copy: ewf.Section | None) -> None:
    """Use table2 where the table is damaged; where no copy is whole, what entries are left: each chunk has a checksum."""
    damaged, index.damaged = index.damaged, None
    copies = [] if copy is None else [copy]
    if damaged is None or any(_add_table(index, number, file, each, strict=True) for each in copies):
        return
    table = f"the chunk table at byte {damaged.data}"
    problem = f"{table} is damaged, and it has no copy" if copy is None else f"both copies of {table} are damaged"
    index.problems.append(f"{file.path.name}: {problem}")
    if not any(_add_table(index, number, file, each, strict=False) for each in (damaged, *copies)):
        raise FormatError(problem, offset=damaged.data)


def _set_media(index: _Index, file: EvidenceFile, section: ewf.Section) -> None:
    try:
        media = ewf.parse_media(file.read(section.data, min(section.size, _SMALL)))
    except FormatError as error:
        index.problems.append(f"{file.path.name}: {error.what}")
        return
    if index.media is not None and index.media.set_identifier != media.set_identifier:
        raise EvidenceError(f"{file.path}: belongs to another disk image than the segment before it")
    index.media = index.media or media


def _add_table(index: _Index, number: int, file: EvidenceFile, section: ewf.Section, *, strict: bool) -> bool:
    """Take the entries of a chunk table; False where it is damaged."""
    try:
        table = ewf.parse_table(file.read(section.data, min(section.size, MAX_TABLE)), section.data, strict=strict)
    except FormatError:
        return False
    if not len(table.offsets):
        return True
    sectors = index.sectors
    # the oldest files have the chunks behind the table, in its own section
    apart = sectors is not None and sectors.data <= table.offsets[0] < sectors.data + sectors.size
    end = sectors.data + sectors.size if sectors is not None and apart else section.data + section.size
    index.places.append((number, table.offsets, np.diff(table.offsets, append=end), table.compressed))
    return True


def _joined(parts: list[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _segment_paths(first: EvidenceFile) -> list[Path]:
    """All segment files beside one of them, .E01 to .E99, .EAA to .EZZ, .FAA ...; the file alone if it is named otherwise."""
    suffix = first.path.suffix[1:]
    if len(suffix) != 3 or not suffix[0].isalpha():
        return [first.path]
    number = ewf.parse_file_header(first.read(0, ewf.file_header.size))
    # the first letter of .E01 has moved on by one in the 776th file, .FAA
    letter = chr(ord(suffix[0].upper()) - max(number - 100, 0) // 676)
    paths = []
    for each in range(1, 0x10000):
        name = _suffix(letter, each)
        path = first.path.with_suffix("." + (name if suffix[0].isupper() else name.lower()))
        if not path.exists():
            break
        paths.append(path)
    return paths if first.path in paths else [first.path]


def _suffix(letter: str, number: int) -> str:
    if number <= 99:
        return f"{letter}{number:02d}"
    passed, rest = divmod(number - 100, 676)
    return chr(ord(letter) + passed) + chr(ord("A") + rest // 26) + chr(ord("A") + rest % 26)
