"""An inode item as the kernel's stat would show it."""

from __future__ import annotations

from forensics.filesystem import Inode
from parsers import btrfs
from parsers.errors import FormatError

_FORMATS = {0o100000: "f", 0o040000: "d", 0o120000: "l", 0o020000: "c", 0o060000: "b", 0o010000: "p", 0o140000: "s"}


def parse_inode(number: int, data: bytes, at: int, offset: int | None) -> Inode:
    """The INODE_ITEM at byte `at` of some bytes. number: as the protocol has it; offset: where it stands in the disk image."""
    f = btrfs.inode_item.fields(data, at)
    if f["size"] >> 63 or f["generation"] >> 63:
        raise FormatError(f"inode {number} of {f['size']} bytes and transaction {f['generation']}")
    kind = _FORMATS.get(f["mode"] & 0o170000, "?")
    rdev = (f["rdev"] >> 20 & 0xFFF, f["rdev"] & 0xFFFFF) if kind in ("c", "b") else None
    mtime, atime, ctime, otime = (
        f[f"{name}_sec"] * 10**9 + f[f"{name}_nsec"] for name in ("mtime", "atime", "ctime", "otime")
    )  # fmt: skip
    return Inode(
        number, kind, f["mode"] & 0o7777, f["uid"], f["gid"], f["size"], f["nlink"], mtime, atime, ctime, otime or None,
        rdev, f["generation"], offset,
    )  # fmt: skip
