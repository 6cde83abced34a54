"""What an ELF file's headers tell: enough to know a program from a library, a packed and an unstripped one, and how long it is.

Source: System V ABI, gABI 4.1, chapters 4 and 5; glibc 2.41 elf/elf.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from construct import Bytes, Int8ub, Int8ul, Int16ub, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

MAGIC = b"\x7fELF"
MAX_SECTIONS = 4096  # of a real file; more are not looked through
SHT_NULL, SHT_SYMTAB, SHT_NOBITS = 0, 2, 8
_TYPES = {1: "object file", 2: "program", 3: "library or program", 4: "core dump"}
_MACHINES = {3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "S/390", 40: "ARM", 62: "x86-64", 183: "AArch64",
             243: "RISC-V", 258: "LoongArch"}  # fmt: skip


def _layout(byte: Any, half: Any, word: Any, address: Any) -> Layout:
    return Layout(Struct(
        "ei_magic" / Bytes(4), "ei_class" / byte, "ei_data" / byte, "ei_version" / byte, "ei_osabi" / byte, "ei_pad" / Bytes(8),
        "e_type" / half, "e_machine" / half, "e_version" / word, "e_entry" / address, "e_phoff" / address, "e_shoff" / address,
        "e_flags" / word, "e_ehsize" / half, "e_phentsize" / half, "e_phnum" / half, "e_shentsize" / half, "e_shnum" / half,
        "e_shstrndx" / half,
    ))  # fmt: skip


def _tables(word: Any, address: Any, flags_first: bool) -> tuple[Layout, Layout]:
    """A segment's header, of which the flags have another place in either class, and a section's."""
    flags = ("p_flags" / word,)
    segment = Struct(
        "p_type" / word, *(flags if flags_first else ()), "p_offset" / address, "p_vaddr" / address, "p_paddr" / address,
        "p_filesz" / address, "p_memsz" / address, *(() if flags_first else flags), "p_align" / address,
    )  # fmt: skip
    section = Struct(
        "sh_name" / word, "sh_type" / word, "sh_flags" / address, "sh_addr" / address, "sh_offset" / address,
        "sh_size" / address, "sh_link" / word, "sh_info" / word, "sh_addralign" / address, "sh_entsize" / address,
    )  # fmt: skip
    return Layout(segment), Layout(section)


_TABLES = {
    (32, True): _tables(Int32ul, Int32ul, False),
    (64, True): _tables(Int32ul, Int64ul, True),
    (32, False): _tables(Int32ub, Int32ub, False),
    (64, False): _tables(Int32ub, Int64ub, True),
}  # by bits and little_endian
_HEADERS = {
    (1, 1): _layout(Int8ul, Int16ul, Int32ul, Int32ul),
    (2, 1): _layout(Int8ul, Int16ul, Int32ul, Int64ul),
    (1, 2): _layout(Int8ub, Int16ub, Int32ub, Int32ub),
    (2, 2): _layout(Int8ub, Int16ub, Int32ub, Int64ub),
}  # by ei_class and ei_data


@dataclass(frozen=True, slots=True)
class ElfHeader:
    """type, machine: in words. section_table, segment_table: their offsets in the file, None where there is none.

    section_names: the number of the section that holds the names of all.
    """

    type: str
    machine: str
    bits: int
    little_endian: bool
    section_table: int | None
    section_size: int
    section_count: int
    section_names: int = 0
    segment_table: int | None = None
    segment_size: int = 0
    segment_count: int = 0


def parse_elf_header(data: bytes) -> ElfHeader:
    """Raises FormatError where the bytes begin no ELF file."""
    layout = _HEADERS.get((data[4], data[5])) if data.startswith(MAGIC) and len(data) >= 6 else None
    if layout is None:
        raise FormatError("no ELF identification", "ELF header", 0)
    try:
        header = layout.fields(data)
    except struct.error as error:
        raise FormatError(f"cut off after {len(data)} bytes", "ELF header", len(data)) from error
    return ElfHeader(
        type=_TYPES.get(header["e_type"], f"type {header['e_type']}"),
        machine=_MACHINES.get(header["e_machine"], f"machine {header['e_machine']}"),
        bits=32 * header["ei_class"],
        little_endian=header["ei_data"] == 1,
        section_table=header["e_shoff"] or None,
        section_size=header["e_shentsize"],
        section_count=header["e_shnum"],
        section_names=header["e_shstrndx"],
        segment_table=header["e_phoff"] or None,
        segment_size=header["e_phentsize"],
        segment_count=header["e_phnum"],
    )


def has_symbol_table(header: ElfHeader, sections: bytes) -> bool:
    """Whether a section table, whose bytes these are, has a symbol table that `strip` would have taken away."""
    order: Literal["little", "big"] = "little" if header.little_endian else "big"
    if header.section_size < 8 or header.section_count > MAX_SECTIONS:
        return False
    for position in range(0, min(len(sections), header.section_size * header.section_count) - 7, header.section_size):
        if int.from_bytes(sections[position + 4 : position + 8], order) == SHT_SYMTAB:
            return True
    return False


def file_size(header: ElfHeader, segments: bytes, sections: bytes) -> int:
    """How many bytes a file has by its tables: up to the end of what lies last, a segment, a section or a table.

    segments, sections: the tables, as far as they are there.
    """
    segment, section = _TABLES[header.bits, header.little_endian]
    ends = [(header.segment_table or 0) + header.segment_size * header.segment_count]
    ends.append((header.section_table or 0) + header.section_size * header.section_count)
    if header.segment_size == segment.size:
        rows = segment.rows(segments[: len(segments) // segment.size * segment.size])
        offset, stored = (2, 5) if header.bits == 64 else (1, 4)
        ends += [row[offset] + row[stored] for row in rows]
    if header.section_size == section.size:
        rows = section.rows(sections[: len(sections) // section.size * section.size])
        ends += [row[4] + row[5] for row in rows if row[1] not in (SHT_NULL, SHT_NOBITS)]
    return max(ends)


def names_section(header: ElfHeader, sections: bytes) -> tuple[int, int] | None:
    """Offset and size of the section with the sections' names; None where the table is none: its first entry is all zeros."""
    _, section = _TABLES[header.bits, header.little_endian]
    if header.section_size != section.size or len(sections) < section.size * 2 or any(sections[: section.size]):
        return None
    rows = list(section.rows(sections[: len(sections) // section.size * section.size]))
    if not 0 < header.section_names < len(rows):
        return None
    return rows[header.section_names][4], rows[header.section_names][5]
