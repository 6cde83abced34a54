"""An XFS filesystem behind the filesystem protocol."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np

from forensics.filesystem import Extent, Inode, Tree
from forensics.filesystems.bulk.blocks import MAX_READ, BlockMap, read_content
from forensics.filesystems.bulk.directories import ScannedFilesystem
from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.scan import Scan
from forensics.filesystems.bulk.walk import Walk
from forensics.filesystems.xfs.attributes import Attributes
from forensics.filesystems.xfs.columns import types
from forensics.filesystems.xfs.directories import Batch, DirectoryReader
from forensics.filesystems.xfs.forks import data_map, leaf_runs
from forensics.filesystems.xfs.geometry import read_geometry
from forensics.filesystems.xfs.inodes import InodeTables
from forensics.filesystems.xfs.remote import Places, read_remote
from forensics.filesystems.xfs.scan import scan_all, scan_below
from forensics.filesystems.xfs.tree import XfsTreeBuilder
from forensics.source import Source
from parsers.errors import EvidenceError, FormatError
from parsers.xfs import Superblock, crc_holds
from parsers.xfs_attr import SYMLINK_MAGIC
from parsers.xfs_dir import block_parent, short_form_parent
from parsers.xfs_inode import CRC_AT, Format, InodeFlag, InodeRecord, device

MAX_TARGET = 1024  # XFS_SYMLINK_MAXLEN
MANY = 1 << 14  # inodes whose maps are decoded at the same time
GREATEST = (1 << 56) - 1  # an inode number
FEW = 256  # directories that are read without reading all of them first


class Xfs(ScannedFilesystem):
    """Reads one filesystem as it stands in `source`.

    Raises FormatError where there is no filesystem to read, UnsupportedFormat where its features are not read.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.geometry = read_geometry(source, self.log)
        superblock = self.geometry.superblock
        self.kind = "xfs"
        self.label: str | None = superblock.label.decode("utf-8", "backslashreplace") or None
        self.uuid: str | None = str(uuid.UUID(bytes=superblock.uuid))
        self.state = "clean"
        self.root = superblock.root
        self.greatest = GREATEST
        self.block_size = superblock.block_size
        self.tables = InodeTables(source, self.geometry)
        self._attributes = Attributes(self.tables, self.log)
        self._directories = DirectoryReader(self.tables, self._map)
        self._last_map = 0, BlockMap([], [])

    @property
    def superblock(self) -> Superblock:
        """The superblock in use."""
        return self.geometry.superblock

    def inode(self, number: int) -> Inode:
        """The inode's metadata; nlink 0 where it was deleted."""
        r = self._record(number)
        kind = r.type
        return Inode(
            number, kind, r.mode & 0xFFF, r.uid, r.gid, r.size, r.links, r.mtime, r.atime, r.ctime, r.crtime,
            device(r.fork) if kind in "cb" else None, r.generation, self.tables.locate(number),
        )  # fmt: skip

    def _record(self, number: int) -> InodeRecord:
        """The inode; a wrong checksum is a problem."""
        record = self.tables.record(number)
        known = number not in self.tables.stand_ins
        if known and self.superblock.has_crc and not crc_holds(self.tables.raw(number), CRC_AT):
            self.log.add("inode", number, "the inode's checksum is wrong", self.tables.offset(number))
        return record

    def _map(self, number: int, record: InodeRecord) -> BlockMap:
        last, known = self._last_map
        if number == last:
            return known
        found = data_map(self.source, self.geometry, record, self.tables.offset(number))
        self._last_map = number, found  # as its record
        return found

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands, None for inline content. Raises FormatError where the map is damaged."""
        record = self.tables.record(number)
        if record.type not in "fdl":
            return ()
        if record.format == Format.LOCAL:
            return None
        if record.type == "l" and self.superblock.has_crc:
            return None  # every block begins with a header
        self._check_device(number, record)
        runs, damage = self._map(number, record)
        for fault in damage:
            if fault.end > fault.first:
                raise FormatError(f"inode {number}: {fault.error}", self.source.name, fault.offset)
        size = self.block_size
        end = -(-record.size // size)
        return [
            Extent(logical * size, None if unwritten else physical * size, min(count, end - logical) * size)
            for logical, count, physical, unwritten in runs
            if logical < end
        ]

    def extents_of(self, numbers: Sequence[int]) -> dict[int, list[Extent]]:
        """As extents, of many files at once: of those whose map is as simple as nearly all are; ask `extents` for the others."""
        size = self.block_size
        found: dict[int, list[Extent]] = {}
        for first in range(0, len(numbers), MANY):
            part = np.array(numbers[first : first + MANY], np.int64)
            rows = self.tables.rows(part)
            inode = self.tables.records(rows)
            runs, simple = leaf_runs(rows, inode, self.geometry)
            simple &= (types(inode, part) == ord("f")) & (inode["di_flags"] & int(InodeFlag.REALTIME) == 0)
            left = -(-inode["di_size"].astype(np.int64)[runs.owner] // size) - runs.logical
            kept = simple[runs.owner] & (left > 0)
            counts = np.minimum(runs.count, left)[kept]
            places = np.where(runs.unwritten, -1, runs.physical * size)[kept]
            of_row: list[list[Extent] | None] = [[] if known else None for known in simple.tolist()]
            columns = (runs.owner[kept], runs.logical[kept] * size, counts * size, places)
            for row, logical, length, place in zip(*(column.tolist() for column in columns), strict=True):
                extents = of_row[row]
                if extents is not None:
                    extents.append(Extent(logical, None if place < 0 else place, length))
            found |= {number: extents for number, extents in zip(part.tolist(), of_row, strict=True) if extents is not None}
        return found

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content; at most MAX_READ bytes at once. Raises FormatError where a part of it cannot be read."""
        record = self.tables.record(number)
        length = max(0, record.size - offset)
        length = length if size is None else min(length, size)
        if record.type not in "fdl" or length <= 0 or offset < 0:
            return b""
        if record.format == Format.LOCAL:
            if record.size > len(record.fork):
                raise FormatError(f"inode {number}: {record.size} bytes inline", self.source.name, self.tables.offset(number))
            return record.fork[offset : offset + length]
        self._check_device(number, record)
        if record.type == "l":
            return self._far_target(number, record)[offset : offset + length]
        if length > MAX_READ:
            raise FormatError(f"inode {number}: {length} bytes are too many to be read at once", self.source.name)
        return read_content(self.source, self.block_size, self._map(number, record), offset, length, number)

    def _check_device(self, number: int, record: InodeRecord) -> None:
        if record.flags & InodeFlag.REALTIME and record.type == "f":
            error = f"inode {number}: its content is on the realtime device, which is another volume"
            raise FormatError(error, self.source.name, self.tables.offset(number))

    def _far_target(self, number: int, record: InodeRecord) -> bytes:
        if record.size > MAX_TARGET:
            raise FormatError(f"inode {number}: a target of {record.size} bytes", self.source.name, self.tables.offset(number))

        def report(error: str, place: int) -> None:
            self.log.add("symlink", number, error, place)

        places = Places(self._map(number, record).runs, self.block_size)
        return read_remote(self.source, places, 0, record.size, self.superblock, SYMLINK_MAGIC, report)

    def target(self, number: int) -> bytes:
        """A symlink's target. Raises FormatError where the inode is none."""
        record = self.tables.record(number)
        if record.type != "l":
            raise FormatError(f"inode {number} is no symlink", self.source.name, self.tables.offset(number))
        return self.read(number).split(b"\0", 1)[0]

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """The attributes that the kernel shows, by full name."""
        return self._attributes.read(number, self.tables.record(number))

    def _type(self, number: int) -> str:
        return self._record(number).type

    def _offset(self, number: int) -> int | None:
        return self.tables.offset(number)

    def _read_directory(self, number: int) -> tuple[Listing, list[Fault]]:
        row = np.frombuffer(self.tables.raw(number), np.uint8).reshape(1, -1)
        return self._directories.read([Batch(np.array([number]), row)])

    def _read_below(self, number: int, most: int) -> Scan | None:
        return scan_below(self.tables, self._directories, number, most)

    def _read_all(self) -> Scan:
        return scan_all(self.tables, self._directories, self.log, self.root)

    def _stand_in(self, lost: list[int]) -> Numbers:
        self.tables.stand_in(lost)
        return self.geometry.inode_offsets(np.array(lost))

    def _few(self) -> int:
        return max(FEW, self.superblock.inodes // 64)

    def _tree(self, number: int, listing: Listing, way: Walk) -> Tree:
        return XfsTreeBuilder(self.tables, self.log, self._attributes, self.target).build(number, listing, way)

    def _parent(self, number: int) -> int | None:
        """The inode that a directory says it stands in."""
        try:
            record = self.tables.record(number)
            if record.format == Format.LOCAL:
                return short_form_parent(record.fork)
            mapped = self._map(number, record)
            place = Places(mapped.runs, self.block_size).of(0)
            return None if place is None else block_parent(self.source.read(place, self.block_size), self.superblock.has_crc)
        except (FormatError, EvidenceError):
            return None
