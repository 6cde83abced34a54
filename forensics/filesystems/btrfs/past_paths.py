"""Where an inode of an earlier transaction stood, as far as the names above it are known."""

from __future__ import annotations

from typing import NamedTuple

from forensics.filesystems.btrfs.history import History
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.numbers import number_of
from forensics.filesystems.btrfs.reader import BtrfsFilesystem
from forensics.filesystems.btrfs.subvolumes import Item, Key
from forensics.filesystems.past.paths import tell_more_names
from parsers import btrfs
from parsers.btrfs_names import INODE_EXTREF, INODE_REF, Link, links
from parsers.errors import EvidenceError, FormatError

MAX_DEPTH = 2048  # of a path
MAX_NAMES = 4096  # of one inode


class PastPath(NamedTuple):
    """A path; directory: that it ends in, by its subvolume's own number. sure: every part of it is of that transaction.

    A path that begins with `#` and a number is what stood in that inode, of which the path is not known.
    """

    path: bytes
    directory: int
    sure: bool


class PastPaths:
    """The paths of inodes in earlier transactions."""

    def __init__(self, fs: BtrfsFilesystem, history: History) -> None:
        self._fs, self._history = fs, history
        self._tops: dict[int, bytes] = {}

    def of(self, tree: int, items: list[tuple[Key, Item]], then: ItemTree | None) -> list[PastPath]:
        """The paths of an inode with these items. then: its subvolume as it was at that moment, where that is known."""
        found = []
        own = own_links(items)
        if len(own) > MAX_NAMES:
            tell_more_names(self._fs, number_of(tree, items[0][0][0]), MAX_NAMES)
        for link in own[:MAX_NAMES]:
            above, sure = self.directory(tree, link.parent, then)
            found.append(PastPath(above + b"/" + link.name, link.parent, sure))
        return found

    def directory(self, tree: int, objectid: int, then: ItemTree | None) -> tuple[bytes, bool]:
        """The path of a directory, and whether every part of it is of that moment."""
        parts: list[bytes] = []
        sure = then is not None
        while objectid != btrfs.ROOT_DIR:
            link, known = self._above(tree, objectid, then)
            sure &= known
            if link is None or len(parts) == MAX_DEPTH:
                return b"/".join([b"#%d" % number_of(tree, objectid), *reversed(parts)]), False
            parts.append(link[1])
            objectid = link[0]
        top = self.top(tree)
        return b"/".join([top, *reversed(parts)]), sure and not top.startswith(b"#")

    def _above(self, tree: int, objectid: int, then: ItemTree | None) -> tuple[tuple[int, bytes] | None, bool]:
        """The directory that another one is in and its name there, and whether that is of the moment that is asked for."""
        try:
            if then is not None and (found := own_links(then.between((objectid, INODE_REF, 0), (objectid, INODE_EXTREF, LAST)))):
                return (found[0].parent, found[0].name), True
        except (FormatError, EvidenceError):
            pass  # another moment may tell it
        if tree in self._fs.forest.subvolumes and (now := self._fs.subvolume(tree).parents.get(objectid)) is not None:
            return now, False
        state = self._history.states.get((tree, objectid))
        if state is None:
            return None, False
        try:
            found = own_links(self._history.items(tree, objectid, state)[0])
        except (FormatError, EvidenceError):
            return None, False
        return ((found[0].parent, found[0].name) if found else None), False

    def top(self, tree: int) -> bytes:
        """The path of a subvolume, b"" of the top-level one."""
        parts: list[bytes] = []
        seen = {tree}
        known, at = self._tops, tree
        while at != btrfs.FS_TREE and at not in known:
            place = self._linked(at)
            if place is None or (place[0] in seen and place[0] != btrfs.FS_TREE):
                known[at] = b"#%d" % number_of(at, btrfs.ROOT_DIR)
                break
            above, directory, name = place
            seen.add(above)
            parts.append(name)
            while directory != btrfs.ROOT_DIR and len(parts) < MAX_DEPTH:
                link, _ = self._above(above, directory, None)
                if link is None:
                    known[tree] = b"/".join([b"#%d" % number_of(above, directory), *reversed(parts)])
                    return known[tree]
                parts.append(link[1])
                directory = link[0]
            at = above
        known[tree] = b"/".join([known.get(at, b""), *reversed(parts)])
        return known[tree]

    def _linked(self, tree: int) -> tuple[int, int, bytes] | None:
        """Where a subvolume is linked, or was: the one above, the directory in it, its name."""
        live = sorted((above, directory, name) for above, own, directory, name in self._fs.forest.links if own == tree)
        return live[0] if live else self._history.versions.places.get(tree)


def own_links(items: list[tuple[Key, Item]]) -> list[Link]:
    """The names of an inode among its items, sorted; those of damaged items are left out."""
    found: set[Link] = set()
    for (_, kind, offset), item in items:
        if kind in (INODE_REF, INODE_EXTREF):
            try:
                found.update(links(kind, offset, item.data))
            except FormatError:
                continue
    return sorted(found)
