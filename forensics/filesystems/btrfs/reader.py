"""A Btrfs filesystem behind the protocol, seen from its top-level tree: every subvolume and snapshot at its place."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from forensics.btrfs_devices import JoinedDevices
from forensics.filesystem import DirEntry, Extent, Inode, Problem, Tree
from forensics.filesystems.btrfs.checksums import Checksums
from forensics.filesystems.btrfs.chunks import LogicalSource, NodeReader
from forensics.filesystems.btrfs.content import ContentReader, FileExtent, disk_extents, parse_extent
from forensics.filesystems.btrfs.content_problems import content_problems
from forensics.filesystems.btrfs.forest import read_chunks, read_forest
from forensics.filesystems.btrfs.inodes import parse_inode
from forensics.filesystems.btrfs.log import CLEAN, NOT_REPLAYED, Logs, apply_logs
from forensics.filesystems.btrfs.numbers import UNLINKED, number_of, split
from forensics.filesystems.btrfs.subvolumes import NO_CHANGES, Name, Root, Subvolume, read_subvolume
from forensics.filesystems.btrfs.verified import VerifiedSource
from forensics.filesystems.rows import walk_directories, walk_tree
from forensics.source import Source
from parsers import btrfs
from parsers.errors import EvidenceError, FormatError, UnsupportedFormat

MAX_READ = 1 << 31
KEPT = 384 << 20  # bytes of subvolumes that are kept


class BtrfsFilesystem:
    """An open Btrfs filesystem."""

    kind = "btrfs"

    def __init__(
        self, device: Source, superblock: btrfs.Superblock, problems: list[Problem], replay_journal: bool = True
    ) -> None:
        self._problems = problems
        self.label = superblock.label
        self.uuid: str | None = str(uuid.UUID(bytes=superblock.uuid))
        self.block_size, self.root = superblock.sector, btrfs.ROOT_DIR
        logical = LogicalSource(device.name, {superblock.devid: device})
        if isinstance(device, JoinedDevices):
            logical = LogicalSource(device.name, device.devices, device.older)
        self.reader = NodeReader(logical, superblock)
        devices = read_chunks(self.reader, logical, problems)
        self.forest = read_forest(self.reader, Root(superblock.root, superblock.root_level), problems)
        if btrfs.FS_TREE not in self.forest.subvolumes:
            raise FormatError("the top-level tree cannot be found", logical.name)
        self._tell_devices(logical, superblock.devices, devices)
        log = Logs(CLEAN if not superblock.log_root else NOT_REPLAYED)
        if replay_journal:
            log = apply_logs(self.reader, superblock, self.forest.subvolumes, problems)
        self.state, self.log = log.state, log
        self.verified = VerifiedSource(logical, Checksums(self.reader, self.forest.own.get(btrfs.CSUM_TREE), log.checksums))
        self.source: Source = self.verified
        self.content = ContentReader(self.verified, superblock.sector)
        self._subvolumes: OrderedDict[int, Subvolume] = OrderedDict()
        self._unlinked: dict[tuple[int, int, bytes], int] = {}
        self._told: tuple[int, list[Problem]] = (0, [])

    @property
    def problems(self) -> list[Problem]:
        """What could not be read so far, and what was read from another copy than the first."""
        extents = self.forest.own.get(btrfs.EXTENT_TREE)
        count = self.verified.findings
        if count != self._told[0]:
            new = content_problems(self.verified, self.reader, extents)
            self._problems[:] = [each for each in self._problems if each not in self._told[1]] + new
            self._told = count, new
        return self._problems

    def _tell_devices(self, logical: LogicalSource, count: int, devices: Mapping[int, str]) -> None:
        here = len(logical.devices)
        if count > here:
            names = [f"device {n} ({devices[n]})" for n in sorted(devices) if n not in logical.devices]
            which = f"; {', '.join(names)} not in the evidence" if names else ""
            error = f"{count} devices, of which {here} here{which}: what stands on no other is missing"
            self._problems.append(Problem("filesystem", "/", error))
        if logical.older:
            names = [f"device {n} ({devices.get(n)})" for n in sorted(logical.older)]
            error = f"{', '.join(names)} missed the last changes: what stands on no other may be older"
            self._problems.append(Problem("filesystem", "/", error))

    def inode(self, number: int) -> Inode:
        """The inode's metadata."""
        if number >= UNLINKED:
            return Inode(number, "d", 0o755, 0, 0, 0, 1, None, None, None)
        volume, objectid = self._find(number)
        index, at = volume.inodes[objectid]
        leaf = volume.leaves[index]
        return parse_inode(number, leaf.data, at, self.source.locate(leaf.address + at))

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted."""
        return [
            DirEntry(name.name, self._target(number, name), "d" if name.subvolume is not None else name.type)
            for _, name in sorted(self._names(number).items())
        ]

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name."""
        found = self._names(directory).get(name)
        return None if found is None else self._target(directory, found)

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes by full name."""
        if number >= UNLINKED:
            return {}
        volume, objectid = self._find(number)
        found: dict[bytes, bytes] = {}
        for index, at, length in volume.xattrs.get(objectid, ()):
            found |= btrfs.xattrs(volume.leaves[index].data[at : at + length])
        return found

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        if self.inode(number).type != "l":
            raise FormatError(f"inode {number} is no symlink", self.source.name)
        return self.read(number)

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content."""
        end = self.inode(number).size
        if size is not None:
            end = min(end, offset + size)
        if offset >= end:
            return b""
        if end - offset > MAX_READ:
            raise FormatError(f"inode {number}: {end - offset} bytes are too many to be read at once", self.source.name)
        return self.content.read(self._extents(number), offset, end - offset)

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands, by logical address; None where it is inline or compressed."""
        return disk_extents(self._extents(number))

    def extents_of(self, numbers: Sequence[int]) -> Mapping[int, Sequence[Extent]]:
        """As extents, of many files at once."""
        found: dict[int, Sequence[Extent]] = {}
        for number in numbers:
            try:
                extents = self.extents(number)
            except (FormatError, EvidenceError):
                continue
            if extents is not None:
                found[number] = extents
        return found

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory, once."""
        return walk_directories(self)

    def tree(self, number: int) -> Tree:
        """A directory and all below it, subvolumes included."""
        return walk_tree(self, number)

    def _extents(self, number: int) -> list[FileExtent]:
        if number >= UNLINKED:
            return []
        volume, objectid = self._find(number)
        return [
            parse_extent(start, volume.leaves[index].data[at : at + length])
            for start, index, at, length in sorted(volume.extents.get(objectid, ()))
        ]

    def _names(self, number: int) -> Mapping[bytes, Name]:
        if number >= UNLINKED:
            return {}
        try:
            volume, objectid = self._find(number)
        except FormatError as error:
            self._problems.append(Problem("directory", f"inode {number}", str(error)))
            return {}
        return volume.names.get(objectid, {})

    def _target(self, directory: int, name: Name) -> int:
        """The number of what a name leads to; a subvolume that is not linked there is an empty directory, as for the kernel."""
        tree, objectid = split(directory)
        if name.subvolume is None:
            return number_of(tree, name.objectid)
        if name.subvolume in self.forest.subvolumes and (tree, name.subvolume, objectid, name.name) in self.forest.links:
            return number_of(name.subvolume, name.objectid)
        return self._unlinked.setdefault((tree, objectid, name.name), UNLINKED + len(self._unlinked))

    def _find(self, number: int) -> tuple[Subvolume, int]:
        tree, objectid = split(number)
        volume = self.subvolume(tree)
        if objectid not in volume.inodes:
            raise FormatError(f"subvolume {tree} has no inode {objectid}", self.source.name)
        return volume, objectid

    def subvolume(self, tree: int) -> Subvolume:
        """A subvolume with its tree log applied."""
        if tree in self._subvolumes:
            self._subvolumes.move_to_end(tree)
            return self._subvolumes[tree]
        if tree not in self.forest.subvolumes:
            raise FormatError(f"there is no subvolume {tree}", self.source.name)
        told = len(self._problems)
        volume = read_subvolume(
            self.reader, tree, self.forest.subvolumes[tree], self._problems, self.log.changes.get(tree, NO_CHANGES)
        )
        new = list(dict.fromkeys(self._problems[told:]))
        self._problems[told:] = [each for each in new if each not in self._problems[:told]]
        self._subvolumes[tree] = volume
        while len(self._subvolumes) > 1 and sum(each.size for each in self._subvolumes.values()) > KEPT:
            self._subvolumes.popitem(last=False)
        return volume


def open_btrfs(source: Source, replay_journal: bool = True) -> BtrfsFilesystem:
    """Open a Btrfs filesystem by its first superblock, or where that is damaged by the newest of its copies.

    replay_journal: whether its tree logs are applied, in memory.
    """
    problems: list[Problem] = []
    found: list[btrfs.Superblock] = []
    first: FormatError | None = None
    for place in btrfs.SUPERBLOCKS:
        if place + btrfs.SUPERBLOCK_SIZE > source.size:
            break
        try:
            found.append(btrfs.parse_superblock(source.read(place, btrfs.SUPERBLOCK_SIZE), place))
            if place == btrfs.SUPERBLOCKS[0]:
                break
        except UnsupportedFormat:
            raise
        except (FormatError, EvidenceError) as error:
            first = first or FormatError(str(error), source.name)
    if not found:
        raise first or FormatError("no Btrfs superblock", source.name)
    if first is not None:
        problems.append(Problem("superblock", "/", f"{first.what}; a copy of it is used", source.locate(btrfs.SUPERBLOCKS[0])))
    return BtrfsFilesystem(source, max(found, key=lambda each: each.generation), problems, replay_journal)
