"""Files of the evidence written to the analyst's own disk, harmless there.

Everything is made below one directory that is opened once, name by name and never through a symlink, so nothing is written
anywhere else whatever the evidence says. Devices, fifos and sockets are not made; nor are symlinks that lead out of the extracted
tree, since they would show the analyst's own files. Set-id bits are dropped, owners are not set, times are kept.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from forensics.case.view import KINDS, Entry, View
from forensics.content import CHUNK, Contents, Note
from forensics.text import readable
from parsers.errors import CtrForensicsError, UsageError

COARSE = 2_000_000_000  # nanoseconds: no filesystem of today rounds times more; what differs more was clamped
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ZEROS = bytes(CHUNK)
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # the next file would fare no better


@dataclass(slots=True)
class _Ground:
    """The directory that is written into, and the one below it that was last in use.

    keep: files, by device and inode, that are not replaced even where `replace` lets others go.
    """

    root: int
    replace: bool
    keep: frozenset[tuple[int, int]]
    _parts: tuple[bytes, ...] = ()
    _last: int | None = field(default=None)

    def directory(self, parts: tuple[bytes, ...]) -> int:
        """A descriptor of a directory that was made before; OSError where there is none, or a symlink in its place."""
        if self._last is None or parts != self._parts:
            self.close()
            descriptor = os.open(".", _DIRECTORY, dir_fd=self.root)
            for part in parts:
                above = descriptor
                try:
                    descriptor = os.open(part, _DIRECTORY, dir_fd=above)
                finally:
                    os.close(above)
            self._parts, self._last = parts, descriptor
        return self._last

    def clear(self, name: bytes, directory: int) -> None:
        """Make room for a new file, where that is wanted."""
        if not self.replace:
            return
        try:
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if (there.st_dev, there.st_ino) in self.keep:
            raise FileExistsError(errno.EEXIST, "the evidence or the case file itself stands in its place")
        os.unlink(name, dir_fd=directory)

    def close(self) -> None:
        """Close the directory that was last in use."""
        if self._last is not None:
            os.close(self._last)
            self._last = None


def extract_tree(
    view: View, contents: Contents, top: Entry, into: Path, replace: bool, keep: Iterable[Path] = ()
) -> Iterator[Note]:
    """Make the directory `into`, if it is not there, and in it all that is below the directory `top`.

    replace: files that are there already, but for those in `keep`.
    """
    if not os.path.lexists(into):
        into.mkdir(mode=0o700)
    elif not into.is_dir():
        raise UsageError(f"{into} is there already and is no directory; name another with -o")
    elif not replace and any(into.iterdir()):
        raise UsageError(f"{into} is not empty; --force writes into it and replaces files, -o names another")
    kept = frozenset((path.stat().st_dev, path.stat().st_ino) for path in keep)
    return _extract(view, contents, top, into, replace, kept)


def extract_file(view: View, contents: Contents, entry: Entry, to: Path, replace: bool) -> Iterator[Note]:
    """Make one file at `to`, whatever its name in the evidence is."""
    root = os.open(to.parent, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        with closing(_Ground(root, replace, frozenset())) as ground:
            yield from _make_file(view, contents, entry, ground, root, os.fsencode(to.name))
    finally:
        os.close(root)


def _extract(
    view: View, contents: Contents, top: Entry, into: Path, replace: bool, keep: frozenset[tuple[int, int]]
) -> Iterator[Note]:
    root = os.open(into, _DIRECTORY & ~os.O_NOFOLLOW)
    base = top.path.rstrip(b"/")
    directories: list[tuple[tuple[bytes, ...], Entry]] = []
    try:
        with closing(_Ground(root, replace, keep)) as ground:
            for entry in view.below(top.path):
                if not entry.is_plain:
                    yield Note(entry.path, "no name that can stand on a disk")
                    continue
                parts = tuple(entry.path.removeprefix(base).split(b"/")[1:]) if entry.path not in (base, b"/") else ()
                try:
                    yield from _make(view, contents, entry, ground, parts)
                except OSError as error:
                    yield _failure(entry, error)
                    continue
                if entry.type == "d" and parts:
                    directories.append((parts, entry))
            for parts, entry in reversed(directories):  # a directory's time and mode last: making its entries changes them
                try:
                    yield from _keep(entry, ground.directory(parts), 0o700)
                except OSError as error:
                    yield _failure(entry, error)
    finally:
        os.close(root)


def _failure(entry: Entry, error: OSError) -> Note:
    if error.errno in _HOPELESS:
        raise error
    return Note(entry.path, error.strerror or str(error))


def _make(view: View, contents: Contents, entry: Entry, ground: _Ground, parts: tuple[bytes, ...]) -> Iterator[Note]:
    if not parts:
        return
    directory, name = ground.directory(parts[:-1]), parts[-1]
    if entry.type == "d":
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            os.close(os.open(name, _DIRECTORY, dir_fd=directory))  # a directory is welcome, a symlink to one is not
    elif entry.type == "f":
        yield from _make_file(view, contents, entry, ground, directory, name)
    elif entry.type == "l" and _stays_inside(entry.target or b"", len(parts) - 1):
        ground.clear(name, directory)
        os.symlink(entry.target or b"", name, dir_fd=directory)
    elif entry.type == "l":
        yield Note(entry.path, f"a symlink that leads out of the extracted directory, to {readable(entry.target or b'')}")
    else:
        yield Note(entry.path, KINDS[entry.type])


def _stays_inside(target: bytes, depth: int) -> bool:
    """Whether a symlink `depth` directories below the top leads to a place below the top, whatever stands on its way.

    Up first and no farther than the top, then only down: by directories that were made here, or links that this holds for.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    up = next((n for n, part in enumerate(parts) if part != b".."), len(parts))
    return bool(parts) and not target.startswith(b"/") and up <= depth and b".." not in parts[up:]


def _make_file(view: View, contents: Contents, entry: Entry, ground: _Ground, directory: int, name: bytes) -> Iterator[Note]:
    ground.clear(name, directory)
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in contents.chunks(view, entry):
                if chunk == _ZEROS[: len(chunk)]:
                    file.seek(len(chunk), os.SEEK_CUR)
                else:
                    file.write(chunk)
            file.truncate()
            yield from _keep(entry, file.fileno(), 0o400)
    except CtrForensicsError as error:
        os.unlink(name, dir_fd=directory)
        yield Note(entry.path, str(error), unread=True)
    except BaseException:
        os.unlink(name, dir_fd=directory)
        raise


def _keep(entry: Entry, descriptor: int, at_least: int) -> Iterator[Note]:
    """Mode without set-id and sticky bits, but always with the owner's right to read; times as far as this disk can hold them."""
    os.fchmod(descriptor, entry.mode & 0o777 | at_least)
    if entry.mtime_ns is None:
        return
    try:
        os.utime(descriptor, ns=(entry.atime_ns if entry.atime_ns is not None else entry.mtime_ns, entry.mtime_ns))
        kept = abs(os.fstat(descriptor).st_mtime_ns - entry.mtime_ns) <= COARSE
    except (OverflowError, OSError):
        kept = False
    if not kept:
        yield Note(entry.path, "made, but its time cannot be kept on this disk")
