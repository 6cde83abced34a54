"""Files' times as a body file, for mactime of The Sleuth Kit.

Source: The Sleuth Kit 4.12, tools/timeline/mactime.base (tm_split: fields between `|`, `%XX` stands for a byte) and
tsk/fs/fs_name.c (tsk_fs_meta_make_ls, tsk_fs_name_print_mac): MD5|name|inode|mode|UID|GID|size|atime|mtime|ctime|crtime, seconds
since 1970, 0 where unknown. There is no MD5 in a case: 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COLUMNS = (
    "place, path, path_raw, type, mode, uid, gid, size, atime_ns, mtime_ns, ctime_ns, crtime_ns, target, target_raw, inode, state"
)
"""The columns of `timeline_files` that a FileRow is made of, in its order."""
SECOND = 1_000_000_000
_SPECIAL = re.compile(rb"[\x00-\x1f\x7f|%]")
_LETTERS = {"f": "r", "d": "d", "l": "l", "c": "c", "b": "b", "p": "p", "s": "h"}  # tsk_fs_meta_make_ls


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file with its four times. place: the container's name. state: empty, or whiteout, deleted, deleted-realloc."""

    place: str
    path: str
    path_raw: bytes | None
    type: str
    mode: int
    uid: int | None
    gid: int | None
    size: int | None
    atime_ns: int | None
    mtime_ns: int | None
    ctime_ns: int | None
    crtime_ns: int | None
    target: str | None
    target_raw: bytes | None
    inode: int | None
    state: str


def bodyfile_lines(rows: Iterable[FileRow]) -> Iterator[bytes]:
    """One line a file, `CONTAINER:/path`."""
    for row in rows:
        name = row.place.encode() + b":" + (row.path.encode() if row.path_raw is None else row.path_raw)
        if row.target is not None:
            name += b" -> " + (row.target.encode() if row.target_raw is None else row.target_raw)
        if row.state:
            name += f" ({row.state})".encode()
        times = (row.atime_ns, row.mtime_ns, row.ctime_ns, row.crtime_ns)
        fields = (
            b"0", _encoded(name), _number(row.inode), _mode(row).encode(), _number(row.uid), _number(row.gid), _number(row.size),
            *(_number(None if ns is None else ns // SECOND) for ns in times),
        )  # fmt: skip
        yield b"|".join(fields) + b"\n"


def _encoded(name: bytes) -> bytes:
    """What would end a field or a line, or steer a terminal, and bytes that are not UTF-8: each as %XX, as mactime reads it."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return re.sub(rb"[^\x20-\x7e]|[|%]", _percent, name)
    return _SPECIAL.sub(_percent, name)


def _percent(match: re.Match[bytes]) -> bytes:
    """A line break is encoded twice: mactime leaves out a name that has one once it is decoded, without a word."""
    return b"%250A" if match[0] == b"\n" else b"%%%02X" % match[0][0]


def _number(value: int | None) -> bytes:
    return b"%d" % (value or 0)


def _mode(row: FileRow) -> str:
    """As `ls -l` writes it, behind the type that the name has: `r/rrwxr-xr-x`."""
    letter = _LETTERS.get(row.type, "-")
    text = ""
    for shift, special, mark in ((6, 0o4000, "s"), (3, 0o2000, "s"), (0, 0o1000, "t")):
        bits = row.mode >> shift
        executable = bool(bits & 1)
        last = (mark if executable else mark.upper()) if row.mode & special else ("x" if executable else "-")
        text += ("r" if bits & 4 else "-") + ("w" if bits & 2 else "-") + last
    return f"{letter}/{letter}{text}"
