"""Whether a layer of a container image is still what was unpacked: its archive's digest, and each entry against the archive.

verified: the archive's digest is the layer's diff id and every entry is as the archive has it. altered: it is not, and `faults`
say where. unverifiable: there is nothing to hold it against, or that is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.file_source import FileSource
from forensics.filesystem import Filesystem, Tree
from forensics.layer_archives import CHUNK, MAX_RATIO, SPARE, Archive, rebuilt, unpacked
from forensics.left_out import changes_nothing, paths_of, read_below
from forensics.records import Layer, LayerArchive
from forensics.wh_marks import with_overrides
from parsers import pax_headers
from parsers.errors import EvidenceError, FormatError
from parsers.overlay_marks import OVERRIDE_STAT, parse_override_stat

VERIFIED, ALTERED, UNVERIFIABLE = "verified", "altered", "unverifiable"
MAX_FAULTS = 1000
MAX_MEMBERS = 1_000_000
_WHITEOUT, _AUFS, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_TYPES = {
    tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry that is not as its layer's archive has it. kind: altered, unwritten, missing or added. path: in the layer.

    unwritten: an empty file that is as its archive has it in all but its content, as a power cut leaves what was unpacked right
    before.
    """

    kind: str
    path: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. reason: why a layer is unverifiable, or altered as a whole; faults: at most MAX_FAULTS of them."""

    state: str
    faults: tuple[Fault, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """What an archive says of an entry. digest: of a regular file's content, where it was read from the archive."""

    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    link: bytes
    rdev: tuple[int, int] | None
    size: int
    digest: str | None


def verify_layer(layer: Layer, filesystems: Mapping[int, Filesystem], below: Sequence[Layer] = ()) -> Verdict:
    """Hold a layer against its archive; it is read whole. below: what it is stacked on, the top one first."""
    fs, made_from = filesystems.get(layer.partition), layer.archive
    source = filesystems.get(made_from.partition) if made_from is not None else None
    if fs is None or source is None or made_from is None or layer.directory is None or layer.diff_id is None:
        missing = "its directory" if layer.directory is None else "its diff id" if layer.diff_id is None else "its archive"
        return Verdict(UNVERIFIABLE, reason=f"{missing} is missing")
    try:
        tree = fs.tree(layer.directory)
        tree = with_overrides(tree) if layer.marks == "fuse" else tree
        archive = _archive(made_from, source, fs, layer.directory, tree)
        members = dict(layer_members(archive, own=made_from.kind == "tar"))
        whole = archive.diff_id() == layer.diff_id
        if not whole and made_from.kind == "tar":
            return Verdict(UNVERIFIABLE, reason="its archive in the content store is not what the diff id tells of")
    except (FormatError, EvidenceError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        return Verdict(UNVERIFIABLE, reason=str(error))
    faults = list(_compare(fs, layer, tree, members))
    if any(fault.kind == "added" for fault in faults) and (trees := read_below(below, filesystems)):
        rows = paths_of(tree)
        faults = [each for each in faults if each.kind != "added" or not changes_nothing(tree, each.path, rows[each.path], trees)]
    if not whole:
        faults += _altered_content(made_from, source, fs, layer.directory)
    told = Counter(fault.path for fault in faults)
    faults = [replace(each, kind="unwritten") if told[each.path] == 1 and _is_empty(each) else each for each in faults]
    faults.sort(key=lambda fault: (fault.path, fault.kind))
    if whole and not faults:
        return Verdict(VERIFIED)
    reason = None if faults else "its files and the archive's headers do not add up to the diff id"
    return Verdict(ALTERED, tuple(faults[:MAX_FAULTS]), reason)


def _is_empty(fault: Fault) -> bool:
    """Whether nothing but a file's content differs, and it has none."""
    return fault.kind == "altered" and fault.text.startswith("has 0 bytes, not ")


def _archive(made_from: LayerArchive, source: Filesystem, fs: Filesystem, directory: int, tree: Tree) -> Archive:
    file = FileSource(source, made_from.inode, made_from.path)
    if made_from.kind == "tar-split":
        return rebuilt(file, fs, directory, check=False)
    # an archive that was made to burst takes no longer than its own size and its layer's tell
    content = int(tree.size[tree.size > 0].clip(max=fs.source.size).sum())
    return unpacked(file, min(2 * fs.source.size, max(MAX_RATIO * file.size, 2 * content + SPARE)))


def _altered_content(made_from: LayerArchive, source: Filesystem, fs: Filesystem, directory: int) -> Iterator[Fault]:
    """The files whose content is not what its checksum in tar-split says."""
    archive = rebuilt(FileSource(source, made_from.inode, made_from.path), fs, directory, check=True)
    with contextlib.suppress(FormatError, EvidenceError):  # what was found until then stands
        archive.diff_id()
    for path, text in sorted(archive.wrong.items()):
        if text != "missing":  # those are among the entries that miss
            yield Fault("altered", path, text)


def layer_members(archive: Archive, *, own: bool = True) -> Iterator[tuple[bytes, _Member]]:
    """Path and member, the last of a name at the end. own: the archive has the contents itself, so they are hashed."""
    # what a stream must have for tarfile to read an archive from it, no type tells
    with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
        number = 0
        while (info := tar.next()) is not None:
            tar.members.clear()  # else tarfile keeps every one
            number += 1
            if number > MAX_MEMBERS:
                raise FormatError(f"more than {MAX_MEMBERS} members")
            parts = [part for part in info.name.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b".")]
            path = b"/".join(parts)
            if not path or b".." in parts:
                continue
            digest = _digest(tar, info) if own and info.isreg() else None
            kind = "h" if info.islnk() else _TYPES.get(info.type, "f")
            link = b"/".join(p for p in info.linkname.encode("utf-8", "surrogateescape").split(b"/") if p not in (b"", b"."))
            target = link if kind == "h" else info.linkname.encode("utf-8", "surrogateescape")
            mtime = pax_headers.time_ns(str(info.pax_headers.get("mtime", info.mtime)))
            yield (
                path,
                _Member(
                    kind, info.mode & 0o7777, info.uid, info.gid, (mtime or 0) // 10**9, target,
                    (info.devmajor, info.devminor) if kind in ("c", "b") else None, info.size, digest,
                ),
            )  # fmt: skip


