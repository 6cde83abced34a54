"""A tar archive of a host's files, read where it lies: the last member of a name counts, as when it is unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forensics.filesystem import NO_SIZE, Extent, Inode, Problem
from forensics.filesystems.collected.filesystem import LACKS, CollectedFilesystem
from forensics.filesystems.rows import MAX_ENTRIES
from forensics.source import Source
from forensics.text import readable
from parsers import pax_headers
from parsers.errors import EvidenceError, FormatError

MAX_HEADER = 16 << 20  # bytes that tarfile may read at once: no real header is longer
_TYPES = {
    tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p",
}  # fmt: skip


class _Stream:
    """A source as tarfile reads one."""

    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise FormatError(f"a header of {size} bytes", self._source.name, self._at)
        data = self._source.read(self._at, size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else self._at + offset if whence == 1 else self._source.size + offset
        return self._at

    def tell(self) -> int:
        return self._at


@dataclass(slots=True)
class _Node:
    """An entry. extents: where a regular file's content stands in the archive."""

    type: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    times: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    rdev: tuple[int, int] | None = None
    target: bytes = b""
    xattrs: dict[bytes, bytes] | None = None
    extents: tuple[Extent, ...] = ()
    children: dict[bytes, int] | None = None
    links: int = 1
    offset: int | None = None


@dataclass
class ArchiveCollection:
    """The members of an archive as a tree of nodes, numbered as they come."""

    source: Source
    problems: list[Problem]
    root: int = 1
    nodes: dict[int, _Node] = field(default_factory=lambda: {1: _Node("d", children={})})
    last: int = 1

    def inode(self, number: int) -> Inode:
        """The metadata that the archive keeps of an entry. offset: of its header in the archive."""
        node = self._node(number)
        links = (
            2 + sum(self.nodes[child].type == "d" for child in node.children.values())
            if node.children is not None
            else node.links
        )
        mtime, atime, ctime, crtime = node.times
        size = node.size if node.children is None else NO_SIZE
        return Inode(
            number, node.type, node.mode, node.uid, node.gid, size, links, mtime, atime, ctime, crtime, node.rdev,
            offset=None if node.offset is None else self.source.locate(node.offset),
        )  # fmt: skip

    def children(self, number: int) -> Mapping[bytes, int]:
        """The names in a directory."""
        return self._node(number).children or {}

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes, where PAX records tell them."""
        return self._node(number).xattrs or {}

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        return self._node(number).target

    def read(self, number: int, offset: int, size: int) -> bytes:
        """A file's bytes, holes as zeros."""
        out = bytearray(size)
        for extent in self._node(number).extents:
            start, end = max(extent.logical, offset), min(extent.logical + extent.length, offset + size)
            if start < end and extent.offset is not None:
                part = self.source.read(extent.offset + start - extent.logical, end - start)
                if len(part) < end - start:
                    raise FormatError("the archive ends before the file's content", self.source.name, extent.offset)
                out[start - offset : end - offset] = part
        return bytes(out)

    def extents(self, number: int) -> Sequence[Extent] | None:
        """Where a file's content stands in the archive."""
        return self._node(number).extents

    def _node(self, number: int) -> _Node:
        if number not in self.nodes:
            raise FormatError(f"there is no inode {number}", self.source.name)
        return self.nodes[number]

    def add(self, member: tarfile.TarInfo) -> None:
        """Take a member of the archive."""
        path = _parts(member.name)
        if path is None:
            self._problem(member, "its name leads out of the archive")
            return
        if not path:
            self._fill(self.nodes[self.root], member)
            return
        parent = self._directory(path[:-1], member)
        if parent is None:
            return
        if member.islnk():
            self._link(parent, path[-1], member)
            return
        known = self.nodes.get(parent.get(path[-1], 0))
        kind = _TYPES.get(member.type, "f")
        if known is not None and known.type == kind == "d":
            self._fill(known, member)
            return
        self._unlink(parent, path[-1])
        self._fill(self._new(parent, path[-1], kind), member)

    def _new(self, parent: dict[bytes, int], name: bytes, kind: str) -> _Node:
        self.last += 1
        parent[name] = self.last
        self.nodes[self.last] = node = _Node(kind, children={} if kind == "d" else None)
        return node

    def _fill(self, node: _Node, member: tarfile.TarInfo) -> None:
        headers = {name: value for name, value in member.pax_headers.items() if isinstance(value, str)}
        mtime = pax_headers.time_ns(headers.get("mtime"))
        node.mode, node.uid, node.gid, node.offset = member.mode & 0o7777, member.uid, member.gid, member.offset
        node.times = (
            int(member.mtime) * 10**9 if mtime is None else mtime,
            pax_headers.time_ns(headers.get("atime")),
            pax_headers.time_ns(headers.get("ctime")),
            pax_headers.time_ns(headers.get("LIBARCHIVE.creationtime")),
        )
        node.xattrs = pax_headers.xattrs(headers) or None
        if node.type == "l":
            node.target = member.linkname.encode("utf-8", "surrogateescape")
            node.size = len(node.target)
        elif node.type in ("c", "b"):
            node.rdev = (member.devmajor, member.devminor)
        elif node.type == "f":
            node.size, node.extents = member.size, _extents(member)

    def _directory(self, path: Sequence[bytes], member: tarfile.TarInfo) -> dict[bytes, int] | None:
        """The names in the directory at a path, which is made where no member told of it."""
        here = self.nodes[self.root].children
        for part in path:
            if here is None:
                break
            node = self.nodes[here[part]] if part in here else self._new(here, part, "d")
            here = node.children
        if here is None:
            self._problem(member, "its name leads through what is no directory")
        return here

    def _link(self, parent: dict[bytes, int], name: bytes, member: tarfile.TarInfo) -> None:
        path = _parts(member.linkname)
        number: int | None = self.root
        for part in path or ():
            number = (self.nodes[number].children or {}).get(part) if number is not None else None
        if not path or number is None or self.nodes[number].type == "d":
            self._problem(member, "the file that it is a hard link to is not in the archive")
            return
        if parent.get(name) != number:
            self._unlink(parent, name)
            parent[name] = number
            self.nodes[number].links += 1

    def _unlink(self, parent: dict[bytes, int], name: bytes) -> None:
        known = parent.pop(name, None)
        if known is not None:
            self.nodes[known].links -= 1

    def _problem(self, member: tarfile.TarInfo, what: str) -> None:
        name = readable(member.name.encode("utf-8", "surrogateescape"))
        self.problems.append(Problem("archive member", name, what, self.source.locate(member.offset)))


