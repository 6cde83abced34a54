"""A host's directory tree over all its filesystems: what stands at a path of the host, symlinks and mounts followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forensics.filesystem import MAX_SYMLINKS
from forensics.filesystems.mounting import shown_by_mount
from forensics.host import Host, mounts
from forensics.stores.reading import Place
from forensics.survey import Survey
from parsers.errors import FormatError

MAX_BINDS = 8
MAX_PATH = 4096  # as the kernel takes, PATH_MAX


@dataclass(frozen=True)
class HostTree:
    """One host. mounts: the roots of its filesystems by mount point. binds: the path shown at a path, of fstab's bind mounts."""

    mounts: Mapping[bytes, Place]
    binds: Mapping[bytes, bytes] = field(default_factory=dict)

    def resolve(self, path: bytes) -> Place | None:
        """What the host's processes see at an absolute path; None where there is nothing. Raises FormatError on damage."""
        if len(path) >= MAX_PATH:
            return None
        trail: list[tuple[bytes, Place]] = [(b"", self.mounts[b"/"])]
        pending = _parts(path)
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            base, here = trail[-1]
            full = base + b"/" + part
            if full in self.mounts:
                trail.append((full, self.mounts[full]))
                continue
            if full in self.binds and links < MAX_BINDS:
                links += 1
                trail = [trail[0]]
                pending += _parts(self.binds[full])
                continue
            number = here.fs.find(here.inode, part)
            if number is None:
                return None
            if here.fs.inode(number).type != "l":
                trail.append((full, Place(here.partition, here.fs, number, here.path.rstrip(b"/") + b"/" + part)))
                continue
            links += 1
            if links > MAX_SYMLINKS:
                return None
            target = here.fs.target(number)
            if target.startswith(b"/"):
                trail = [trail[0]]
            pending += _parts(target)
        return trail[-1][1]

    def host_path(self, place: Place) -> bytes | None:
        """The path on the host of a place in one of its filesystems; None where the host does not mount that one."""
        shown = [(root.path.rstrip(b"/"), point) for point, root in self.mounts.items() if root.partition == place.partition]
        for top, point in sorted(shown, key=lambda each: (-len(each[0]), each[1])):
            if place.path == (top or b"/"):
                return point
            if place.path.startswith(top + b"/"):
                return point.rstrip(b"/") + place.path[len(top) :]
        return None


def host_trees(found: Survey) -> tuple[HostTree, ...]:
    """The tree of each host on the disk, in order of its root's volume number."""
    volumes = [(partition.volume, partition.filesystem) for partition in found.partitions]
    filesystems = {p.volume.number: p.filesystem for p in found.partitions if p.filesystem is not None}
    trees = []
    for _, host in sorted(found.hosts.items()):
        if host.partition not in filesystems:
            continue
        here: dict[bytes, Place] = {}
        for mount in mounts(host, volumes):
            fs = filesystems.get(mount.volume)
            shown = shown_by_mount(fs, mount.options) if fs is not None else None
            if fs is not None and shown is not None:
                here.setdefault(mount.point.encode(), Place(mount.volume, fs, shown.inode, shown.path))
        fs = filesystems[host.partition]
        here[b"/"] = Place(host.partition, fs, fs.root if host.root is None else host.root, host.path)
        trees.append(HostTree(dict(sorted(here.items())), _binds(host)))
    return tuple(trees)


def resolve_or_none(tree: HostTree, path: bytes) -> Place | None:
    """As HostTree.resolve, with nothing where a directory on the way is damaged: the filesystem's problems tell that."""
    try:
        return tree.resolve(path)
    except FormatError:
        return None


def _binds(host: Host) -> dict[bytes, bytes]:
    return {
        entry.file.rstrip("/").encode(): entry.spec.encode()
        for entry in host.fstab
        if entry.spec.startswith("/") and entry.file.startswith("/") and {"bind", "rbind"} & set((entry.options or "").split(","))
    }


def _parts(path: bytes) -> list[bytes]:
    """The components of a path, the first one last."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
