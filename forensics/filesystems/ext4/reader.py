"""An ext2, ext3 or ext4 filesystem behind the filesystem protocol."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import numpy as np

from forensics.filesystem import Extent, Inode, Tree
from forensics.filesystems.bulk.blocks import MAX_READ, BlockMap, read_content
from forensics.filesystems.bulk.directories import ScannedFilesystem
from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.scan import Scan
from forensics.filesystems.bulk.walk import Walk
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.blockmap import block_map
from forensics.filesystems.ext4.content import is_fast_link
from forensics.filesystems.ext4.dirblocks import LEAST
from forensics.filesystems.ext4.directories import Batch, DirectoryReader
from forensics.filesystems.ext4.geometry import read_geometry
from forensics.filesystems.ext4.inodes import InodeTables
from forensics.filesystems.ext4.runs import file_runs
from forensics.filesystems.ext4.scan import scan_all, scan_below
from forensics.filesystems.ext4.tree import Ext4TreeBuilder
from forensics.source import Source
from parsers.errors import FormatError, UnsupportedFormat
from parsers.ext4 import ROOT_INODE, Incompat, Superblock
from parsers.ext4_inode import DIR_ENTRY, InodeFlag, InodeRecord, Run, device

MAX_TARGET = 65536  # bytes of a symlink's target: no more than the largest block
MANY = 1 << 16  # inodes whose maps are decoded at the same time
FEW = 256  # directories that are read without reading all of them first


class Ext4(ScannedFilesystem):
    """Reads one filesystem as it stands in `source`.

    What a fast commit changes beyond blocks goes before what `source` holds. inode_overrides: inode number to raw inode;
    inode_places: the byte in the source where such a one was found. dirent_changes: directory to name to inode number, None:
    removed. extent_overrides: inode number to all of its runs of blocks. Raises FormatError where there is no filesystem to
    read, UnsupportedFormat where its features are not read.
    """

    def __init__(
        self,
        source: Source,
        *,
        inode_overrides: Mapping[int, bytes] | None = None,
        inode_places: Mapping[int, int] | None = None,
        dirent_changes: Mapping[int, Mapping[bytes, int | None]] | None = None,
        extent_overrides: Mapping[int, Sequence[Run]] | None = None,
    ) -> None:
        super().__init__(source)
        self.geometry = read_geometry(source, self.log)
        superblock = self.geometry.superblock
        self.kind = superblock.kind
        self.label: str | None = superblock.label.decode("utf-8", "backslashreplace") or None
        self.uuid: str | None = str(uuid.UUID(bytes=superblock.uuid))
        self.state = "clean"
        self.root = ROOT_INODE
        self.block_size = superblock.block_size
        self._large = bool(superblock.incompat & Incompat.LARGEDIR)
        self._maps = {number: list(runs) for number, runs in (extent_overrides or {}).items()}
        self.tables = InodeTables(source, self.geometry, inode_overrides or {}, inode_places or {})
        self.greatest = self.tables.count
        self._attributes = Attributes(self.tables, self.log, self._value)
        self._directories = DirectoryReader(self.tables, self._attributes, self.block_map, self._maps, dirent_changes or {})
        self._last_map = 0, BlockMap([], [])

    @property
    def superblock(self) -> Superblock:
        """The superblock in use."""
        return self.geometry.superblock

    def inode(self, number: int) -> Inode:
        """The inode's metadata; nlink 0 where it was deleted."""
        r = self.tables.record(number)
        kind = r.type
        return Inode(
            number, kind, r.mode & 0xFFF, r.uid, r.gid, r.size, r.links, r.mtime, r.atime, r.ctime, r.crtime,
            device(r.block) if kind in "cb" else None, r.generation, self.tables.locate(number),
        )  # fmt: skip

    def block_map(self, number: int, record: InodeRecord | None = None) -> BlockMap:
        """The file's runs of blocks, and the parts of its map that are damaged."""
        if number in self._maps:
            return BlockMap(self._maps[number], [])
        last, known = self._last_map
        if number == last:
            return known
        record = record if record is not None else self.tables.record(number)
        found = block_map(self.source, self.geometry, record, self.tables.offset(number))
        self._last_map = number, found  # a large file is read piece by piece
        return found

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands, None for inline content. Raises FormatError where the map is damaged."""
        record = self.tables.record(number)
        if record.type not in "fdl":
            return ()
        if record.flags & InodeFlag.INLINE_DATA or self._is_fast_link(record):
            return None
        self._check_key(number, record)
        runs, damage = self.block_map(number, record)
        if damage:
            raise FormatError(f"inode {number}: {damage[0].error}", self.source.name, damage[0].offset)
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
            runs, simple = file_runs(self.tables.rows(part), self.geometry)
            simple &= ~np.isin(part, np.array(list(self._maps), np.int64))
            of_row: list[list[Extent] | None] = [[] if known else None for known in simple.tolist()]
            places = np.where(runs.unwritten, -1, runs.physical * size)
            for row, logical, count, place in zip(
                runs.owner.tolist(), runs.logical.tolist(), runs.count.tolist(), places.tolist(), strict=True
            ):
                extents = of_row[row]
                if extents is not None:
                    extents.append(Extent(logical * size, None if place < 0 else place, count * size))
            found |= {number: extents for number, extents in zip(part.tolist(), of_row, strict=True) if extents is not None}
        return found

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content; at most MAX_READ bytes at once. Raises FormatError where a part of it cannot be read."""
        record = self.tables.record(number)
        length = max(0, record.size - offset)
        length = length if size is None else min(length, size)
        if record.type not in "fdl" or length <= 0 or offset < 0:
            return b""
        self._check_key(number, record)
        if record.flags & InodeFlag.INLINE_DATA:
            if record.size > self.block_size:
                raise FormatError(f"inode {number}: {record.size} bytes inline", self.source.name, self.tables.offset(number))
            inline = self._attributes.inline_data(self.tables.raw(number), record)
            return inline[offset : offset + length].ljust(length, b"\0")
        if self._is_fast_link(record):
            return record.block[: record.size][offset : offset + length]
        if length > MAX_READ:
            raise FormatError(f"inode {number}: {length} bytes are too many to be read at once", self.source.name)
        return read_content(self.source, self.block_size, self.block_map(number, record), offset, length, number)

    def target(self, number: int) -> bytes:
        """A symlink's target. Raises FormatError where the inode is none."""
        record = self.tables.record(number)
        if record.type != "l":
            raise FormatError(f"inode {number} is no symlink", self.source.name, self.tables.offset(number))
        if record.size > MAX_TARGET:
            raise FormatError(f"inode {number}: a target of {record.size} bytes", self.source.name, self.tables.offset(number))
        return self.read(number).split(b"\0", 1)[0]

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """The attributes that the kernel shows, by full name."""
        record = self.tables.record(number)
        return self._attributes.read(number, self.tables.raw(number), record.extra_isize, record.file_acl)

    def _type(self, number: int) -> str:
        return self.tables.record(number).type

    def _offset(self, number: int) -> int | None:
        return self.tables.offset(number)

    def _read_directory(self, number: int) -> tuple[Listing, list[Fault]]:
        row = np.frombuffer(self.tables.raw(number), np.uint8).reshape(1, -1)
        return self._directories.read([Batch(np.array([number]), row)])

    def _read_below(self, number: int, most: int) -> Scan | None:
        return scan_below(self.tables, self._directories, number, most)

    def _read_all(self) -> Scan:
        return scan_all(self.tables, self._directories)

    def _stand_in(self, lost: list[int]) -> Numbers:
        self.tables.stand_in(lost)
        return self.tables.offsets(np.array(lost))

    def _few(self) -> int:
        return max(FEW, self.geometry.directories // 4)

    def _tree(self, number: int, listing: Listing, way: Walk) -> Tree:
        return Ext4TreeBuilder(self.tables, self.log, self._attributes, self.target).build(number, listing, way)

    def _parent(self, number: int) -> int | None:
        """The inode that a directory says it stands in."""
        try:
            record = self.tables.record(number)
            if record.flags & InodeFlag.INLINE_DATA:
                return int.from_bytes(record.block[:4], "little")
            head = self.read(number, 0, 2 * LEAST)
        except FormatError:
            return None
        name = LEAST + DIR_ENTRY.size
        if len(head) < 2 * LEAST or head[name - 2] != 2 or head[name : name + 2] != b"..":  # what pads it may be anything
            return None
        return int(DIR_ENTRY.unpack(head, LEAST)[0])

    def _check_key(self, number: int, record: InodeRecord) -> None:
        if record.flags & InodeFlag.ENCRYPT:
            raise UnsupportedFormat(f"inode {number} is encrypted", self.source.name, self.tables.offset(number))

    def _is_fast_link(self, record: InodeRecord) -> bool:
        """Whether a symlink's target stands in i_block."""
        return record.type == "l" and is_fast_link(record.size, record.sectors, record.file_acl, self.superblock)

    def _value(self, number: int, size: int) -> bytes:
        """The content of an inode that holds an attribute's value."""
        record = self.tables.record(number)
        if not record.flags & InodeFlag.EA_INODE:
            raise FormatError(f"inode {number} holds no attribute")
        return self.read(number, 0, size)
