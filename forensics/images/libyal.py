"""VMDK, VHD and VHDX through libyal's libraries, which read our own open files: no name in evidence opens any other file.

Extents and parents are looked for beside the disk image only, by the last part of their name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import PureWindowsPath
from typing import Any

import pyvhdi
import pyvmdk

from forensics.images.files import SECTOR, EvidenceFile
from forensics.images.vhdx_log import ReplayedFile, replay_log
from parsers import vhdx
from parsers.errors import EvidenceError, FormatError, UnsupportedFormat

MAX_PARENTS = 64
_NO_PARENT = 0xFFFFFFFF
_SPARSE, _ESX_SPARSE = b"KDMV", b"COWD"
_DESCRIPTOR_AT = 28
"""Where a sparse extent's header has the sector of its descriptor; libvmdk, VMWare Virtual Disk Format, sparse file header."""


class _Stream:
    """An open file as libyal's libraries read one."""

    def __init__(self, file: EvidenceFile | ReplayedFile) -> None:
        self._file, self._at = file, 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._at, self._file.size - self._at if size < 0 else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence, self._file.size)
        return self._at

    def tell(self) -> int:
        return self._at

    def get_offset(self) -> int:
        return self._at

    def get_size(self) -> int:
        return self._file.size

    def close(self) -> None:
        """The file is its opener's."""


class LibyalMedia:
    """A disk that a handle of one of the libraries reads."""

    def __init__(self, kind: str, handle: Any, files: Sequence[EvidenceFile], keep: Sequence[Any] = ()) -> None:
        self.format, self.files = kind, tuple(files)
        self.size: int = handle.get_media_size()
        self.details: dict[str, str] = {}
        self.problems: list[str] = []
        self._handle, self._keep = handle, keep
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        try:
            with self._lock:
                data: bytes = self._handle.read_buffer_at_offset(size, offset)
        except OSError as error:
            raise EvidenceError(f"{self.files[0].path}: byte {offset} of the disk cannot be read: {_reason(error)}") from error
        if len(data) < size:
            raise EvidenceError(f"{self.files[0].path}: the disk cannot be read from byte {offset + len(data)} on")
        return data

    def close(self) -> None:
        """Close all files."""
        self._handle.close()
        for file in self.files:
            file.close()


def open_vmdk(file: EvidenceFile) -> LibyalMedia:
    """The disk of a VMDK: sparse, stream-optimised, flat, split, or a snapshot's over its parent's."""
    return _open_vmdk(file, 0)


def _open_vmdk(file: EvidenceFile, depth: int) -> LibyalMedia:
    handle = pyvmdk.handle()
    files = [file]
    keep: list[Any] = []
    if _describes_nothing(file):
        raise EvidenceError(
            f"{file.path}: is an extent of a VMDK disk, without its descriptor; give the .vmdk file that names it"
        )
    try:
        handle.open_file_object(_Stream(file))
        # a file with its descriptor inside is its own extent, whatever it was called when it was made
        alone = file.read(0, len(_SPARSE)) == _SPARSE and handle.get_number_of_extents() == 1
        for number in range(handle.get_number_of_extents()):
            name = handle.get_extent_descriptor(number).get_filename()
            if name is None:
                raise UnsupportedFormat("an extent without a file")
            extent = file if alone or _last(name) == file.path.name else _beside(file, name, "extent")
            if extent is not file:
                files.append(extent)
            keep.append(_Stream(extent))
        handle.open_extent_data_files_as_file_objects(keep)
        if handle.get_parent_content_identifier() != _NO_PARENT and handle.get_parent_filename():
            parent = _open_vmdk(_parent(file, handle.get_parent_filename(), depth), depth + 1)
            handle.set_parent(parent._handle)
            files += parent.files
            keep.append(parent)
        return LibyalMedia("VMDK", handle, files, keep)
    except (OSError, UnsupportedFormat) as error:
        raise EvidenceError(f"{file.path}: cannot be read as VMDK: {_reason(error)}") from error


def _describes_nothing(file: EvidenceFile) -> bool:
    """Whether this is an extent alone: one of ESX (COWD), or a sparse one with nothing where its descriptor would be."""
    head = file.read(0, SECTOR)
    place = int.from_bytes(head[_DESCRIPTOR_AT : _DESCRIPTOR_AT + 8], "little") * SECTOR
    sparse = head.startswith(_SPARSE) and file.size > SECTOR
    return head.startswith(_ESX_SPARSE) or (sparse and (not place or file.read(place, 1) == b"\0"))


def open_vhd(file: EvidenceFile) -> LibyalMedia:
    """The disk of a VHD or VHDX: fixed, dynamic, or differencing over its parent's."""
    return _open_vhd(file, 0)


def _open_vhd(file: EvidenceFile, depth: int) -> LibyalMedia:
    handle = pyvhdi.file()
    kind = "VHDX" if file.read(0, len(vhdx.SIGNATURE)) == vhdx.SIGNATURE else "VHD"
    read, replayed, problem = _replayed(file) if kind == "VHDX" else (file, None, None)
    files: list[EvidenceFile] = [file]
    keep: list[Any] = [_Stream(read)]
    try:
        handle.open_file_object(keep[0])
        if handle.get_parent_identifier() and handle.get_parent_filename():
            parent = _open_vhd(_parent(file, handle.get_parent_filename(), depth), depth + 1)
            handle.set_parent(parent._handle)
            files += parent.files
            keep.append(parent)
        media = LibyalMedia(kind, handle, files, keep)
    except OSError as error:
        raise EvidenceError(f"{file.path}: cannot be read as VHD or VHDX: {_reason(error)}") from error
    if replayed is not None:
        media.details["log"] = replayed
    if problem is not None:
        media.problems.append(problem)
    for each in keep[1:]:
        media.problems += each.problems
    return media


def _replayed(file: EvidenceFile) -> tuple[EvidenceFile | ReplayedFile, str | None, str | None]:
    """The file with its log replayed, what that was, and what it lacks."""
    try:
        return *replay_log(file), None
    except FormatError as error:
        return file, None, f"its log cannot be replayed, and what was written last may be missing: {error}"


def _parent(file: EvidenceFile, name: str, depth: int) -> EvidenceFile:
    if depth >= MAX_PARENTS:
        raise EvidenceError(f"{file.path}: a chain of more than {MAX_PARENTS} parents")
    if _last(name) == file.path.name:
        raise EvidenceError(f"{file.path}: names itself as its parent")
    return _beside(file, name, "parent")


def _beside(file: EvidenceFile, name: str, what: str) -> EvidenceFile:
    path = file.path.parent / _last(name) if _last(name) else None
    if path is None or not path.exists():
        raise EvidenceError(f"{file.path}: its {what} {name!r} is not beside it; put it into {file.path.parent}")
    return EvidenceFile(path)


def _last(name: str) -> str:
    """The last part of a name, whose separators are Windows' or ours."""
    return PureWindowsPath(name).name


def _reason(error: Exception) -> str:
    """What a library says, without its C function's name: `pyvmdk_...: unable to ... lib...: what happened.`"""
    text = str(error).split(" libvmdk_")[0].split(" libvhdi_")[0]
    return " ".join(text.rpartition(": ")[2].split()).rstrip(".") or type(error).__name__
