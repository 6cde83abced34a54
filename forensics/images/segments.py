"""The files of a split raw disk image, in order, given any of them."""

from __future__ import annotations

import errno
import itertools
import re
from pathlib import Path

from parsers.errors import EvidenceError

_LETTERS = re.compile(r"[a-z]{2,3}")
_FAR = 26
_IMAGE_SUFFIXES = frozenset({"dd", "img", "raw", "bin", "iso", "dsk"})


def find_segments(path: Path) -> tuple[Path, ...]:
    """All segments of a split disk image, in order, given any of them: `.000` or `.001` on, `.aa` or `.aaa` on.

    The path alone where it is no segment. EvidenceError names a segment that is missing.
    """
    suffix = path.suffix[1:]
    if suffix.isascii() and suffix.isdigit() and len(suffix) >= 2:
        return _numbered_segments(path)
    if _LETTERS.fullmatch(suffix) and suffix not in _IMAGE_SUFFIXES:
        return _lettered_segments(path)
    return (path,)


def _numbered_segments(path: Path) -> tuple[Path, ...]:
    stem = path.name[: path.name.rindex(".") + 1]
    names = {name[len(stem) :] for name in _siblings(path) if name.startswith(stem)}
    width = min(len(name) for name in names | {path.suffix[1:]} if name.isascii() and name.isdigit() and len(name) >= 2)
    # FTK Imager goes on from .999 with .1000, so a longer number belongs to the set only where it needs its length.
    present = {int(name) for name in names if name.isascii() and name.isdigit() and name == f"{int(name):0{width}d}"}
    own = int(path.suffix[1:])
    if own not in present or (len(present) == 1 and width != 3):
        return (path,)
    start = 0 if 0 in present else 1
    for number in range(start, max(present)):
        if number not in present:
            raise EvidenceError(f"{path.with_name(f'{stem}{number:0{width}d}')}: this segment of the split disk image is missing")
    return tuple(path.with_name(f"{stem}{number:0{width}d}") for number in range(start, max(present) + 1))


def _lettered_segments(path: Path) -> tuple[Path, ...]:
    stem, width = path.name[: path.name.rindex(".") + 1], len(path.suffix) - 1

    def number(letters: str) -> int:
        return sum((ord(letter) - ord("a")) * 26**place for place, letter in enumerate(reversed(letters)))

    def letters(number: int) -> str:
        return "".join(chr(ord("a") + number // 26**place % 26) for place in reversed(range(width)))

    suffixes = {name[len(stem) :] for name in _siblings(path) if name.startswith(stem)} | {path.suffix[1:]}
    present = {number(s) for s in suffixes if len(s) == width and _LETTERS.fullmatch(s) and s not in _IMAGE_SUFFIXES}
    own, count = number(path.suffix[1:]), next(n for n in itertools.count() if n not in present)
    members = {n for n in present if n < count + _FAR}  # what is farther off, as `.log` is, is a file of another kind
    if own not in members or members == {own} != {0}:
        return (path,)
    if len(members) > count:
        raise EvidenceError(f"{path.with_name(stem + letters(count))}: this segment of the split disk image is missing")
    return tuple(path.with_name(stem + letters(found)) for found in range(count))


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError as error:
        if error.errno == errno.EACCES:
            return [path.name]  # a directory may let through without listing
        raise EvidenceError(f"{path.parent}: {error.strerror}") from error
