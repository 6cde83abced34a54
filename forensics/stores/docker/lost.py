"""Names for the directories of a data-root that a damaged directory no longer names, told by what they hold.

A back end shows such a directory where it was, as `#` and its inode number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from forensics.filesystem import DirEntry, Filesystem, read_file
from forensics.filesystems.renamed import renamed
from parsers.docker_container import parse_config
from parsers.docker_layer import chain_id, parse_digest, parse_link, parse_link_target
from parsers.errors import FormatError

MAX_FILE = 4 << 20

_ID = re.compile(rb"[0-9a-f]{64}")
_LOG = re.compile(rb"([0-9a-f]{64})-json\.log")

# A directory that has all of these subdirectories is this one; with `layerdb` it is that of the driver in image/.
_BY_SUBDIRECTORIES = (
    ({b"sha256", b"mounts"}, b"layerdb"),
    ({b"content", b"metadata"}, b"imagedb"),
    ({b"layerdb"}, b"overlay2"),
    ({b"imagedb"}, b"overlay2"),
    ({b"l"}, b"overlay2"),
)
# A directory with a subdirectory that has this in it is this one.
_BY_WHAT_IS_BELOW = (
    (b"config.v2.json", b"containers"),
    (b"hostconfig.json", b"containers"),
    (b"mount-id", b"mounts"),
    (b"cache-id", b"sha256"),
    (b"link", b"overlay2"),
    (b"layerdb", b"image"),
    (b"local-kv.db", b"network"),
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LostDirectory:
    """A directory without a name of its own, and the directory that it is in."""

    inode: int
    parent: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A lost directory and the two levels in it. below: what is in any of its subdirectories."""

    directory: LostDirectory
    types: Mapping[bytes, str | None]
    subdirectories: frozenset[bytes]
    below: frozenset[bytes]


def lost_name(inode: int) -> bytes:
    """What a back end calls a directory whose name is lost."""
    return b"#%d" % inode


def with_names(fs: Filesystem, lost: Sequence[LostDirectory]) -> Filesystem:
    """The same filesystem, with their names given back to those lost directories that belong to a data-root."""
    seen = [_look(fs, directory) for directory in lost]
    names = {each.directory.inode: name for each in seen if (name := _name(each) or _own_name(fs, each)) is not None}
    links = _layers_by_link(fs, [number for number, name in names.items() if name == b"l"])
    for each in seen:
        link = _file(fs, each, b"link", parse_link)
        if link in links:
            names[each.directory.inode] = links[link]
    names |= _contents_of_layers(fs, [each for each in seen if each.directory.inode not in names])
    new: dict[int, dict[bytes, bytes]] = {}
    for directory in lost:
        name = names.get(directory.inode)
        given = new.setdefault(directory.parent, {})
        if name is not None and name not in given.values() and fs.find(directory.parent, name) is None:
            given[lost_name(directory.inode)] = name
    return renamed(fs, new)


def _look(fs: Filesystem, directory: LostDirectory) -> _Seen:
    entries = _entries(fs, directory.inode)
    subdirectories = {entry.name: entry.inode for entry in entries if entry.type == "d"}
    below = frozenset(entry.name for number in subdirectories.values() for entry in _entries(fs, number))
    return _Seen(directory, {entry.name: entry.type for entry in entries}, frozenset(subdirectories), below)


def _name(seen: _Seen) -> bytes | None:
    """What a directory of the data-root's skeleton is called."""
    if seen.types and all(kind == "l" for kind in seen.types.values()):
        return b"l"
    if b"local-kv.db" in seen.types:
        return b"files"
    if b"metadata.db" in seen.types:
        return b"volumes"
    if seen.types and all(_ID.fullmatch(name) and kind == "f" for name, kind in seen.types.items()):
        return b"sha256"  # of imagedb/content
    for needed, name in _BY_SUBDIRECTORIES:
        if needed <= seen.subdirectories:
            return name
    return next((name for mark, name in _BY_WHAT_IS_BELOW if mark in seen.below), None)


def _own_name(fs: Filesystem, seen: _Seen) -> bytes | None:
    """What a container's or a layer's directory is called: its files say so."""
    config = _file(fs, seen, b"config.v2.json", parse_config)
    if config is not None and config.id is not None:
        return config.id.encode() if _ID.fullmatch(config.id.encode()) else None
    logs = [match[1] for name in seen.types if (match := _LOG.fullmatch(name))]
    if logs:
        return logs[0]
    diff_id = _file(fs, seen, b"diff", parse_digest)
    if diff_id is not None and b"cache-id" in seen.types:
        return chain_id(_file(fs, seen, b"parent", parse_digest), diff_id).removeprefix("sha256:").encode()
    return None


def _layers_by_link(fs: Filesystem, lost: Sequence[int]) -> dict[str, bytes]:
    """Layer directories' names by their short ones, of all directories of such links, lost or not."""
    directories = [*lost, *(inside[b"l"] for inside in _driver_directories(fs))]
    found = {}
    for entry in (entry for number in directories for entry in _entries(fs, number) if entry.type == "l"):
        try:
            found[parse_link(entry.name)] = parse_link_target(fs.target(entry.inode)).encode()
        except FormatError:
            continue  # no link of overlay2's; one that is damaged is told when the data-root is read
    return found


def _contents_of_layers(fs: Filesystem, lost: Sequence[_Seen]) -> dict[int, bytes]:
    """`diff` and `work` of layers whose directory is damaged: in `work` is another; of the rest, the first that is not empty."""
    layers = {inode for inside in _driver_directories(fs) for inode in inside.values()}
    names = {}
    for layer in sorted({seen.directory.parent for seen in lost} & layers):
        inside = [seen for seen in lost if seen.directory.parent == layer]
        for seen in inside:
            if b"work" in seen.subdirectories and seen.types.keys() <= {b"work", b"index"}:
                names[seen.directory.inode] = b"work"
        rest = [seen for seen in inside if seen.directory.inode not in names]
        if rest:
            names[min(rest, key=lambda seen: (not seen.types, seen.directory.inode)).directory.inode] = b"diff"
    return names


def _driver_directories(fs: Filesystem) -> Iterator[dict[bytes, int]]:
    """The subdirectories of each directory that holds an `l`, as overlay2's does."""
    for _, subdirectories in fs.directories():
        inside = dict(subdirectories)
        if b"l" in inside:
            yield inside


def _entries(fs: Filesystem, number: int) -> Sequence[DirEntry]:
    try:
        return fs.entries(number)
    except FormatError:
        return ()  # told when the data-root is read


def _file(fs: Filesystem, seen: _Seen, name: bytes, parse: Callable[[bytes], _T]) -> _T | None:
    """A file of a lost directory, parsed; None where there is none, or where it is damaged too."""
    number = fs.find(seen.directory.inode, name) if seen.types.get(name) == "f" else None
    try:
        return parse(read_file(fs, number, MAX_FILE)) if number is not None else None
    except FormatError:
        return None  # told when the data-root is read
