"""QCOW2 disk images: clusters plain, compressed, zero, or those of the backing file; internal snapshots.

libqcow gives wrong data for compressed clusters without an error, so this reader is ours. A backing file and an external data
file are looked for beside the disk image only, by the last part of their name: a name in evidence must not lead to a file of
the examiner's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from forensics.images.chunks import ChunkCache
from forensics.images.files import EvidenceFile, Media
from parsers import qcow2
from parsers.errors import EvidenceError, FormatError, UsageError

MAX_CHAIN = 64
_TABLES = 16 << 20  # bytes of L2 tables that are kept
_ZERO, _BACKING, _PLAIN, _PACKED = range(4)


class Qcow2Media:
    """The disk of one QCOW2 file, over the disk of its backing file."""

    def __init__(self, file: EvidenceFile, data: EvidenceFile, header: qcow2.Header, backing: Media | None) -> None:
        self.format, self.size = "QCOW2", header.size
        self.files = (file, *((data,) if data is not file else ()), *(backing.files if backing else ()))
        self.details: dict[str, str] = {}
        self.problems: list[str] = [*(backing.problems if backing else ())]
        self._file, self._data, self._header, self._backing = file, data, header, backing
        self._cluster = 1 << header.cluster_bits
        self._entry = 16 if header.extended_l2 else 8
        self._per_table = self._cluster // self._entry
        self._l1 = self._read_l1(header.l1_offset, header.l1_size)
        # an L2 table is a cluster long, and so is what a compressed cluster unpacks to
        self._tables = ChunkCache(self._cluster, self._read_table, _TABLES)
        self._packed = ChunkCache(self._cluster, self._unpack)

    def use_snapshot(self, snapshot: qcow2.Snapshot) -> None:
        """Show the disk as it was at an internal snapshot."""
        self._l1 = self._read_l1(snapshot.l1_offset, snapshot.l1_size)
        self.size = self.size if snapshot.size is None else snapshot.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; clusters that follow each other in the file are read at once."""
        parts: list[bytes] = []
        run_at, run = 0, 0
        end = offset + size
        while offset < end:
            kind, place, length = self._place(offset, end - offset)
            if run and (kind != _PLAIN or place != run_at + run):
                parts.append(self._plain(run_at, run))
                run = 0
            if kind == _PLAIN:
                run_at, run = (run_at if run else place), run + length
            elif kind == _PACKED:
                parts.append(self._packed.read(offset, length))
            else:
                parts.append(self._below(offset, length) if kind == _BACKING else bytes(length))
            offset += length
        if run:
            parts.append(self._plain(run_at, run))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()

    def _place(self, offset: int, size: int) -> tuple[int, int, int]:
        """What holds the bytes at `offset`, where in the file, and how many bytes that is true for."""
        number, inside = divmod(offset, self._cluster)
        length = min(size, self._cluster - inside)
        entry, bitmap = self._lookup(number)
        if entry & qcow2.COMPRESSED:
            return _PACKED, 0, length
        host = entry & qcow2.OFFSET_MASK
        if self._header.extended_l2:
            return self._subcluster(host, bitmap, inside, length)
        if entry & qcow2.ZERO and self._header.zero_flag:
            return _ZERO, 0, length
        if host or (self._header.external and entry):
            return _PLAIN, host + inside, length
        return _BACKING, 0, length

    def _subcluster(self, host: int, bitmap: int, inside: int, length: int) -> tuple[int, int, int]:
        unit = self._cluster // 32
        index = inside // unit
        length = min(length, unit - inside % unit)
        if bitmap >> (32 + index) & 1:
            return _ZERO, 0, length
        if bitmap >> index & 1:
            return _PLAIN, host + inside, length
        return _BACKING, 0, length

    def _lookup(self, number: int) -> tuple[int, int]:
        """A cluster's L2 entry and, with extended entries, its bitmap of subclusters."""
        index, inside = divmod(number, self._per_table)
        if index >= len(self._l1) or not self._l1[index] & qcow2.OFFSET_MASK:
            return 0, 0
        raw = self._tables.read(index * self._cluster + inside * self._entry, self._entry)
        return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:16], "big")

    def _read_table(self, index: int) -> bytes:
        offset = self._l1[index] & qcow2.OFFSET_MASK
        table = self._file.read(offset, self._cluster)
        if len(table) < self._cluster:
            raise EvidenceError(f"{self._file.path}: an L2 table at byte {offset} lies behind the file's end")
        return table

    def _read_l1(self, offset: int, entries: int) -> Sequence[int]:
        needed = -(-self.size // (self._cluster * self._per_table))
        if entries * 8 > qcow2.MAX_L1 or entries < needed:
            raise FormatError(f"an L1 table of {entries} entries for {self.size} bytes", offset=36)
        raw = self._file.read(offset, entries * 8)
        if len(raw) < entries * 8:
            raise FormatError("the L1 table lies behind the file's end", offset=40)
        return struct.unpack(f">{entries}Q", raw)

    def _unpack(self, number: int) -> bytes:
        entry, _ = self._lookup(number)
        offset, length = qcow2.compressed_place(entry, self._header.cluster_bits)
        try:
            return qcow2.unpack_cluster(self._file.read(offset, length), self._cluster, zstd=self._header.zstd)
        except FormatError as error:
            start = number * self._cluster
            raise EvidenceError(f"{self._file.path}: byte {start} of the disk cannot be read: {error.what}") from error

    def _plain(self, offset: int, length: int) -> bytes:
        data = self._data.read(offset, length)
        if len(data) < length:
            if self._data.size % self._cluster and offset + length - self._data.size < self._cluster:
                return data.ljust(length, b"\0")  # the last cluster of a file need not be whole
            raise EvidenceError(f"{self._data.path}: a cluster at byte {offset + len(data)} lies behind the file's end")
        return data

    def _below(self, offset: int, length: int) -> bytes:
        if self._backing is None or offset >= self._backing.size:
            return bytes(length)
        return self._backing.read(offset, min(length, self._backing.size - offset)).ljust(length, b"\0")


def open_qcow2(file: EvidenceFile, open_media: Callable[[EvidenceFile, bool], Media], snapshot: str | None = None) -> Qcow2Media:
    """The disk of a QCOW2 file. open_media: opens a backing file, as a raw one where that is True. snapshot: its name or id."""
    try:
        header = qcow2.parse_header(file.read(0, 1 << 21))
        data = file
        if header.external:
            data = _beside(file, header.data_file or "", "data file")
        backing = None
        if header.backing_file is not None:
            backing = open_media(_beside(file, header.backing_file, "backing file"), header.backing_format == "raw")
        media = Qcow2Media(file, data, header, backing)
        if len(media.files) > MAX_CHAIN:
            raise FormatError(f"a chain of more than {MAX_CHAIN} backing files")
        _note(media, header)
        _choose(media, file, header, snapshot)
    except FormatError as error:
        raise EvidenceError(f"{file.path}: {error}") from error
    return media


def _note(media: Qcow2Media, header: qcow2.Header) -> None:
    if header.corrupt:
        media.problems.append("QEMU has marked the disk image as corrupt")
    if header.dirty:
        media.details["state"] = "QEMU did not close it"


def _choose(media: Qcow2Media, file: EvidenceFile, header: qcow2.Header, wanted: str | None) -> None:
    if header.snapshots > qcow2.MAX_SNAPSHOTS:
        raise FormatError(f"{header.snapshots} snapshots", offset=60)
    raw = file.read(header.snapshots_offset, header.snapshots * 2048) if header.snapshots else b""
    snapshots = qcow2.parse_snapshots(raw, header.snapshots)
    if snapshots:
        media.details["snapshots"] = ", ".join(f"{each.name} (id {each.id})" for each in snapshots)
    if wanted is None:
        return
    found = [each for each in snapshots if wanted in (each.name, each.id)]
    if len(found) != 1:
        known = media.details.get("snapshots", "none")
        raise UsageError(f"{file.path} has {len(found) or 'no'} snapshots {wanted!r}; it has: {known}")
    media.use_snapshot(found[0])
    media.details["snapshot"] = f"{found[0].name} (id {found[0].id})"


def _beside(file: EvidenceFile, name: str, what: str) -> EvidenceFile:
    last = PurePosixPath(name.removeprefix("file:").replace("\\", "/")).name
    path = file.path.parent / last
    if not last or "\0" in name or not path.exists():
        raise EvidenceError(f"{file.path}: its {what} {name!r} is not beside it; put it into {file.path.parent}")
    return EvidenceFile(path)
