"""Whose marks the layers of an overlay driver have: the kernel's own, its user xattrs, or fuse-overlayfs's `.wh.` files.

The driver notes in overlay/.has-mount-program whether a program mounted at its last start; storage.conf says so, too. The kernel
reads user.overlay.* in a mount that was made without privileges, which is how a rootless user mounts without a program.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader
from parsers.errors import FormatError
from parsers.storage_conf import StorageConf

FLAG = b".has-mount-program"
MAX_FLAG = 16
MAX_SEARCHED = 20_000  # directories that are looked through for a `.wh.` name


def overlay_marks(reader: StoreReader, driver: StoredDriver, graph: GraphDriver, conf: StorageConf | None) -> str:
    """`trusted`, `user` or `fuse`, as Layer.marks has them; one driver's layers all have the same."""
    if driver.directory is None:
        return "trusted"
    roots = [directory.diff for directory in graph.directories.values() if directory.diff is not None]
    program = _flag(reader, driver.directory)
    if program is None and conf is not None and conf.mount_program is not None:
        program = True
    if program is None:
        program = _has_wh_names(reader, roots)
    if program:
        return "fuse"
    seen = {"trusted": 0, "user": 0}
    for place in roots:
        names = reader.xattr_names(place)
        for kind in seen:
            seen[kind] += any(name.startswith(f"{kind}.overlay.".encode()) for name in names)
    if seen["user"] != seen["trusted"]:
        return "user" if seen["user"] > seen["trusted"] else "trusted"
    owner = reader.inode(driver.directory)
    return "user" if owner is not None and owner.uid != 0 else "trusted"


def _flag(reader: StoreReader, directory: Place) -> bool | None:
    """What .has-mount-program says; None where it is missing or damaged."""
    return reader.load(reader.child(directory, FLAG), "overlay/.has-mount-program", _parse_flag, MAX_FLAG)


def _parse_flag(data: bytes) -> bool:
    if data not in (b"true", b"false"):
        raise FormatError(f"{data!r} is neither true nor false", offset=0)
    return data == b"true"


def _has_wh_names(reader: StoreReader, roots: Iterable[Place]) -> bool:
    """Whether a `.wh.` name is in the layers, as far as they are searched."""
    pending = deque(roots)
    for _ in range(MAX_SEARCHED):
        if not pending:
            return False
        place = pending.popleft()
        for child in reader.children(place):
            if child.name.startswith(b".wh."):
                return True
            if reader.type(child) == "d":
                pending.append(child)
    return False
