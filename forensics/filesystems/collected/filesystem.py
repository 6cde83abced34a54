"""A collection behind the filesystem protocol: what is the same for a directory and for an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from forensics.filesystem import DirEntry, Extent, Inode, Problem, Tree
from forensics.filesystems.rows import Row, tree_of
from forensics.source import Source
from parsers.errors import FormatError

MAX_ENTRIES = 20_000_000
LACKS = "has no deleted files, no unallocated space, no place of metadata on a disk"


class Collection(Protocol):
    """Where entries come from. Every method raises FormatError for what cannot be read."""

    source: Source
    """What `extents` point into; empty where contents stand in files of their own."""
    root: int

    def inode(self, number: int) -> Inode:
        """The inode's metadata."""
        ...

    def children(self, number: int) -> Mapping[bytes, int]:
        """The inode numbers of the names in a directory."""
        ...

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes by full name."""
        ...

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        ...

    def read(self, number: int, offset: int, size: int) -> bytes:
        """A file's bytes, within its size."""
        ...

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands in `source`, None where it does not stand there."""
        ...


class CollectedFilesystem:
    """A collection as a filesystem. lacks: what it does not have and a disk would, for a gap."""

    state = "as collected"
    label: str | None = None
    uuid: str | None = None
    block_size = 4096

    def __init__(self, kind: str, collection: Collection, problems: list[Problem], lacks: str) -> None:
        self.kind, self.source, self.root = kind, collection.source, collection.root
        self.problems = problems
        self._collection = collection
        self.problems.append(Problem("collection", "/", f"a collection {lacks}"))

    def inode(self, number: int) -> Inode:
        """The inode's metadata."""
        return self._collection.inode(number)

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted by name; empty, and a problem, where it cannot be read."""
        found = []
        for name, child in sorted(self._children(number).items()):
            try:
                found.append(DirEntry(name, child, self._collection.inode(child).type))
            except FormatError as error:
                self._problem("inode", child, error)
        return found

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name."""
        return self._children(directory).get(name)

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes by full name."""
        return self._collection.xattrs(number)

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        return self._collection.target(number)

    def read(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """A file's content."""
        end = self._collection.inode(number).size
        if size is not None:
            end = min(end, offset + size)
        return self._collection.read(number, offset, end - offset) if offset < end else b""

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands."""
        return self._collection.extents(number)

    def extents_of(self, numbers: Sequence[int]) -> Mapping[int, Sequence[Extent]]:
        """As extents, of many files at once."""
        found = {number: self._collection.extents(number) for number in numbers}
        return {number: extents for number, extents in found.items() if extents is not None}

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory, once."""
        seen, pending = {self.root}, [self.root]
        while pending:
            number = pending.pop()
            below = [(entry.name, entry.inode) for entry in self.entries(number) if entry.type == "d"]
            yield number, below
            new = [inode for _, inode in below if inode not in seen]
            seen.update(new)
            pending.extend(reversed(new))

    def tree(self, number: int) -> Tree:
        """A directory and all below it."""
        rows: list[Row] = [(b"", -1, self.inode(number))]
        targets: dict[int, bytes] = {}
        xattrs: dict[int, dict[bytes, bytes]] = {}
        seen, pending = {number}, [0]
        while pending:
            parent = pending.pop()
            for name, child in sorted(self._children(rows[parent][2].number).items()):
                try:
                    inode = self._collection.inode(child)
                    if inode.type == "l":
                        targets[len(rows)] = self._collection.target(child)
                except FormatError as error:
                    self._problem("inode", child, error)
                    continue
                if inode.type == "d":
                    if child in seen:
                        continue
                    seen.add(child)
                    pending.append(len(rows))
                rows.append((name, parent, inode))
            if len(rows) > MAX_ENTRIES:
                raise FormatError(f"more than {MAX_ENTRIES} entries", self.source.name)
        for row, (_, _, inode) in enumerate(rows):
            try:
                if found := self._collection.xattrs(inode.number):
                    xattrs[row] = found
            except FormatError as error:
                self._problem("xattrs", inode.number, error)
        return tree_of(rows, targets, xattrs)

    def _children(self, number: int) -> Mapping[bytes, int]:
        try:
            return self._collection.children(number)
        except FormatError as error:
            self._problem("directory", number, error)
            return {}

    def _problem(self, what: str, number: int, error: FormatError) -> None:
        problem = Problem(what, f"inode {number}", str(error))
        if problem not in self.problems:
            self.problems.append(problem)
