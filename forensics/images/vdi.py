"""VirtualBox disk images."""

from __future__ import annotations

from forensics.images.files import EvidenceFile
from parsers import vdi
from parsers.errors import EvidenceError, FormatError


class VdiMedia:
    """The disk of one VDI file."""

    def __init__(self, file: EvidenceFile) -> None:
        self.format = "VDI"
        self.files: tuple[EvidenceFile, ...] = (file,)
        self.details: dict[str, str] = {}
        self.problems: list[str] = []
        self._file = file
        self._header = vdi.parse_header(file.read(0, vdi.vdi_header.size))
        self._map = vdi.parse_map(file.read(self._header.map_offset, 4 * self._header.blocks), self._header.blocks)
        self.size = self._header.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; blocks that were never written are zeros."""
        parts = []
        while size:
            number, inside = divmod(offset, self._header.block_size)
            length = min(size, self._header.block_size - inside)
            block = int(self._map[number])
            parts.append(bytes(length) if block >= vdi.UNALLOCATED else self._stored(block, inside, length))
            offset, size = offset + length, size - length
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _stored(self, block: int, inside: int, length: int) -> bytes:
        header = self._header
        at = header.data_offset + block * (header.block_size + header.block_extra) + header.block_extra + inside
        data = self._file.read(at, length)
        if len(data) < length:
            raise EvidenceError(f"{self._file.path}: block {block} lies behind the file's end")
        return data


def open_vdi(file: EvidenceFile) -> VdiMedia:
    """The disk of a VDI file."""
    try:
        return VdiMedia(file)
    except FormatError as error:
        raise EvidenceError(f"{file.path}: {error}") from error
