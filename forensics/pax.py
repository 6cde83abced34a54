"""Members of a PAX archive (POSIX.1-2001 pax, `ustar` headers with extended header records).

Times are written to the nanosecond; names, link targets and xattr values are bytes, written as they are. The `SCHILY.` keywords
are star's, which GNU tar and libarchive know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

BLOCK = 512
RECORD = 20 * BLOCK
END = bytes(2 * BLOCK)

_TYPEFLAGS = {"f": b"0", "h": b"1", "l": b"2", "c": b"3", "b": b"4", "d": b"5", "p": b"6", "x": b"x"}
_HEADER_NAME = b"././@PaxHeader"
_BINARY = (b"hdrcharset", b"BINARY")
_MAX_ID, _MAX_LONG = 0o7777777, 0o77777777777
_NAME_SIZE = 100


@dataclass(frozen=True, slots=True)
class Member:
    """One member. type: f d l c b p, or h for a hard link to `link`; link: a symlink's target too. Times in nanoseconds."""

    name: bytes
    type: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


def header(member: Member) -> bytes:
    """The blocks that stand before a member's content."""
    records = _records(member)
    mtime = 0 if member.mtime_ns is None else min(max(member.mtime_ns // 1_000_000_000, 0), _MAX_LONG)
    block = _ustar(
        member.name[:_NAME_SIZE], member.type, member.mode, _fitting(member.uid), _fitting(member.gid),
        member.size if member.size <= _MAX_LONG else 0, mtime, member.link[:_NAME_SIZE],
        _fitting(member.device[0]), _fitting(member.device[1]),
    )  # fmt: skip
    if not records:
        return block
    extended = b"".join(_record(keyword, value) for keyword, value in records)
    return _extended(len(extended)) + extended + padding(len(extended)) + block


@lru_cache(maxsize=4096)
def _extended(size: int) -> bytes:
    """The block before an extended header of `size` bytes; most are of few sizes."""
    return _ustar(_HEADER_NAME, "x", 0o644, 0, 0, size, 0)


def padding(size: int) -> bytes:
    """What fills the last block of `size` bytes of content."""
    return bytes(-size % BLOCK)


def trailer(written: int) -> bytes:
    """The end of an archive of `written` bytes so far, filled up to a whole record as tar does."""
    return END + bytes(-(written + len(END)) % RECORD)


def decimal(ns: int) -> bytes:
    """Nanoseconds as seconds in decimal, exactly."""
    seconds, fraction = divmod(abs(ns), 1_000_000_000)
    sign = b"-" if ns < 0 else b""
    return b"%s%d.%09d" % (sign, seconds, fraction) if fraction else b"%s%d" % (sign, seconds)


def _records(member: Member) -> Sequence[tuple[bytes, bytes]]:
    """The extended header's records: what the ustar block cannot hold."""
    found: list[tuple[bytes, bytes]] = []
    for keyword, name in ((b"path", member.name), (b"linkpath", member.link)):
        if len(name) > _NAME_SIZE or not name.isascii():
            found.append((keyword, name))
            if not _is_text(name) and found[0] != _BINARY:
                found.insert(0, _BINARY)
    if member.uid > _MAX_ID:
        found.append((b"uid", b"%d" % member.uid))
    if member.gid > _MAX_ID:
        found.append((b"gid", b"%d" % member.gid))
    if member.size > _MAX_LONG:
        found.append((b"size", b"%d" % member.size))
    if max(member.device) > _MAX_ID:
        found += [(b"SCHILY.devmajor", b"%d" % member.device[0]), (b"SCHILY.devminor", b"%d" % member.device[1])]
    for keyword, ns in ((b"mtime", member.mtime_ns), (b"atime", member.atime_ns), (b"ctime", member.ctime_ns)):
        if ns is not None:
            found.append((keyword, decimal(ns)))
    found.extend((b"SCHILY.xattr." + name.replace(b"=", b"%3D"), member.xattrs[name]) for name in sorted(member.xattrs))
    return found


def _record(keyword: bytes, value: bytes) -> bytes:
    """`LENGTH KEYWORD=VALUE\\n`, where LENGTH counts itself."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest + len(str(rest))))
    return b"%d %s=%s\n" % (length, keyword, value)


def _ustar(
    name: bytes,
    kind: str,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    fields = b"%-100s%07o\0%07o\0%07o\0%011o\0%011o\0        %s%-100s" % (
        name.ljust(_NAME_SIZE, b"\0"), mode, uid, gid, size, mtime, _TYPEFLAGS[kind], link.ljust(_NAME_SIZE, b"\0"),
    )  # fmt: skip
    block = b"%sustar\x0000%s%07o\0%07o\0%s" % (fields, bytes(64), major, minor, bytes(167))
    return b"%s%06o\0 %s" % (block[:148], sum(block), block[156:])


def _fitting(number: int) -> int:
    return number if number <= _MAX_ID else 0


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
