"""What an ELF file's header and section headers tell: enough to know a program from a library, a packed and an unstripped one.

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
SHT_SYMTAB = 2
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


_HEADERS = {
    (1, 1): _layout(Int8ul, Int16ul, Int32ul, Int32ul),
    (2, 1): _layout(Int8ul, Int16ul, Int32ul, Int64ul),
    (1, 2): _layout(Int8ub, Int16ub, Int32ub, Int32ub),
    (2, 2): _layout(Int8ub, Int16ub, Int32ub, Int64ub),
}  # by ei_class and ei_data


@dataclass(frozen=True, slots=True)
class ElfHeader:
    """type, machine: in words. section_table: its offset in the file, None where there is none."""

    type: str
    machine: str
    bits: int
    little_endian: bool
    section_table: int | None
    section_size: int
    section_count: int


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
