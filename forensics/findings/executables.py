"""Rules about programs: what was added or changed since the image, what runs with another's rights, what hides what it is."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from forensics.findings.changed_files import HEAD, ChangedFile
from forensics.findings.rule import Rule, rule
from forensics.records import Finding
from parsers.elf import ElfHeader, has_symbol_table, parse_elf_header
from parsers.errors import FormatError
from parsers.file_capabilities import parse_file_capabilities

DENSE = 7.2  # bits in a byte, from which on an executable's content is compressed or encrypted
_SYSTEM = re.compile(rb"/(?:usr/(?:local/)?)?(?:bin|sbin|lib|lib32|lib64|libx32|libexec)/")
_BINARIES = re.compile(rb"/(?:usr/(?:local/)?)?s?bin/")
_LIBRARY = re.compile(rb"\.so(?:\.[0-9.]+)?$")
_MADE_HERE = re.compile(rb"/(?:node_modules|site-packages|dist-packages|__pycache__|gems|vendor|target|build|\.git/hooks)/")
_HIGH_CAPABILITIES = frozenset((
    "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "DAC_OVERRIDE", "DAC_READ_SEARCH", "SETUID", "SETGID", "SETFCAP",
    "CHOWN", "FOWNER", "MKNOD", "BPF",
))  # fmt: skip
_UPX = (b"UPX!", b"$Info: This file is packed with the UPX")


def setuid(file: ChangedFile) -> Iterator[Finding]:
    """Setuid and setgid files that the image did not have so."""
    bits = file.mode & 0o6000 if file.type == "f" else 0
    before = file.lower.mode & 0o6000 if file.lower is not None and file.lower.type == "f" else 0
    if not bits or (bits == before and not file.is_new_content):
        return
    what = " and ".join(name for bit, name in ((0o4000, f"uid {file.uid}"), (0o2000, f"gid {file.gid}")) if bits & bit)
    word = "setuid" if bits & 0o4000 else "setgid"
    told = f"mode {file.mode:04o}, runs as {what}, {file.size} bytes"
    if not file.mode & 0o111:
        yield file.finding("info", f"{word} bit on a file that nobody may run", told, in_inode=True)
    elif file.packaged in ("verified", "listed"):
        yield file.finding("info" if file.packaged == "verified" else "low", f"{word} program from a package",
                           f"{told}; {file.package_words}", in_inode=True)  # fmt: skip
    elif bits == before:
        yield file.finding("high", f"content of a {word} program changed", told, in_inode=True)
    else:
        new = "file of the image became" if file.lower is not None else "new"
        yield file.finding("high" if bits & 0o4000 else "medium", f"{new} {word} program", told, in_inode=True)


def file_capabilities(file: ChangedFile) -> Iterator[Finding]:
    """Capabilities that a program grants to whoever runs it."""
    raw = file.xattrs.get("security.capability")
    if file.type != "f" or raw is None or (raw == file.lower_xattrs.get("security.capability") and not file.is_new_content):
        return
    try:
        granted = parse_file_capabilities(raw)
    except FormatError as error:
        yield file.finding("medium", "file capabilities that cannot be read", str(error), in_inode=True)
        return
    names = [*granted.permitted, *(name for name in granted.inheritable if name not in granted.permitted)]
    severity = "high" if set(granted.permitted) & _HIGH_CAPABILITIES else "medium" if granted.permitted else "low"
    if file.packaged in ("verified", "listed"):
        severity = "info"
    mode = "in force at once" if granted.effective else "when the program asks for them"
    told = f"permitted {', '.join(granted.permitted) or 'none'}, {mode}; {file.package_words or 'no package lists the file'}"
    yield file.finding(severity, f"new file capabilities: {', '.join(names[:10]) or 'none'}", told, in_inode=True)


def drift(file: ChangedFile) -> Iterator[Finding]:
    """Programs and libraries that the image does not have."""
    kind = _kind(file)
    if kind is None or not file.is_new_content:
        return
    replaced = file.lower is not None and file.lower.type == "f" and file.lower.size > 0
    told = f"{kind}, {file.size} bytes, mode {file.mode:04o}, uid {file.uid}"
    if file.packaged == "differs":
        yield file.finding("high", "program is not as its package has it", f"{told}; {file.package_words}")
    elif file.packaged is not None:
        yield file.finding("info", f"{'changed' if replaced else 'new'} program from a package", f"{told}; {file.package_words}")
    elif (file.is_temporary or file.is_hidden) and not _MADE_HERE.search(file.path):
        where = " and ".join(word for word, true in (("hidden", file.is_hidden), ("temporary", file.is_temporary)) if true)
        grave = file.is_hidden or (file.is_elf and not _LIBRARY.search(file.path))
        yield file.finding("high" if grave else "medium", f"program in a {where} place", told)
    elif replaced and _SYSTEM.match(file.path) and (file.is_elf or file.lower_head.startswith(b"\x7fELF")):
        yield file.finding(
            "high", "program of the image replaced", f"{told}; the image's has {file.lower.size if file.lower else 0}"
        )
    elif replaced:
        yield file.finding("low", "program of the image changed", told)
    elif _SYSTEM.match(file.path) and file.is_elf:
        yield file.finding("medium", "new program that no package lists", told)
    else:
        yield file.finding("low", "new script or program that no package lists", told)


def packed(file: ChangedFile) -> Iterator[Finding]:
    """Programs whose content is compressed or encrypted."""
    if file.type != "f" or not file.is_new_content or not file.is_elf or file.packaged in ("verified", "listed"):
        return
    odd = file.is_temporary or file.is_hidden
    if any(mark in file.head[:4096] or mark in (file.tail or file.head)[-4096:] for mark in _UPX):
        yield file.finding("high" if odd else "medium", "packed with UPX", f"{file.size} bytes")
        return
    body = file.head[4096:] + file.tail
    if len(body) > 16_384 and entropy(body) > DENSE:
        yield file.finding(
            "high" if odd else "low", "packed or encrypted program", f"{entropy(body):.2f} bits in a byte, {file.size} bytes"
        )


def unstripped(file: ChangedFile) -> Iterator[Finding]:
    """Programs with their symbols, as a compiler leaves them, where programs do not belong."""
    if file.type != "f" or not file.is_new_content or not file.is_elf or not (file.is_temporary or file.is_hidden):
        return
    try:
        header = parse_elf_header(file.head[:64])
    except FormatError:
        return
    if header.type in ("program", "library or program") and has_symbol_table(header, _sections(file, header)):
        yield file.finding("medium", "program with its symbols in an odd place", f"{header.machine} {header.type}, not stripped")


def elf_without_permission(file: ChangedFile) -> Iterator[Finding]:
    """Programs that nobody may run, where programs do not belong: loaded by another, or not yet made executable."""
    if file.type != "f" or file.is_executable or not (file.is_temporary or file.is_hidden) or _LIBRARY.search(file.path):
        return
    if file.is_new_content and file.is_elf and not file.owner and not _MADE_HERE.search(file.path):
        yield file.finding(
            "medium", "program or library in a temporary or hidden place", f"mode {file.mode:04o}, {file.size} bytes"
        )


def entropy(data: bytes) -> float:
    """Shannon's entropy in bits per byte."""
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values()) if data else 0.0


