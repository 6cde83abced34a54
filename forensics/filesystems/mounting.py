"""Which directory of a filesystem a mount shows: its root, or on Btrfs that of a subvolume; and where a host's root may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from forensics.filesystem import Filesystem, lookup
from forensics.filesystems.btrfs.numbers import number_of, split
from forensics.filesystems.btrfs.reader import BtrfsFilesystem
from parsers import btrfs
from parsers.errors import CtrForensicsError, FormatError

MAX_DEPTH = 2048
MAX_ROOTS = 64


class Shown(NamedTuple):
    """A directory and its path from the filesystem's own root."""

    inode: int
    path: bytes


def shown_by_mount(fs: Filesystem, options: str | None) -> Shown | None:
    """What a mount with these options shows; None where the kernel would refuse it, or where that is damaged."""
    if fs.kind != "btrfs":
        return Shown(fs.root, b"/")
    volume = cast(BtrfsFilesystem, fs)
    given = dict(option.partition("=")[::2] for option in (options or "").split(","))
    try:
        if "subvol" in given:
            path = b"/" + b"/".join(part for part in given["subvol"].encode().split(b"/") if part not in (b"", b"."))
            number = lookup(fs, path)
            return Shown(number, path) if number is not None and split(number)[1] == btrfs.ROOT_DIR else None
        tree = int(given["subvolid"], 0) if "subvolid" in given else volume.forest.default
        return subvolume(volume, tree or btrfs.FS_TREE)
    except (CtrForensicsError, ValueError):
        return None


def subvolume(fs: BtrfsFilesystem, tree: int) -> Shown | None:
    """A subvolume by its id, with its path; None where it is linked nowhere."""
    parts: list[bytes] = []
    at, directory = tree, btrfs.ROOT_DIR
    links = {below: (above, parent, name) for above, below, parent, name in sorted(fs.forest.links, reverse=True)}
    while (at, directory) != (btrfs.FS_TREE, btrfs.ROOT_DIR):
        if len(parts) == MAX_DEPTH or at not in fs.forest.subvolumes:
            return None
        if directory == btrfs.ROOT_DIR:
            if at not in links:
                return None
            at, directory, name = links[at]
        else:
            above = fs.subvolume(at).parents.get(directory)
            if above is None:
                return None
            directory, name = above
        parts.append(name)
    return Shown(number_of(tree, btrfs.ROOT_DIR), b"/" + b"/".join(reversed(parts)))


def possible_roots(fs: Filesystem) -> Iterator[Shown]:
    """The directories that may be a host's root: what a mount shows, and the subvolumes in or below the top-level directory."""
    if fs.kind != "btrfs":
        yield Shown(fs.root, b"/")
        return
    volume = cast(BtrfsFilesystem, fs)
    nearest = sorted(
        (directory != btrfs.ROOT_DIR, name, below)
        for above, below, directory, name in volume.forest.links
        if above == btrfs.FS_TREE
    )
    told: set[int] = set()
    for tree in [volume.forest.default, btrfs.FS_TREE, *(below for _, _, below in nearest)]:
        if tree not in told and len(told) < MAX_ROOTS:
            told.add(tree)
            try:
                found = subvolume(volume, tree)
            except FormatError:
                continue
            if found is not None:
                yield found


def rooted(fs: Filesystem, root: int) -> Filesystem:
    """The same filesystem with another root directory, for those who resolve paths in it."""
    return fs if root == fs.root else cast(Filesystem, _Rooted(fs, root))


class _Rooted:
    """Says what its root is, and leaves everything else to the filesystem."""

    def __init__(self, fs: Filesystem, root: int) -> None:
        self._fs, self.root = fs, root

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)
