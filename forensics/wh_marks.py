"""The `.wh.` names of fuse-overlayfs and aufs, which the kernel's overlayfs knows nothing of.

fuse-overlayfs 1.14, main.c: get_whiteout_name, load_dir, is_directory_opaque; containers/storage's override_stat. aufs 5,
include/uapi/linux/aufs_type.h: AUFS_WH_PFX, AUFS_WH_DIROPQ, AUFS_WH_PLNKDIR, AUFS_WH_ORPHDIR, AUFS_WH_BASE.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forensics.filesystem import Tree
from forensics.overlay_marks import Marks, device_whiteouts
from parsers.errors import FormatError
from parsers.id_map import IdMaps, shown
from parsers.overlay_marks import OVERRIDE_STAT, is_fuse_opaque, parse_override_stat

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
PRIVATE = b".wh..wh."  # aufs: the directory's own opaque mark, and at a branch's root plnk, orph and the base whiteout


def fuse_marks(tree: Tree) -> Marks:
    """The marks that fuse-overlayfs reads: its xattrs first, `.wh..wh..opq` only where there is none; devices 0:0 too."""
    whiteouts, hints, hinted = _wh_names(tree)
    opaques = set()
    for row in np.flatnonzero(tree.type == ord("d")).tolist():
        said = is_fuse_opaque(tree.xattrs[row]) if row in tree.xattrs else None
        if said or (said is None and row in hinted):
            opaques.add(row)
    whiteouts |= {row: tree.names[row] for row in device_whiteouts(tree) if row not in whiteouts and row not in hints}
    return Marks(whiteouts, frozenset(hints), frozenset(opaques))


def aufs_marks(tree: Tree) -> Marks:
    """The marks that aufs reads."""
    whiteouts, hints, hinted = _wh_names(tree)
    return Marks(whiteouts, frozenset(hints), frozenset(hinted))


def _wh_names(tree: Tree) -> tuple[dict[int, bytes], set[int], set[int]]:
    """Whiteouts by row; rows that no one sees and that hide nothing themselves; directories that hold `.wh..wh..opq`."""
    whiteouts, hints, hinted = {}, set(), set()
    for row, name in enumerate(tree.names):
        if not name.startswith(PREFIX) or row == 0:
            continue
        if name == OPAQUE:
            hinted.add(int(tree.parent[row]))
        if name.startswith(PRIVATE) or len(name) == len(PREFIX):
            hints.add(row)
        else:
            whiteouts[row] = name[len(PREFIX) :]
    gone = {(int(tree.parent[row]), name) for row, name in whiteouts.items()}
    names = {name for _, name in gone}
    for row, name in enumerate(tree.names) if gone else ():
        if name in names and (int(tree.parent[row]), name) in gone:
            hints.add(row)  # a whiteout hides the name in its own layer too
    return whiteouts, hints, hinted


def with_overrides(tree: Tree, owners: IdMaps | None = None) -> Tree:
    """The tree with the owners and modes that fuse-overlayfs shows: those in xattrs, where the layer's root has such a one.

    owners: the user namespace in which it ran, None for the host's own.
    """
    name = next((name for name in OVERRIDE_STAT if name in tree.xattrs.get(0, {})), None)
    if name is None:
        return tree
    mode, uid, gid = tree.mode.copy(), tree.uid.copy(), tree.gid.copy()
    for row, xattrs in tree.xattrs.items():
        try:
            override = parse_override_stat(xattrs[name]) if name in xattrs else None
        except FormatError:
            continue  # the inode's own stand
        if override is not None:
            uid[row], gid[row], mode[row] = override.uid, override.gid, override.mode
            if owners is not None:
                uid[row], gid[row] = shown(owners.uids, override.uid), shown(owners.gids, override.gid)
    return replace(tree, mode=mode, uid=uid, gid=gid)
