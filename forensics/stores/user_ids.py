"""Whose user and group ids stand on the disk: those of a rootless user's namespace, and of a daemon's that remaps all containers.

Source: shadow, subuid(5); rootlesskit, newuidmap; moby v20.10 to v28, daemon/daemon_unix.go (setupRemappedRoot),
pkg/idtools (LoadIdentityMapping, createIDMap).
"""

from __future__ import annotations

import re

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.users import users
from parsers.id_map import IDS, IdMaps, IdRange, parse_subordinate, remapped, rootless

FILES = (b"/etc/subuid", b"/etc/subgid")
MAX_FILE = 1 << 20

_REMAPPED = re.compile(rb"(\d{1,10})\.(\d{1,10})")


def rootless_ids(reader: StoreReader, tree: HostTree | None, root: Place) -> IdMaps | None:
    """The user namespace of the user whose directory it is; None for root's. Ids that no file gives to the user are unknown."""
    inode = reader.inode(root)
    if inode is None or inode.uid == 0:
        return None
    own = b"%d" % inode.uid
    names = {user.name for user in users(reader, tree) if user.uid == own and user.name} if tree is not None else set()
    owners = {own, *(name for name in names if name is not None)}
    given = []
    for path in FILES:
        place = resolve_or_none(tree, path) if tree is not None else None
        given.append(reader.load(place, "subordinate ids", lambda data: parse_subordinate(data, owners), MAX_FILE) or ())
    return IdMaps(rootless(inode.uid, given[0]), rootless(inode.gid, given[1]))


def is_a_users(reader: StoreReader, tree: HostTree | None, root: Place) -> bool:
    """Whether a directory belongs to a user that the host knows, other than root."""
    inode = reader.inode(root)
    if tree is None or inode is None or inode.uid == 0:
        return False
    return any(user.uid == b"%d" % inode.uid for user in users(reader, tree))


def remapped_ids(reader: StoreReader, tree: HostTree | None, root: Place) -> IdMaps | None:
    """The user namespace of a data-root's directory <uid>.<gid>, which are root's ids there.

    No more than these where no file gives them to a user; None where nothing else tells that the name is meant so.
    """
    match, inode = _REMAPPED.fullmatch(root.name), reader.inode(root)
    if match is None or inode is None or max(map(int, match.groups())) >= IDS:
        return None
    maps = [_remapped(reader, tree, path, int(first)) for path, first in zip(FILES, match.groups(), strict=True)]
    if not any(maps) and inode.gid != int(match[2]):
        return None
    uids, gids = (ranges or (IdRange(0, int(first), 1),) for ranges, first in zip(maps, match.groups(), strict=True))
    return IdMaps(uids, gids)


def _remapped(reader: StoreReader, tree: HostTree | None, path: bytes, first: int) -> tuple[IdRange, ...]:
    place = resolve_or_none(tree, path) if tree is not None else None

    def parse(data: bytes) -> tuple[IdRange, ...]:
        return remapped(data, first)

    return reader.load(place, "subordinate ids", parse, MAX_FILE) or ()
