"""A collection behind the filesystem protocol: what is the same for a directory and for an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from forensics.filesystem import DirEntry, Extent, Inode, Problem, Tree
from forensics.filesystems.rows import walk_directories, walk_tree
from forensics.source import Source
from forensics.text import readable
from parsers.errors import FormatError

MAX_DEPTH = 2
MAX_LOOKED_AT = 1 << 12
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
    """A collection as a filesystem. lacks: what it does not have and a disk would, for a gap.

    Where a triage tool put the host's files into a directory of their own (`[root]`, `uploads/auto`), that is the root.
    """

    state = "as collected"
    label: str | None = None
    uuid: str | None = None
    block_size = 4096

    def __init__(self, kind: str, collection: Collection, problems: list[Problem], lacks: str) -> None:
        self.kind, self.source, self.root = kind, collection.source, collection.root
        self.problems = problems
        self._collection = collection
        self.problems.append(Problem("collection", "/", f"a collection {lacks}"))
        inside = _host_root(collection)
        if inside is not None:
            path, self.root = inside
            beside = f"the host's files are those in {readable(path)}, which is / here; what stands beside it is not looked at"
            self.problems.append(Problem("collection", "/", beside))

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
        return walk_directories(self)

    def tree(self, number: int) -> Tree:
        """A directory and all below it."""
        return walk_tree(self, number)

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


def _host_root(collection: Collection) -> tuple[bytes, int] | None:
    """The one directory, at most two below the collection's own, that looks like a host's root; None where that is the own."""
    level = [(b"", collection.root)]
    for _ in range(MAX_DEPTH + 1):
        found = [each for each in level if _looks_like_root(collection, each[1])]
        if found:
            return found[0] if len(found) == 1 and found[0][1] != collection.root else None
        below = [(path + b"/" + name, child) for path, number in level for name, child in _listed(collection, number)]
        level = [each for each in below[:MAX_LOOKED_AT] if _is_directory(collection, each[1])]
    return None


def _looks_like_root(collection: Collection, number: int) -> bool:
    names = dict(_listed(collection, number))
    return b"etc" in names and (b"var" in names or b"usr" in names) and _is_directory(collection, names[b"etc"])


def _listed(collection: Collection, number: int) -> list[tuple[bytes, int]]:
    try:
        return sorted(collection.children(number).items())
    except FormatError:
        return []  # who walks the collection tells of it


def _is_directory(collection: Collection, number: int) -> bool:
    try:
        return collection.inode(number).type == "d"
    except FormatError:
        return False
