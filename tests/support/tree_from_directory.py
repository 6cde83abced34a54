"""A Tree of a directory as the running kernel shows it."""

import os
import stat

import numpy as np

from forensics.filesystem import NO_TIME, Tree

TYPES = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}  # fmt: skip


def tree_from_directory(top) -> Tree:
    top = os.fsencode(top)
    names, parents, stats, targets, xattrs = [], [], [], {}, {}
    pending = [(top, b"", -1)]
    while pending:
        path, name, parent = pending.pop()
        row, st = len(names), os.lstat(path)
        names.append(name)
        parents.append(parent)
        stats.append(st)
        if stat.S_ISLNK(st.st_mode):
            targets[row] = os.readlink(path)
        found = {os.fsencode(n): os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
        if found:
            xattrs[row] = found
        if stat.S_ISDIR(st.st_mode):
            pending.extend((path + b"/" + n, n, row) for n in sorted(os.listdir(path), reverse=True))

    def column(kind, value):
        return np.array([value(st) for st in stats], dtype=kind)

    def device(part):
        return lambda st: part(st.st_rdev) if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode) else 0

    return Tree(
        names, np.array(parents, dtype=np.int64), column(np.int64, lambda st: st.st_ino),
        column(np.uint8, lambda st: ord(TYPES[stat.S_IFMT(st.st_mode)])), column(np.uint16, lambda st: st.st_mode & 0o7777),
        column(np.uint32, lambda st: st.st_uid), column(np.uint32, lambda st: st.st_gid), column(np.int64, lambda st: st.st_size),
        column(np.int64, lambda st: st.st_nlink), column(np.int64, lambda st: st.st_mtime_ns),
        column(np.int64, lambda st: st.st_atime_ns), column(np.int64, lambda st: st.st_ctime_ns),
        column(np.int64, lambda st: NO_TIME), column(np.uint32, device(os.major)), column(np.uint32, device(os.minor)),
        column(np.int64, lambda st: -1), targets, xattrs,
    )  # fmt: skip
