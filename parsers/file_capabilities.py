"""The xattr security.capability: what an executable grants whoever runs it.

Source: Linux 6.12, include/uapi/linux/capability.h (struct vfs_cap_data, vfs_ns_cap_data; revisions 1 to 3), capabilities(7).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from construct import Array, Int32ul, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
_EFFECTIVE = 0x000001
_LAYOUTS = {
    0x01000000: Layout(Struct("magic_etc" / Int32ul, "data" / Array(2, Int32ul))),
    0x02000000: Layout(Struct("magic_etc" / Int32ul, "data" / Array(4, Int32ul))),
    0x03000000: Layout(Struct("magic_etc" / Int32ul, "data" / Array(4, Int32ul), "rootid" / Int32ul)),
}  # by revision; data: pairs of words of the permitted and the inheritable set


@dataclass(frozen=True, slots=True)
class FileCapabilities:
    """What the xattr says. effective: the permitted set is in force at once. root_id: of revision 3 alone."""

    permitted: tuple[str, ...]
    inheritable: tuple[str, ...]
    effective: bool
    root_id: int | None


def parse_file_capabilities(data: bytes) -> FileCapabilities:
    """Raises FormatError where it is of no known revision or too short."""
    revision = int.from_bytes(data[:4], "little") & 0xFF000000
    layout = _LAYOUTS.get(revision)
    if layout is None:
        raise FormatError(f"file capabilities of unknown revision {revision >> 24}", "security.capability", 0)
    try:
        fields = layout.fields(data)
    except struct.error as error:
        raise FormatError(f"{len(data)} bytes, too short for file capabilities", "security.capability", 0) from error
    words, effective = fields["data"], bool(fields["magic_etc"] & _EFFECTIVE)
    return FileCapabilities(_names(words[0::2]), _names(words[1::2]), effective, fields.get("rootid"))


def _names(words: Sequence[int]) -> tuple[str, ...]:
    bits = sum(word << (32 * position) for position, word in enumerate(words))
    known = [name for bit, name in enumerate(NAMES) if bits >> bit & 1]
    return (*known, *(str(bit) for bit in range(len(NAMES), 64) if bits >> bit & 1))
