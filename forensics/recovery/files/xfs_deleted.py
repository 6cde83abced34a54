"""Deleted files of XFS: inodes that were unlinked and not freed yet, and what a dirty log removes from the disk as it lies.

An inode that was unlinked stays whole as long as a process holds it open, and some time longer: the kernel frees it later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from forensics.filesystem import Extent, Problem
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.xfs.history import MOST_BYTES, MOST_STATES, read_history
from forensics.filesystems.xfs.inode_trees import inodes_in_use
from forensics.filesystems.xfs.reader import Xfs
from forensics.filesystems.xfs.replayed import Replayed
from forensics.recovery.files.deleted_file import CERTAIN, PROBABLE, DeletedFile
from forensics.recovery.files.unallocated import Unallocated, unallocated
from forensics.recovery.files.xfs_changes import nothing_else, read_deletion
from forensics.recovery.files.xfs_past import PastFiles, past_files
from parsers.errors import FormatError
from parsers.xfs_inode import parse_inode

STEP = 1 << 14  # inodes that are looked at together

Paths = dict[int, list[bytes]]


class _State(NamedTuple):
    """Some inodes as they are: what tells a file from the next one with its number."""

    mode: Numbers
    links: Numbers
    generation: Numbers


def find_xfs_deleted(fs: Xfs) -> Iterator[DeletedFile]:
    """Every deleted file that the lists of unlinked inodes, or a log that was not written to its places yet, tell of."""
    before: Xfs | None = None
    paths: Paths = {}
    if isinstance(fs.source, Replayed):
        try:
            before = Xfs(fs.source.source)
            paths = _paths(before)
        except FormatError:
            before = None  # the disk as it lies is between two states; then the log tells nothing of this
    held = _unlinked(fs)
    history = read_history(fs)
    if history is not None and history.cut:
        kept = f"{MOST_STATES:,} states of inodes and {MOST_BYTES:,} bytes of changed blocks"
        error = f"the log has more than the {kept} that are kept: the newest deletions may be left out"
        fs.problems.append(Problem("deleted files", "/", error))
    past = past_files(fs, history) if history is not None else None
    found = [file for number in held for file in _held(fs, before, number, paths, past)]
    found += past.gone() if past is not None else ()
    told = {(file.inode, file.generation) for file in found}
    if before is not None:
        free = unallocated(fs)
        gone = _gone(before, fs, np.array(sorted(paths.keys() - set(held)), np.int64))
        removed = (file for number in gone for file in _removed(before, fs, number, paths[number], free))
        found += [file for file in removed if (file.inode, file.generation) not in told]
    yield from sorted(found, key=lambda file: (file.inode, file.generation or 0, file.path or b""))


def _paths(fs: Xfs) -> Paths:
    """The paths of all inodes below the root directory."""
    tree = fs.tree(fs.root)
    names = [b""]
    paths: Paths = {}
    for row in range(1, len(tree)):
        names.append(names[int(tree.parent[row])] + b"/" + tree.names[row])
        paths.setdefault(int(tree.inode[row]), []).append(names[row])
    return paths


def _state(fs: Xfs, numbers: Numbers) -> _State:
    inode = fs.tables.records(fs.tables.rows(numbers))
    return _State(*(inode[name].astype(np.int64) for name in ("di_mode", "di_nlink", "di_gen")))


def _unlinked(fs: Xfs) -> list[int]:
    """The inodes in use that have no name: those that the allocation groups' lists of unlinked inodes hold."""
    found: list[int] = []
    for numbers in inodes_in_use(fs.source, fs.geometry, ProblemLog(fs.source)):
        for first in range(0, len(numbers), STEP):
            part = numbers[first : first + STEP]
            state = _state(fs, part)
            found += part[(state.links == 0) & (state.mode != 0)].tolist()
    return found


def _gone(before: Xfs, fs: Xfs, numbers: Numbers) -> list[int]:
    """Those of the inodes that are not in use any more, or by another file."""
    found: list[int] = []
    for first in range(0, len(numbers), STEP):
        part = numbers[first : first + STEP]
        old, new = _state(before, part), _state(fs, part)
        found += part[(new.mode == 0) | (new.links == 0) | (old.generation != new.generation)].tolist()
    return found


def _held(fs: Xfs, before: Xfs | None, number: int, paths: Paths, past: PastFiles | None) -> Iterator[DeletedFile]:
    """An inode without a name, whole; with the names that it had on the disk as it lies."""
    try:
        file = replace(_describe(fs, number), method="orphan", reuse="none", confidence=CERTAIN)
    except FormatError:
        return
    file = replace(file, deleted_ns=file.ctime_ns)
    known = paths.get(number, []) if before is not None else []
    for path in known:  # it may have had another name since
        deletion = (
            read_deletion(before.tables.raw(number), fs.tables.raw(number), reverse_maps=False) if before is not None else None
        )
        yield replace(file, path=path, confidence=CERTAIN if nothing_else(deletion, None) else PROBABLE)
    told = past.paths(number, file.generation or 0) if past is not None and not known else []
    for path, parent, sure in told:
        whole = sure and path.startswith(b"/") and past is not None and past.only_deleted(number, file.generation or 0)
        yield replace(file, path=path, parent=parent, confidence=CERTAIN if whole else PROBABLE)
    if not known and not told:
        yield file


def _removed(before: Xfs, fs: Xfs, number: int, paths: list[bytes], free: Unallocated | None) -> Iterator[DeletedFile]:
    """An inode that the log frees, as it was before."""
    try:
        file = replace(_describe(before, number), method="log", confidence=PROBABLE)
    except FormatError:
        return
    kept: list[Extent] = []
    lost: list[tuple[int, int]] = []
    for extent in file.extents or ():
        if extent.offset is not None and free is not None and free.is_free(extent.offset, extent.length):
            kept.append(extent)
        else:
            lost.append((extent.logical, extent.length))
    reuse = ("some" if kept else "all") if lost else None if kept else "none"
    change = fs.tables.records(fs.tables.rows(np.array([number])))
    after = _describe_time(fs, number) if int(change["di_mode"][0]) == 0 else None
    deleted = after if after is not None and (file.ctime_ns is None or after >= file.ctime_ns) else None
    whole = replace(
        file, extents=None if file.extents is None else tuple(kept), lost=tuple(lost), reuse=reuse, deleted_ns=deleted
    )
    yield from (replace(whole, path=path) for path in paths)


def _describe_time(fs: Xfs, number: int) -> int | None:
    """When a freed inode was last changed, which is when it was freed."""
    try:
        return parse_inode(fs.tables.raw(number)).ctime
    except FormatError:
        return None


def _describe(fs: Xfs, number: int) -> DeletedFile:
    """An inode as a filesystem shows it. Raises FormatError where it is damaged."""
    inode = fs.inode(number)
    extents = fs.extents(number) if inode.type == "f" else None
    return DeletedFile(
        path=None, inode=number, type=inode.type, mode=inode.mode, uid=inode.uid, gid=inode.gid, size=inode.size,
        method="orphan", confidence=PROBABLE, generation=inode.generation, mtime_ns=inode.mtime_ns, atime_ns=inode.atime_ns,
        ctime_ns=inode.ctime_ns, crtime_ns=inode.crtime_ns, target=fs.target(number) if inode.type == "l" else None,
        rdev=inode.rdev, xattrs=fs.xattrs(number), extents=None if extents is None else tuple(extents),
        inline=fs.read(number) if inode.type == "f" and extents is None else None, offset=inode.offset,
    )  # fmt: skip
