"""One file of the evidence, or a block device: opened for reading only, its access time left alone where the system lets us.

The bytes come from pread, which threads may call at once and which tells where a device fails.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol, runtime_checkable

from parsers.errors import EvidenceError, UsageError

SECTOR = 512


class EvidenceFile:
    """A file that is read at any offset. start: where its first byte stands in the disk image, None where that is not linear."""

    def __init__(self, path: Path, start: int | None = None) -> None:
        check_kind(path)
        self.path, self.start = path, start
        self._descriptor = _open(path)
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only at the end. EvidenceError names a sector that cannot be read."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        size = min(size, self.size - offset)
        try:
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size:
                more = os.pread(self._descriptor, size - len(data), offset + len(data))
                if not more:
                    raise EvidenceError(f"{self.path}: became shorter while it was read, at byte {offset + len(data)}")
                data += more
        except OSError as error:
            bad = _first_bad_sector(self._descriptor, offset, size)
            where = "" if self.start is None else f" (byte {self.start + bad} of the disk image)"
            raise EvidenceError(f"{self.path}: cannot be read at byte {bad}{where}: {error.strerror}") from error
        return data

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be in a hole of the file, which reads as zeros."""
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            return self.size if error.errno == errno.ENXIO else offset  # ENXIO: a hole up to the end

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Media(Protocol):
    """The disk that files stand for. `read` is asked for bytes within `size` only; threads may call it at once."""

    format: str
    """raw, E01, QCOW2 ..."""
    size: int
    files: tuple[EvidenceFile, ...]
    details: dict[str, str]
    """What the files say of the disk: stored hashes, who acquired it, snapshots."""
    problems: list[str]
    """What of the disk cannot be read, as far as it is known."""

    def read(self, offset: int, size: int) -> bytes:
        """All bytes asked for; EvidenceError where they cannot be had."""
        ...

    def close(self) -> None:
        """Close all files."""
        ...


@runtime_checkable
class Sparse(Protocol):
    """Media that know where their files store nothing but zeros."""

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be zero."""
        ...


def check_kind(path: Path) -> None:
    """Raise UsageError or EvidenceError where this is neither a file nor a block device that may be read."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(f"{path}: no such disk image; check the path") from error
    except PermissionError as error:
        raise EvidenceError(f"{path}: permission denied; its directory must be readable for this user") from error
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: is a directory; give the disk image in it")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise UsageError(f"{path}: is neither a file nor a block device; give a disk image")


def _open(path: Path) -> int:
    # Without O_NOATIME a first look would change the evidence's access time. Only the file's owner may ask for it.
    for flags in (os.O_RDONLY | getattr(os, "O_NOATIME", 0), os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except PermissionError:
            continue
        except OSError as error:
            hint = "; allow more with `ulimit -n`" if error.errno == errno.EMFILE else ""
            raise EvidenceError(f"{path}: {error.strerror}{hint}") from error
    hint = "reading a device takes root or the group `disk`" if path.is_block_device() else "this user needs the right to read it"
    raise EvidenceError(f"{path}: permission denied; {hint}")


def _first_bad_sector(descriptor: int, offset: int, size: int) -> int:
    """Where in a failing read the first sector stands that cannot be read alone, found by halving."""
    start, end = offset // SECTOR * SECTOR, offset + size
    while end - start > SECTOR:
        middle = start + (end - start) // 2 // SECTOR * SECTOR or start + SECTOR
        try:
            short = len(os.pread(descriptor, middle - start, start)) < middle - start
        except OSError:
            short = True
        start, end = (start, middle) if short else (middle, end)
    return start
