"""Files of a store, read one by one: what is damaged becomes a gap and loses itself only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from forensics.file_source import FileSource
from forensics.filesystem import Filesystem, Inode, read_file
from forensics.records import Gap, LayerArchive, Provenance
from forensics.text import readable
from parsers.errors import FormatError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory in the evidence. path: in its partition, from the partition's root."""

    partition: int
    fs: Filesystem
    inode: int
    path: bytes

    @property
    def name(self) -> bytes:
        """The last part of the path."""
        return self.path.rpartition(b"/")[2]


class StoreReader:
    """Reads places; whatever cannot be read is added to `gaps`."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._last: FileSource | None = None

    def gap(self, artefact: str, error: str, place: Place | None = None, byte: int | None = None) -> None:
        """One thing that could not be read or does not fit. byte: the offset in the file."""
        if place is None:
            self.gaps.append(Gap(artefact, error))
        else:
            self.gaps.append(Gap(artefact, error, place.partition, readable(place.path), self._on_disk(place, byte or 0)))

    def tell(self, artefact: str, problems: Sequence[str], place: Place | None) -> None:
        """A gap for each of the problems that a parser met in a file."""
        for problem in problems:
            self.gap(artefact, problem, place)

    def child(self, directory: Place, *names: bytes) -> Place | None:
        """The place below a directory by its names, no symlink followed; None where there is none."""
        place = directory
        for name in names:
            try:
                found = place.fs.find(place.inode, name)
            except FormatError as error:
                self.gap("directory", str(error), place)
                return None
            if found is None:
                return None
            place = Place(place.partition, place.fs, found, place.path.rstrip(b"/") + b"/" + name)
        return place

    def children(self, directory: Place | None, kinds: str = "", most: int | None = None) -> Sequence[Place]:
        """What is in a directory, by name; only inodes of the types in `kinds`, where given. Nothing is in no directory.

        most: no more of them, and a gap where there are.
        """
        if directory is None:
            return ()
        try:
            entries = directory.fs.entries(directory.inode)
        except FormatError as error:
            self.gap("directory", str(error), directory)
            return ()
        base = directory.path.rstrip(b"/")
        places = [Place(directory.partition, directory.fs, entry.inode, base + b"/" + entry.name) for entry in entries]
        found = [place for place in places if not kinds or self.type(place) in kinds]
        if most is not None and len(found) > most:
            self.gap(
                "directory", f"{len(found):,} names of the kind that is looked for; only the first {most:,} were read", directory
            )
        return found[:most]

    def inode(self, place: Place) -> Inode | None:
        """Its metadata, None where they are damaged."""
        try:
            return place.fs.inode(place.inode)
        except FormatError as error:
            self.gap("inode", str(error), place)
            return None

    def type(self, place: Place) -> str:
        """Its type as in Inode.type; `?` where the inode is damaged."""
        inode = self.inode(place)
        return "?" if inode is None else inode.type

    def target(self, place: Place) -> bytes | None:
        """A symlink's target, None where it is damaged."""
        try:
            return place.fs.target(place.inode)
        except FormatError as error:
            self.gap("symlink", str(error), place)
            return None

    def xattr_names(self, place: Place) -> tuple[bytes, ...]:
        """The names of its extended attributes; none where they are damaged."""
        try:
            return tuple(sorted(place.fs.xattrs(place.inode)))
        except FormatError as error:
            self.gap("extended attributes", str(error), place)
            return ()

    def load(self, place: Place | None, artefact: str, parse: Callable[[bytes], _T], limit: int) -> _T | None:
        """A file of at most `limit` bytes, parsed; None where there is none, or where it is damaged."""
        if place is None:
            return None
        try:
            if (kind := place.fs.inode(place.inode).type) != "f":
                raise FormatError(f"no regular file but of type {kind}")
            return parse(read_file(place.fs, place.inode, limit))
        except FormatError as error:
            self.gap(artefact, str(error), place, error.offset)
            return None

    def head(self, place: Place, size: int) -> bytes:
        """The first bytes of a file; none where it is damaged."""
        try:
            return place.fs.read(place.inode, 0, size)
        except FormatError as error:
            self.gap("file", str(error), place, error.offset)
            return b""

    def provenance(self, place: Place, how: str = "allocated") -> Provenance:
        """Where a record came from."""
        return Provenance(place.partition, readable(place.path), place.inode, self._on_disk(place, 0), how)

    def _on_disk(self, place: Place, byte: int) -> int | None:
        """The offset in the disk image of a byte of a file; of its inode where the content stands nowhere of its own."""
        try:
            if self._last is None or self._last.fs is not place.fs or self._last.inode != place.inode:
                self._last = FileSource(place.fs, place.inode)
            found = self._last.locate(byte)
            return place.fs.inode(place.inode).offset if found is None else found
        except FormatError:
            return None  # the place is the damage, and is told by whoever asks


def subvolume_is_here(reader: StoreReader, directory: Place) -> bool:
    """Whether a directory is Btrfs's and no stand-in, without times, for a subvolume that a snapshot did not take along."""
    inode = reader.inode(directory)
    return directory.fs.kind == "btrfs" and inode is not None and inode.type == "d" and inode.mtime_ns is not None


def tar_split(reader: StoreReader, directory: Place | None, name: bytes) -> LayerArchive | None:
    """The file that rebuilds a layer's archive, where there is one."""
    place = reader.child(directory, name) if directory is not None else None
    return LayerArchive("tar-split", place.partition, place.inode, readable(place.path)) if place is not None else None