def _kind(file: ChangedFile) -> str | None:
    """What sort of program a file is; None where it is none, for all that its mode and its content tell."""
    if file.type != "f" or not file.size or file.metacopy:
        return None
    if not file.is_executable and not _LIBRARY.search(file.path):
        return None
    if file.is_elf:
        try:
            header = parse_elf_header(file.head[:64])
        except FormatError:
            return "damaged ELF file"
        return None if header.type in ("object file", "core dump") else f"{header.machine} {header.type}"
    if not file.is_executable:
        return None
    if file.is_script:
        interpreter = file.head[2:80].partition(b"\n")[0].strip()
        return f"script for {interpreter.decode('utf-8', 'backslashreplace')}"
    if file.is_temporary or file.is_hidden or _BINARIES.match(file.path):
        return "executable by its mode alone"
    return None


def _sections(file: ChangedFile, header: ElfHeader) -> bytes:
    if header.section_table is None or header.section_table >= file.size:
        return b""
    length = min(header.section_size * header.section_count, HEAD, file.size - header.section_table)
    return file.scene.read(file.partition, file.inode, header.section_table, length)


RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "setuid",
        "high",
        "New or changed setuid program",
        why="A setuid copy of a shell gives root to whoever knows where it is.",
        check="Compare its SHA-256 with programs of the image: a copy of busybox or bash is a shell.",
        benign="Packages such as sudo and passwd, which a package database lists.",
        attack=("T1548.001",),
        look=setuid,
    ),
    rule(
        "file-capability",
        "high",
        "New file capabilities",
        why="cap_setuid on an interpreter is as good as a setuid root shell, and ls does not show it.",
        check="The xattr security.capability in `files`, against the image's file.",
        benign="Packages give ping and dumpcap network capabilities.",
        attack=("T1548.001",),
        look=file_capabilities,
    ),
    rule(
        "new-program",
        "high",
        "New or replaced program or library",
        why="Containers are made to run what is in their image: a program that came later was brought by somebody.",
        check="Its times, its hash against known ones, strings; what ran it, in the container's command, cron jobs and logs.",
        benign="Containers that build or install; what packages brought is told apart by their database, which root can forge.",
        attack=("T1105", "T1036.005", "T1564.001", "T1554"),
        look=drift,
    ),
    rule(
        "packed-program",
        "high",
        "Packed or encrypted program",
        why="Miners and droppers are packed so that scanners see nothing; ordinary programs of Linux are not.",
        check="upx -d on a copy; the bytes behind the ELF header.",
        benign="A few Go programs are shipped packed; self-extracting installers carry compressed data.",
        attack=("T1027.002",),
        look=packed,
    ),
    rule(
        "unstripped-program",
        "medium",
        "Unstripped program in an odd place",
        why="A program with symbols in /tmp or a hidden directory was compiled by hand, perhaps on the spot: exploits are.",
        check="nm and strings on a copy; .bash_history and cc's traces in the container.",
        benign="Test programs of ./configure that were left over.",
        attack=("T1105", "T1068"),
        look=unstripped,
    ),
    rule(
        "hidden-elf",
        "medium",
        "ELF file in a temporary or hidden place",
        why="A library in /tmp or a hidden directory is loaded by something: LD_PRELOAD, a plugin, a dropper.",
        check="What names it: environment, ld.so.preload, scripts.",
        benign="JNA, netty and other Java programs unpack libraries into /tmp while they run.",
        attack=("T1574.006", "T1564.001"),
        look=elf_without_permission,
    ),
)  # fmt: skip
