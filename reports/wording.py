"""Numbers, times and modes as a report words them."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Sequence

from forensics.text import utc

_TYPES = {
    "f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}  # fmt: skip
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def when(ns: int | None) -> str:
    """A time to the second, in UTC."""
    return "" if ns is None else utc(ns).partition(".")[0].replace("T", " ")


def finely(ns: int | None) -> str:
    """A time to the millisecond, in UTC."""
    return "" if ns is None else utc(ns)[:-7].replace("T", " ")


def exactly(ns: int | None) -> str:
    """A time to the nanosecond, ISO 8601."""
    return "" if ns is None else utc(ns)


def size(count: int | None) -> str:
    """A number of bytes in a unit that people read."""
    if count is None:
        return ""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1024
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.1f} {unit}"
    raise AssertionError("the last unit takes every number")


def number(count: int | None) -> str:
    """A number with thousands apart."""
    return "" if count is None else f"{count:,}"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names as a person would list them, the first ones only where there are many."""
    shown = list(names)
    if len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def mode(bits: int | None, kind: str | None) -> str:
    """Type and mode as `ls -l` has them."""
    return "" if bits is None or kind is None else stat.filemode(_TYPES.get(kind, 0) | bits)


def short(identifier: str | None) -> str:
    """An id as people write it: without the algorithm, twelve characters."""
    return "" if identifier is None else identifier.removeprefix("sha256:")[:12]


def image(name: str) -> str:
    """A container image's name; the beginning of its id where it is called by that."""
    return f"sha256:{short(name)}" if name.startswith("sha256:") else name


def command_line(*parts: str | Sequence[str]) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(each for part in parts for each in ([part] if isinstance(part, str) else part))