def _parts(name: str) -> list[bytes] | None:
    """The names in a member's path, None where it leads out of the archive."""
    parts = [part for part in name.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b".")]
    return None if b".." in parts else parts


def _extents(member: tarfile.TarInfo) -> tuple[Extent, ...]:
    pieces: Sequence[tuple[int, int]] = member.sparse or [(0, member.size)]  # type: ignore[assignment] # typeshed has an int
    extents, at = [], member.offset_data
    for logical, length in pieces:
        if length:
            extents.append(Extent(logical, at, length))
            at += length
    return tuple(extents)


def open_archive(source: Source) -> CollectedFilesystem:
    """The archive as a filesystem. What follows damage in it cannot be found, and is a problem."""
    problems: list[Problem] = []
    collection = ArchiveCollection(source, problems)
    stream = _Stream(source)
    try:
        # what a stream must have for tarfile to read an archive from it, no type tells
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members.clear()  # else tarfile keeps every one
                collection.add(member)
                if len(collection.nodes) > MAX_ENTRIES:
                    raise FormatError(f"more than {MAX_ENTRIES} members", source.name)
    except (tarfile.TarError, FormatError, EvidenceError, ValueError, OverflowError, RecursionError) as error:
        problems.append(Problem("archive", source.name, f"cannot be read on: {error}", source.locate(stream.tell())))
    lacks = f"{LACKS}, no sizes of directories, and of times and xattrs only what its PAX records have"
    if not any(node.xattrs for node in collection.nodes.values()):
        lacks += (
            "; it has no xattrs at all, where overlayfs keeps its marks, so that a merged view may show what was hidden in it"
        )
    return CollectedFilesystem("tar", collection, problems, lacks)
