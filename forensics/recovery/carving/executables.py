"""Programs in unallocated space that nothing names any more: ELF files, and scripts that begin with `#!`.

An ELF file's tables tell how long it is. That it lies in one piece is shown by its section table: where it stands at its place,
with a section of names that has its own name in it, what is before it is most likely the file, though blocks between may be
another's. A script ends at the first byte that no text has, which the kernel's padding of its last block is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from forensics.recovery.carving.scan import ELF, SCRIPT, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.files.extents import Extents
from parsers.elf import MAX_SECTIONS, ElfHeader, file_size, names_section, parse_elf_header
from parsers.errors import EvidenceError, FormatError

MOST = 20_000  # of one volume
MAX_SIZE = 1 << 30
MAX_SCRIPT = 1 << 20
MAX_READ = 16 << 30  # bytes of all that are hashed: many headers can claim the same blocks
MAX_NAMES = 1 << 20
HEAD, PIECE = 64, 1 << 20

_SHEBANG = re.compile(rb"#![ \t]*/[\w./+-]{1,200}(?:[ \t][^\n\0]{0,400})?\r?\n")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Executable:
    """A program that was carved. start: in the volume's source. sha256: None where nothing shows that it lies in one piece."""

    start: int
    size: int
    sha256: str | None


def find_executables(hits: Hits, known: Extents | None = None) -> Iterator[Executable]:
    """The programs in one volume, by place; at most MOST + 1. known: of the deleted files that are told of."""
    left, count = MAX_READ, 0
    kinds = [(place, _elf) for place in hits.of(ELF)] + [(place, _script) for place in hits.of(SCRIPT)]
    for place, read in sorted(kinds, key=lambda each: each[0]):
        run = hits.space.run(place)
        if run is None or (known is not None and known.at(place) is not None):
            continue
        found = read(hits.space, place, run[1], left)
        if found is not None:
            left -= found.size if found.sha256 is not None else 0
            count += 1
            yield found
            if count > MOST:
                return


def _elf(space: Space, start: int, end: int, left: int) -> Executable | None:
    try:
        header = parse_elf_header(space.source.read(start, HEAD))
        segments = _table(space, start, end, header.segment_table, header.segment_size * header.segment_count)
        sections = _table(space, start, end, header.section_table, header.section_size * min(header.section_count, MAX_SECTIONS))
        proven = _in_one_piece(space, start, header, sections)
        size = file_size(header, segments, sections if proven else b"")
        whole = proven and start + size <= end and size <= left
    except (FormatError, EvidenceError):
        return None
    if (not segments and not sections) or not HEAD < size <= MAX_SIZE:
        return None
    return Executable(start, size, _sha256(space, start, size) if whole else None)


def _table(space: Space, start: int, end: int, offset: int | None, size: int) -> bytes:
    """A table of a file, nothing where it does not lie in the run."""
    at = start + (offset or 0)
    return space.source.read(at, size) if offset is not None and size > 0 and at + size <= end else b""


def _in_one_piece(space: Space, start: int, header: ElfHeader, sections: bytes) -> bool:
    """Whether the section table stands where the header says, and the names where that says."""
    place = names_section(header, sections)
    if place is None or not 0 < place[1] <= MAX_NAMES:
        return False
    names = space.source.read(start + place[0], place[1])
    return names.startswith(b"\0") and b"\0.shstrtab\0" in names


def _script(space: Space, start: int, end: int, left: int) -> Executable | None:
    try:
        data = space.source.read(start, min(MAX_SCRIPT, end - start))
    except EvidenceError:
        return None
    if _SHEBANG.match(data) is None:
        return None
    stop = _NO_TEXT.search(data)
    size = stop.start() if stop is not None else len(data)
    padded = stop is not None and not data[size : size + -size % space.block_size].strip(b"\0")
    whole = size <= left and (padded or (stop is not None and size % space.block_size == 0))
    return Executable(start, size, hashlib.sha256(data[:size]).hexdigest() if whole else None)


def _sha256(space: Space, start: int, size: int) -> str | None:
    digest = hashlib.sha256()
    try:
        for at in range(start, start + size, PIECE):
            digest.update(space.source.read(at, min(PIECE, start + size - at)))
    except EvidenceError:
        return None
    return digest.hexdigest()
