"""What PAX extended headers say of an archive's member beyond the old header: times to the nanosecond, extended attributes.

Source: POSIX.1-2017 pax; GNU tar 1.35, src/xheader.c (SCHILY.xattr); libarchive 3.7, archive_read_support_format_tar.c.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

_NUMBER = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_XATTR = "SCHILY.xattr."
_XATTR_64 = "LIBARCHIVE.xattr."
_SELINUX = "RHT.security.selinux"


def time_ns(text: str | None) -> int | None:
    """A decimal number of seconds as nanoseconds; None where it is none."""
    found = _NUMBER.fullmatch(text) if text is not None else None
    if found is None:
        return None
    value = int(found[2]) * 10**9 + int((found[3] or "")[:9].ljust(9, "0"))
    return -value if found[1] else value


def xattrs(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """The extended attributes among a member's headers, whose text was decoded with surrogateescape."""
    found: dict[bytes, bytes] = {}
    for key, value in headers.items():
        raw = value.encode("utf-8", "surrogateescape")
        if key.startswith(_XATTR):
            found[key.removeprefix(_XATTR).encode("utf-8", "surrogateescape")] = raw
        elif key.startswith(_XATTR_64):
            name = _unquoted(key.removeprefix(_XATTR_64))
            try:
                found.setdefault(name, base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True))
            except binascii.Error:
                continue
        elif key == _SELINUX:
            found.setdefault(b"security.selinux", raw)
    return found


def _unquoted(name: str) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), name.encode("utf-8", "surrogateescape"))
