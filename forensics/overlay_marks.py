"""Which rows of a layer are overlayfs marks: whiteouts, opaque directories, redirects, metacopy files.

Linux 6.12, fs/overlayfs/util.c: ovl_path_is_whiteout, ovl_get_opaquedir_val. `trusted` and `user` are never mixed: a mount
reads only one of the two namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from forensics.filesystem import Tree
from parsers.overlay_marks import PREFIXES, is_opaque


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one layer, by row.

    whiteouts: the name that each hides. hints: rows that no one sees, nor what is below them, and that hide nothing by
    themselves (`.wh..wh..opq`).
    opaque: directories that hide what is below them. redirects and metacopies: the xattr's value, on whatever carries it.
    """

    whiteouts: dict[int, bytes] = field(default_factory=dict)
    hints: frozenset[int] = frozenset()
    opaque: frozenset[int] = frozenset()
    redirects: dict[int, bytes] = field(default_factory=dict)
    metacopies: dict[int, bytes] = field(default_factory=dict)


def kernel_marks(tree: Tree, namespace: str) -> Marks:
    """The marks that the kernel's overlayfs reads; namespace: `trusted`, or `user` as with the mount option userxattr."""
    prefix = PREFIXES[namespace]
    whiteout, opaque, redirect, metacopy = (prefix + name for name in (b"whiteout", b"opaque", b"redirect", b"metacopy"))
    whiteouts = {row: tree.names[row] for row in device_whiteouts(tree)}
    opaques = set()
    redirects, metacopies = {}, {}
    for row, xattrs in tree.xattrs.items():
        if whiteout in xattrs and tree.type[row] == ord("f") and tree.size[row] == 0:
            whiteouts[row] = tree.names[row]
        if is_opaque(xattrs.get(opaque)) and tree.type[row] == ord("d"):
            opaques.add(row)
        if redirect in xattrs:
            redirects[row] = xattrs[redirect]
        if metacopy in xattrs and tree.type[row] == ord("f"):
            metacopies[row] = xattrs[metacopy]
    return Marks(whiteouts, frozenset(), frozenset(opaques), redirects, metacopies)


def device_whiteouts(tree: Tree) -> list[int]:
    """The rows of character devices 0:0, whatever their mode."""
    devices = (tree.type == ord("c")) & (tree.rdev_major == 0) & (tree.rdev_minor == 0)
    return [int(row) for row in np.flatnonzero(devices)]
