"""Ex01 disk images: their segment files, and the chunks in them, each verified against its own checksum.

libewf's Python binding gives other bytes for a damaged chunk and does not tell, as of E01; so this reader is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forensics.images.chunks import ChunkCache
from forensics.images.files import EvidenceFile
from parsers import ewf2
from parsers.errors import EvidenceError, FormatError, UnsupportedFormat
from parsers.ewf import Media

MAX_SECTIONS = 1 << 20
MAX_TABLE = 256 << 20


@dataclass
class _Index:
    """What the sections of the segment files say. tables: with the number of the file that each stands in."""

    texts: dict[int, dict[str, str]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    tables: list[tuple[int, ewf2.ChunkTable]] = field(default_factory=list)


class Ewf2Media:
    """The media in a set of segment files."""

    def __init__(self, files: Sequence[EvidenceFile], index: _Index, media: Media, compression: int) -> None:
        self.format, self.files, self.details = "Ex01", tuple(files), index.details
        self.problems: list[str] = []
        self.size, self._chunk_size, self._compression = media.size, media.chunk_size, compression
        tables = [table for _, table in index.tables]
        self._file = np.repeat([number for number, _ in index.tables], [len(table.offsets) for table in tables])
        self._offset = np.concatenate([table.offsets for table in tables])
        self._length = np.concatenate([table.sizes for table in tables])
        self._flags = np.concatenate([table.flags for table in tables])
        missing = media.chunks - len(self._offset)
        if missing > 0:
            self.problems.append(f"{missing} of {media.chunks} chunks are in none of the segment files; is the last one missing?")
        self._cache = ChunkCache(self._chunk_size, self._unpack)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; EvidenceError where a chunk is damaged or missing."""
        return self._cache.read(offset, size)

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be zero because its chunk is a pattern of zeros."""
        number = offset // self._chunk_size
        both = ewf2.COMPRESSED | ewf2.PATTERN
        while number < len(self._offset) and self._flags[number] & both == both and not self._offset[number]:
            number += 1
        return min(max(offset, number * self._chunk_size), self.size)

    def close(self) -> None:
        """Close the segment files."""
        for file in self.files:
            file.close()

    def _unpack(self, number: int) -> bytes:
        start = number * self._chunk_size
        size = min(self._chunk_size, self.size - start)
        if number >= len(self._offset):
            raise EvidenceError(f"{self.files[-1].path}: byte {start} of the disk is in none of the segment files")
        file, flags, problem = self.files[self._file[number]], int(self._flags[number]), ""
        if flags & ewf2.COMPRESSED and flags & ewf2.PATTERN:
            stored = self._offset[number].tobytes()
        else:
            stored = file.read(int(self._offset[number]), min(int(self._length[number]), 2 * self._chunk_size + 4096))
        for expected in sorted({size, self._chunk_size}):  # the last chunk may have been filled up
            try:
                return ewf2.unpack_chunk(stored, flags, self._compression, expected)[:size]
            except FormatError as error:
                problem = error.what
        raise EvidenceError(f"{file.path}: bytes {start} to {start + size} of the disk cannot be read: {problem}")


def open_ewf2(first: EvidenceFile) -> Ewf2Media:
    """The media of which `first` is a segment file, any of them."""
    files: list[EvidenceFile] = []
    try:
        head = ewf2.parse_file_header(first.read(0, ewf2.file_header.size))
        for path in _segment_paths(first, head.number):
            files.append(first if path == first.path else EvidenceFile(path))
        index = _Index()
        for number, file in enumerate(files):
            segment = ewf2.parse_file_header(file.read(0, ewf2.file_header.size))
            if segment.number != number + 1 or segment.set_identifier != head.set_identifier:
                raise EvidenceError(f"{file.path}: is not segment {number + 1} of its set; one is missing or misnamed")
            _read_segment(index, number, file, segment)
        device, case = index.texts.get(ewf2.DEVICE), index.texts.get(ewf2.CASE)
        if device is None or case is None or not index.tables:
            raise FormatError("what the disk was, or where its chunks are, is not told")
        return Ewf2Media(files, index, ewf2.parse_media(device, case, head.set_identifier), head.compression)
    except BaseException as error:
        for file in files:
            if file is not first:
                file.close()
        if isinstance(error, UnsupportedFormat):
            raise EvidenceError(f"{(files or [first])[-1].path}: {error}") from error
        if isinstance(error, FormatError):
            raise EvidenceError(f"{(files or [first])[-1].path}: {error}; copy the file again") from error
        raise


def _read_segment(index: _Index, number: int, file: EvidenceFile, segment: ewf2.Segment) -> None:
    """Read a segment file's sections, which are found from its end."""
    sections = []
    offset = file.size - ewf2.section_descriptor.size
    while offset:
        sections.append(ewf2.parse_section(file.read(max(offset, 0), ewf2.section_descriptor.size), offset))
        offset = sections[-1].previous
        if len(sections) > MAX_SECTIONS:
            raise FormatError(f"more than {MAX_SECTIONS} sections")
    for section in reversed(sections):
        if section.type in (ewf2.DEVICE, ewf2.CASE) and section.type not in index.texts:
            values = ewf2.parse_text(file.read(section.data, min(section.size, ewf2.MAX_TEXT_SECTION)), segment.compression)
            index.texts[section.type] = values
            index.details |= {plain: values[tag] for tag, plain in ewf2.FIELDS.items() if values.get(tag, "").strip()}
        elif section.type == ewf2.TABLE:
            table = ewf2.parse_table(file.read(section.data, min(section.size, MAX_TABLE)), section.data)
            known = sum(len(each.offsets) for _, each in index.tables)
            if table.first != known:
                raise FormatError(f"a sector table of chunk {table.first} on, behind {known} chunks", offset=section.data)
            index.tables.append((number, table))
        elif section.type in (ewf2.MD5, ewf2.SHA1):
            value = ewf2.parse_hash(section.type, file.read(section.data, 64))
            if value is not None:
                index.details["stored md5" if section.type == ewf2.MD5 else "stored sha1"] = value


def _segment_paths(first: EvidenceFile, number: int) -> list[Path]:
    """All segment files beside one of them: .Ex01 to .Ex99, .ExAA to .ExZZ, .EyAA ...; the file alone if named otherwise."""
    suffix = first.path.suffix[1:]
    if suffix.lower() != _suffix(number).lower():
        return [first.path]
    small = suffix[1:].islower() and suffix[0].islower()
    paths = []
    for each in range(1, 0x10000):
        path = first.path.with_suffix("." + (_suffix(each).lower() if small else _suffix(each)))
        if not path.exists():
            break
        paths.append(path)
    return paths if first.path in paths else [first.path]


def _suffix(number: int) -> str:
    if number <= 99:
        return f"Ex{number:02d}"
    letter, rest = divmod(number - 100, 676)
    return f"E{chr(ord('x') + min(letter, 2))}{chr(ord('A') + rest // 26)}{chr(ord('A') + rest % 26)}"
