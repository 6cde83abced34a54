"""The directories of a filesystem that is read in bulk: names, paths down, and trees, from as few reads as the question needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from forensics.filesystem import DirEntry, Problem, Tree
from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.lost import lost_directories, lost_names
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.scan import DIRECTORY, Scan
from forensics.filesystems.bulk.walk import Walk
from forensics.source import Source
from parsers.errors import FormatError

CACHED_NAMES = 1 << 18  # of directories that were read one at a time


class ScannedFilesystem(ABC):
    """What is the same for ext4 and XFS: one directory is read alone, many are read all at once, and kept."""

    root: int
    greatest: int
    """No inode number is greater."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.log = ProblemLog(source)
        self.problems: list[Problem] = self.log.list
        self._scan: Scan | None = None
        self._names: dict[int, dict[bytes, tuple[int, str | None]]] = {}
        self._cached_names = 0
        self._read_alone = 0

    @abstractmethod
    def _type(self, number: int) -> str:
        """An inode's type. Raises FormatError where it is damaged or not in use."""

    @abstractmethod
    def _offset(self, number: int) -> int | None:
        """Where an inode stands in the source."""

    @abstractmethod
    def _read_directory(self, number: int) -> tuple[Listing, list[Fault]]:
        """One directory alone."""

    @abstractmethod
    def _read_below(self, number: int, most: int) -> Scan | None:
        """A directory and those below it; None where they are more than `most`, too deep, or one is lost."""

    @abstractmethod
    def _read_all(self) -> Scan:
        """Every directory of the filesystem."""

    @abstractmethod
    def _stand_in(self, lost: list[int]) -> Numbers:
        """Take these lost inodes for empty directories from now on; where they stood in the source, -1 for nowhere."""

    @abstractmethod
    def _few(self) -> int:
        """How many directories are read level by level before it is cheaper to read all."""

    @abstractmethod
    def _parent(self, number: int) -> int | None:
        """The inode that a directory says it stands in."""

    @abstractmethod
    def _tree(self, number: int, listing: Listing, way: Walk) -> Tree:
        """The tree of a directory, of what a walk of the listing goes through."""

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted."""
        return [DirEntry(name, inode, kind) for name, (inode, kind) in sorted(self._directory(number).items())]

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode of one name in a directory, None where there is none or no directory."""
        found = self._directory(directory).get(name)
        return None if found is None else found[0]

    def tree(self, number: int) -> Tree:
        """A directory and all below it. Raises FormatError where the inode is no directory."""
        if self._type(number) != "d":
            raise FormatError(f"inode {number} is no directory", self.source.name, self._offset(number))
        scan = self._scan_below(number)
        tree = self._build(number, scan)
        if scan is not self._scan and not scan.listing.covers(tree.inode[tree.type == DIRECTORY]):
            tree = self._build(number, self._scan_all())  # an entry's type lied: a directory below was not entered
        return tree

    def _build(self, number: int, scan: Scan) -> Tree:
        at = scan.listing.index(number)
        if at is None:
            raise FormatError(f"inode {number} is no directory in use", self.source.name, self._offset(number))
        way = scan.subdirectories.walk(at)
        scan.report(way, self.log)
        return self._tree(number, scan.listing, way)

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory reachable from the root, once, with its subdirectories."""
        scan = self._scan_all()
        at = scan.listing.index(self.root)
        if at is None:
            self.log.add("directory", self.root, "the root directory is damaged", None)
            return
        way = scan.subdirectories.walk(at)
        scan.report(way, self.log)
        yield from scan.subdirectories.of_walk(way)

    def _scan_all(self) -> Scan:
        if self._scan is None:
            scan = self._read_all()
            lost = lost_directories(scan.listing, self.root, self._parent)
            if lost:
                scan = scan.with_directories(lost, self._stand_in(lost).tolist())
            if scan.is_damaged():
                names = lost_names(scan.listing, scan.faults, self.root, self._parent)
                scan = scan.with_lost(names, self.greatest) if names else scan
            self._scan = scan
            self.log.path_of = lambda number: scan.path(number, self.root)
            self._names.clear()
        return self._scan

    def _scan_below(self, number: int) -> Scan:
        """A scan that covers a directory: of it alone as long as little is read that way, else of the whole filesystem."""
        if self._scan is None and number != self.root:
            most = self._few() - self._read_alone
            below = self._read_below(number, most)
            self._read_alone += len(below.listing.directories) if below is not None else most
            if below is not None and not below.is_damaged():
                return below
        return self._scan_all()

    def _directory(self, number: int) -> dict[bytes, tuple[int, str | None]]:
        names = self._names.get(number)
        if names is not None:
            return names
        try:
            kind = self._type(number)
        except FormatError:
            if self._scan is not None:
                raise
            self._scan_all()  # what stood in it may be there without it
            return self._directory(number)
        if kind != "d":
            return {}
        at = self._scan.listing.index(number) if self._scan is not None else None
        if self._scan is not None and at is not None:
            listing, faults = self._scan.listing, self._scan.faults.get(number, [])
        else:
            listing, faults = self._read_directory(number)
            at = 0
            if self._scan is None and any(fault.lost for fault in faults):
                self._scan_all()  # what stood in the directory may still know that it did
                return self._directory(number)
        for fault in faults:
            self.log.add("directory", number, fault.error, fault.offset)
        rows = listing.rows(at)
        kinds = [chr(k) if k else None for k in listing.type[rows].tolist()]
        names = dict(zip(listing.name_list(rows), zip(listing.inode[rows].tolist(), kinds, strict=True), strict=True))
        if self._cached_names + len(names) > CACHED_NAMES:
            self._names.clear()
            self._cached_names = 0
        self._names[number] = names
        self._cached_names += len(names)
        return names
