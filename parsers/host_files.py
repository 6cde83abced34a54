"""Small files of a Linux host that say what it is: os-release, fstab, crypttab, systemd mount units, wtmp, names of kernels.

Source: os-release(5), fstab(5), crypttab(5), systemd.mount(5), systemd.syntax(7), utmp(5) and glibc 2.36 bits/utmp.h (64 bit).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from construct import Bytes, Int16sl, Int32sl, Padding, Struct

BOOT_TIME = 2

utmp = Struct(
    "ut_type" / Int16sl,
    Padding(2),
    "ut_pid" / Int32sl,
    "ut_line" / Bytes(32),
    "ut_id" / Bytes(4),
    "ut_user" / Bytes(32),
    "ut_host" / Bytes(256),
    "ut_exit" / Bytes(4),
    "ut_session" / Int32sl,
    "tv_sec" / Int32sl,
    "tv_usec" / Int32sl,
    "ut_addr_v6" / Bytes(16),
    Padding(20),
)

_ASSIGNMENT = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class FstabEntry:
    """A line of fstab, or a systemd mount unit. spec: the device as it is named there."""

    spec: str
    file: str
    vfstype: str | None
    options: str | None


def os_release(text: str) -> str | None:
    """The name and version of the operating system, for people."""
    facts = {key: _unquote(value) for key, value in _ASSIGNMENT.findall(text)}
    return facts.get("PRETTY_NAME") or " ".join(filter(None, (facts.get("NAME"), facts.get("VERSION")))) or None


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return re.sub(r'\\(["\\$`])', r"\1", value)


def fstab(text: str) -> tuple[FstabEntry, ...]:
    """The mounts that fstab has, in its order."""
    entries = []
    for line in text.splitlines():
        fields = [_OCTAL.sub(lambda octal: chr(int(octal[1], 8) & 0xFF), field) for field in line.split()]
        if len(fields) >= 2 and not line.lstrip().startswith("#"):
            entries.append(FstabEntry(fields[0], fields[1], *[*fields[2:4], None, None][:2]))
    return tuple(entries)


def crypttab(text: str) -> tuple[tuple[str, str], ...]:
    """The name and the device of each line of crypttab(5)."""
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return tuple((fields[0], fields[1]) for fields in lines if len(fields) >= 2)


def mount_unit(text: str) -> FstabEntry | None:
    """The mount of a systemd mount unit, None where it names none."""
    section, facts = "", dict[str, str]()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == "[Mount]" and "=" in stripped and stripped[0] not in "#;":
            key, value = stripped.split("=", 1)
            facts[key.strip()] = value.strip()
    if "What" not in facts or "Where" not in facts:
        return None
    return FstabEntry(facts["What"], facts["Where"], facts.get("Type"), facts.get("Options"))


def last_booted_kernel(wtmp: bytes) -> str | None:
    """The kernel of the last boot record; `wtmp` may be the end of the file, as long as it starts with a record."""
    for start in range(len(wtmp) // utmp.sizeof() * utmp.sizeof() - utmp.sizeof(), -1, -utmp.sizeof()):
        if int.from_bytes(wtmp[start : start + 2], "little") == BOOT_TIME:
            release = utmp.parse(wtmp[start:]).ut_host.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
            if release:
                return str(release)
    return None


def newest_kernel(releases: list[str]) -> str | None:
    """The highest of several kernel releases, numbers compared as numbers."""

    def order(release: str) -> list[tuple[bool, int, str]]:
        return [
            (part.isdigit(), int(part[:18]) if part.isdigit() else 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", release)
        ]

    return max((release for release in releases if release[:1].isdigit()), key=order, default=None)
