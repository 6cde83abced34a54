"""Collections of files that stand where a disk image could: a directory, or a tar archive, plain or compressed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from forensics.images.files import EvidenceFile
from forensics.images.unpack import PACKED_ERRORS, blocks
from parsers import image_formats
from parsers.errors import EvidenceError


class DirectoryMedia:
    """A directory: it has no bytes of its own."""

    def __init__(self) -> None:
        self.format, self.size = "directory", 0
        self.files: tuple[EvidenceFile, ...] = ()
        self.details: dict[str, str] = {}
        self.problems: list[str] = []

    def read(self, offset: int, size: int) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Nothing is open."""


class UnpackedMedia:
    """A compressed archive, unpacked into a file without a name, which is gone when it is closed."""

    def __init__(self, file: EvidenceFile, kind: str, directory: Path | None) -> None:
        self.format = "tar"
        self.files: tuple[EvidenceFile, ...] = (file,)
        self.details = {"compression": kind, "size and sha256": "of the unpacked archive"}
        self.problems: list[str] = []
        self.size = 0
        try:
            self._unpacked = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 # it lives as long as the media
        except OSError as error:
            raise EvidenceError(
                f"{directory or tempfile.gettempdir()}: {error.strerror}; --unpack names another place"
            ) from error
        try:
            with file.path.open("rb") as packed:
                for block in blocks(kind, packed):
                    self._unpacked.write(block)
                    self.size += len(block)
            self._unpacked.flush()
        except PACKED_ERRORS as error:
            self.problems.append(f"cannot be unpacked beyond byte {self.size} of the archive: {error}")
            self._unpacked.flush()
        except OSError as error:
            self._unpacked.close()
            raise EvidenceError(
                f"{file.path}: cannot be unpacked ({error.strerror}); --unpack names a place with more room"
            ) from error

    def read(self, offset: int, size: int) -> bytes:
        """The archive's bytes."""
        return os.pread(self._unpacked.fileno(), size, offset)

    def close(self) -> None:
        """Remove the unpacked archive, and close the packed one."""
        self._unpacked.close()
        for file in self.files:
            file.close()


def packs_an_archive(path: Path, kind: str) -> bool:
    """Whether a compressed file holds a tar archive, by its first block."""
    try:
        with path.open("rb") as packed:
            head = next(iter(blocks(kind, packed)), b"")
    except (*PACKED_ERRORS, OSError):
        return False
    named = image_formats.name_format(head[: image_formats.HEAD_SIZE], b"")
    return named is not None and named[0] == "tar"