def _digest(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    content = tar.extractfile(info)
    while content is not None and (piece := content.read(CHUNK)):
        digest.update(piece)
    return digest.hexdigest()


def _compare(fs: Filesystem, layer: Layer, tree: Tree, members: Mapping[bytes, _Member]) -> Iterator[Fault]:
    rows = paths_of(tree)
    expected = {path for path in members if not path.rpartition(b"/")[2].startswith(_WHITEOUT)}
    owners = _same_owners(tree, rows, members)
    for path, member in members.items():
        name = path.rpartition(b"/")[2]
        if name.startswith(_WHITEOUT):
            if not name.startswith(_AUFS):
                expected |= {path, path.removesuffix(name) + name.removeprefix(_WHITEOUT)}
            continue
        row = rows.get(path)
        if row is None and member.type in ("c", "b") and not owners:
            continue  # in a user namespace an engine can make no devices, and leaves them out
        if row is None:
            yield Fault("missing", path, "is in the layer's archive and not in its directory")
            continue
        if (text := _differs(fs, tree, rows, row, member, owners)) is not None:
            yield Fault("altered", path, text)
    if layer.stacked:
        parents = {b"/".join(parts[:n]) for path in expected for parts in (path.split(b"/"),) for n in range(1, len(parts))}
        for path in rows:
            if path and path not in expected and path not in parents and not path.rpartition(b"/")[2].startswith(_AUFS):
                yield Fault("added", path, "is in the layer's directory and not in its archive")


def _same_owners(tree: Tree, rows: Mapping[bytes, int], members: Mapping[bytes, _Member]) -> bool:
    """Whether owners stand as the archive has them: in a user namespace all of them are shifted."""
    known = [(rows[path], member) for path, member in members.items() if path in rows]
    same = sum(int(tree.uid[row]) == member.uid for row, member in known)
    return 2 * same > len(known)


def _differs(fs: Filesystem, tree: Tree, rows: Mapping[bytes, int], row: int, member: _Member, owners: bool) -> str | None:
    """What of an entry is not as the archive has it, None where all is."""
    kind = _type(tree, row)
    if member.type == "h":
        other = rows.get(member.link)
        linked = other is not None and tree.inode[other] == tree.inode[row]
        return None if linked else "is no hard link to the file that it was one to"
    if kind != member.type:
        return f"is of type {kind}, not {member.type}"
    if kind == "l":
        return None if tree.targets.get(row) == member.link else "leads elsewhere"
    wrong = []
    if int(tree.mode[row]) != member.mode:
        wrong.append(f"has the mode {int(tree.mode[row]):o}, not {member.mode:o}")
    if owners and (int(tree.uid[row]), int(tree.gid[row])) != (member.uid, member.gid):
        wrong.append(f"belongs to {tree.uid[row]}:{tree.gid[row]}, not {member.uid}:{member.gid}")
    is_itself = kind == chr(tree.type[row])
    if member.rdev is not None and is_itself and (int(tree.rdev_major[row]), int(tree.rdev_minor[row])) != member.rdev:
        wrong.append("is another device")
    if kind == "f":
        if int(tree.mtime_ns[row]) // 10**9 != member.mtime:
            wrong.append("was modified at another time")
        if member.digest is not None and (text := _content_differs(fs, int(tree.inode[row]), member)) is not None:
            wrong.append(text)
    return ", ".join(wrong) or None


def _type(tree: Tree, row: int) -> str:
    """An entry's type; where a store cannot make such (force_mask), an empty file's xattr tells it."""
    kind = chr(tree.type[row])
    if kind != "f" or tree.size[row] or row not in tree.xattrs:
        return kind
    for name in OVERRIDE_STAT:
        with contextlib.suppress(FormatError):
            if name in tree.xattrs[row] and (said := parse_override_stat(tree.xattrs[row][name]).type) is not None:
                return said
    return kind


def _content_differs(fs: Filesystem, inode: int, member: _Member) -> str | None:
    try:
        size = fs.inode(inode).size
        if size != member.size:
            return f"has {size} bytes, not {member.size}"
        digest = hashlib.sha256()
        for start in range(0, size, CHUNK):
            digest.update(fs.read(inode, start, min(CHUNK, size - start)))
    except (FormatError, EvidenceError) as error:
        return f"cannot be read: {error}"
    return None if digest.hexdigest() == member.digest else "has other content"
