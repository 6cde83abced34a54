"""The kernel's lookup of one name in a stack of directories, step by step as it does it.

Linux 6.12, fs/overlayfs/namei.c: ovl_lookup, ovl_lookup_layer, ovl_lookup_single, ovl_check_redirect. All layers are looked at
as lower ones, which is how a view is mounted read-only. A level is a layer's height in its chain: 0 is the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from forensics.overlay_layer import DIRECTORY, FILE, LayerIndex
from parsers.errors import FormatError
from parsers.overlay_marks import METACOPY_MIN, parse_redirect

Element = tuple[int, int]  # level, row
Stack = tuple[Element, ...]  # the directories that one merged directory is made of, topmost first


_REFUSED = (b"", b".", b"..")


class Found(NamedTuple):
    """What a name stands for.

    top: whose metadata it shows. stack: for a directory, those that it merges. data: for a metacopy file, whose bytes it has.
    error: why the kernel refuses the name (EIO, EINVAL, EACCES, EPERM); nothing is below it then, and it has no bytes.
    """

    top: Element
    stack: Stack = ()
    data: Element | None = None
    metacopy: bool = False
    error: str | None = None


class _Refused(Exception):
    """The lookup ends with an error; the argument is errno's name."""


@dataclass(slots=True)
class _Search:
    """ovl_lookup_data. name: a single name, or from the layer's root on once a redirect said so."""

    name: bytes
    first: Element | None = None
    is_dir: bool = False
    stop: bool = False
    metacopy: bool = False
    redirected: bool = False


class View:
    """A chain of layers, lowest first, and the mount options redirect_dir (follow or nofollow) and metacopy."""

    def __init__(self, layers: Sequence[LayerIndex], follow: bool = True, metacopy: bool = True) -> None:
        self.layers = layers
        self._follow = [follow and layer.layer.marks != "user" for layer in layers]  # userxattr: neither of the two
        self._metacopy = [metacopy and layer.layer.marks != "user" for layer in layers]

    def root(self, level: int) -> Stack:
        """The stack of the root directory of the view whose top is at `level`; negative: of no view."""
        stack = []
        for at in range(level, -1, -1):
            stack.append((at, 0))
            if self.layers[at].layer.marks == "fuse" and 0 in self.layers[at].marks.opaque:
                break  # the kernel ignores marks on a root, fuse-overlayfs does not
        return tuple(stack)

    def lookup(self, root: Stack, parent: Stack, name: bytes) -> Found | None:
        """What `name` stands for in the directory `parent` of the view that `root` is the root of; None: nothing."""
        stack: list[Element] = []
        for level, base in parent:
            layer = self.layers[level]
            row = layer.children(base).get(name)
            if row is None:
                continue
            marks = layer.marks
            if row in marks.whiteouts:
                break
            if row in marks.redirects or row in marks.metacopies or name in _REFUSED:
                return self._search_all(root, parent, name)  # most names need no more than these few steps
            if layer.types[row] != DIRECTORY:
                if stack:
                    break
                return Found((level, row))
            stack.append((level, row))
            if row in marks.opaque:
                break
        return Found(stack[0], tuple(stack)) if stack else None

    def _search_all(self, root: Stack, parent: Stack, name: bytes) -> Found | None:
        search = _Search(name)
        stack: list[Element] = []
        try:
            self._search(search, stack, root, parent)
        except _Refused as refused:
            top = stack[0] if stack else search.first
            if top is None:
                return None
            level, row = top
            return Found(top, metacopy=row in self.layers[level].marks.metacopies, error=str(refused))
        if not stack:
            return None
        if search.is_dir:
            return Found(stack[0], tuple(stack))
        return Found(stack[0], data=stack[1] if len(stack) > 1 else None, metacopy=len(stack) > 1)

    def _search(self, search: _Search, stack: list[Element], root: Stack, parent: Stack) -> None:
        pending, at = parent, 0
        while at < len(pending) and not search.stop:
            level, base = pending[at]
            last = level == 0 if self._follow[level] else at == len(pending) - 1
            row = self._lookup_layer(search, level, base, last)
            at += 1
            if row is None:
                continue
            if search.metacopy and not self._metacopy[level]:
                raise _Refused("EPERM")
            if not (search.metacopy and stack):  # of metacopy files only the topmost counts
                stack.append((level, row))
            if search.redirected and not self._follow[level]:
                raise _Refused("EPERM")
            if search.name.startswith(b"/"):
                pending, at = root, root[0][0] - level + 1
        if search.metacopy:
            raise _Refused("EIO")

    def _lookup_layer(self, search: _Search, level: int, base: int, last: bool) -> int | None:
        """Look the whole name up in one layer, from `base` or, with an absolute redirect, from the layer's root."""
        if not search.name.startswith(b"/"):
            return self._lookup_single(search, level, base, 0, len(search.name), last)
        left, row = len(search.name) - 1, 0  # counted from the end: a redirect on the way changes what stands before
        while True:
            start = len(search.name) - left
            end = search.name.find(b"/", start)
            if end < 0:
                return self._lookup_single(search, level, row, start, len(search.name), last)
            left = len(search.name) - end - 1
            found = self._lookup_single(search, level, row, start, end, last)
            if found is None:
                return None
            row = found

    def _lookup_single(  # noqa: PLR0912 # the kernel's steps, in the kernel's order
        self, search: _Search, level: int, base: int, start: int, end: int, last: bool
    ) -> int | None:
        """Look one part of the name up in one directory of one layer, and heed the marks on what is found."""
        name, final = search.name[start:end], end == len(search.name)
        if name in _REFUSED:
            raise _Refused("EACCES")
        layer = self.layers[level]
        marks = layer.marks
        row = layer.children(base).get(name)
        if row is None:
            return None
        if row in marks.whiteouts:
            search.stop = True
            return None
        kind = layer.types[row]
        if search.metacopy and final and kind != FILE:
            search.stop = True
            return None
        if kind != DIRECTORY and (search.is_dir or not final):
            search.stop = True
            return None
        if final and search.first is None:
            search.first = (level, row)
        if kind != DIRECTORY:
            value = marks.metacopies.get(row)
            if value is not None and 0 < len(value) < METACOPY_MIN:
                raise _Refused("EIO")
            search.metacopy = value is not None
            search.stop = not search.metacopy
            if search.stop or last:
                return row
        else:
            if final:
                search.is_dir = True
            if last:
                return row
            if row in marks.opaque:
                search.stop = True
                return row
        if row in marks.redirects:
            _follow(search, marks.redirects[row], start, end)
        return row


def _follow(search: _Search, value: bytes, start: int, end: int) -> None:
    """Put a redirect in the place of the part of the name that was found."""
    try:
        redirect = parse_redirect(value)
    except FormatError:
        raise _Refused("EINVAL") from None
    if redirect.startswith(b"/"):
        search.stop = False  # whatever opaque directory was passed on the way: from here on it is another path
    else:
        redirect = search.name[:start] + redirect
    search.name = redirect + search.name[end:]
    search.redirected = True
