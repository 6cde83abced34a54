"""Finding Docker's data-roots, wherever they are: where a host's configuration says, and by shape anywhere on the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.filesystem import Filesystem
from forensics.stores.docker.daemon import configured_roots
from forensics.stores.docker.lost import LostDirectory, lost_name, with_names
from forensics.stores.host_tree import HostTree, host_trees, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.shape import branches
from forensics.survey import Survey
from parsers.errors import FormatError

DRIVERS = frozenset((b"overlay2", b"overlay", b"aufs", b"btrfs", b"zfs", b"devicemapper", b"vfs", b"fuse-overlayfs"))
MARKS = frozenset(
    (b"containers", b"image", b"network", b"volumes", b"plugins", b"swarm", b"buildkit", b"runtimes", b"trust", b"graph")
)
LAYERS_IN = ((b"overlay2", None), (b"fuse-overlayfs", None), (b"overlay", None), (b"aufs", b"diff"), (b"vfs", b"dir"))
_TELLING = frozenset((b"containers", *(driver for driver, _ in LAYERS_IN)))
REMAPPED = "userns-remap"  # told by the directory's name
ENOUGH_MARKS = 4  # a data-root of any version has at least six of them

_LOST = re.compile(rb"/#\d+(/|$)")
_LAYER = re.compile(rb"[0-9a-f]{64}(-init)?")
_REMAPPED_NAME = re.compile(rb"\d+\.\d+")


@dataclass(frozen=True, slots=True)
class DockerRoot:
    """A data-root. host_path: its path on the host, None where no host mounts its partition. how: what told of it."""

    place: Place
    host_path: bytes | None
    how: str
    tree: HostTree | None = None


def find_docker_roots(found: Survey, reader: StoreReader) -> tuple[DockerRoot, ...]:
    """Every data-root on the disk, once. What could not be read on the way is added to the reader's gaps."""
    shaped: list[Place] = []
    partitions = []
    for partition in found.partitions:
        fs = partition.filesystem
        if fs is not None:
            fs, places = _by_shape(partition.volume.number, fs)
            shaped += places
        partitions.append(replace(partition, filesystem=fs))
    trees = host_trees(replace(found, partitions=tuple(partitions)))
    roots: dict[tuple[int, int], DockerRoot] = {}
    for tree in trees:
        for path, how in configured_roots(reader, tree):
            place = resolve_or_none(tree, path)
            if place is not None and _has_marks(reader, place, 1):  # layers may be all that an intruder left
                _add(roots, DockerRoot(place, _normal(path), how, tree))
    for place in shaped:
        _add(roots, _on_host(place, trees))
    for root in list(roots.values()):
        for place in reader.children(root.place):
            if _REMAPPED_NAME.fullmatch(place.name) and reader.type(place) == "d" and _has_marks(reader, place, 2):
                host_path = root.host_path + b"/" + place.name if root.host_path is not None else None
                _add(roots, DockerRoot(place, host_path, REMAPPED, root.tree))
    return tuple(_named(roots[key]) for key in sorted(roots))


def _named(root: DockerRoot) -> DockerRoot:
    """A daemon with userns-remap has nothing but this directory in its data-root."""
    return replace(root, how=REMAPPED) if _REMAPPED_NAME.fullmatch(root.place.name) else root


def _add(roots: dict[tuple[int, int], DockerRoot], root: DockerRoot) -> None:
    roots.setdefault((root.place.partition, root.place.inode), root)


def _on_host(place: Place, trees: Sequence[HostTree]) -> DockerRoot:
    for tree in trees:
        host_path = tree.host_path(place)
        if host_path is not None and not _LOST.search(host_path):
            return DockerRoot(place, host_path, "shape", tree)
    return DockerRoot(place, None, "shape")


def _has_marks(reader: StoreReader, place: Place, enough: int) -> bool:
    if reader.type(place) != "d":
        return False
    return len((MARKS | DRIVERS).intersection(child.name for child in reader.children(place))) >= enough


def _by_shape(partition: int, fs: Filesystem) -> tuple[Filesystem, list[Place]]:
    """The directories that look like a data-root, and the filesystem with the names that such a one lost given back."""
    places, lost = _search(partition, fs)
    if not lost:
        return fs, places
    fs = with_names(fs, lost)
    return fs, _search(partition, fs)[0]


def _search(partition: int, fs: Filesystem) -> tuple[list[Place], list[LostDirectory]]:
    """Directories that hold `containers` and `image/<driver>/layerdb`, or enough of a data-root's names, or a driver's layers."""
    candidates = []
    lost = []
    found = branches(fs)
    for number, names in found.having(_tells):
        lost += [LostDirectory(inode, number) for name, inode in names.items() if name[:1] == b"#" and name == lost_name(inode)]
        if (
            b"containers" in names and (len(MARKS & names.keys()) >= ENOUGH_MARKS or _has_layerdb(fs, names.get(b"image")))
        ) or _has_layers(fs, names):
            candidates.append(number)
    return [Place(partition, fs, number, found.path(fs, number)) for number in sorted(candidates)], lost


def _tells(name: bytes) -> bool:
    return name in _TELLING or name[:1] == b"#"


def _has_layers(fs: Filesystem, names: Mapping[bytes, int]) -> bool:
    """Whether a directory in it is named and filled like a driver's: layers may be all that an intruder left of a data-root.

    containers/storage names its drivers alike, but has their layers' metadata beside them.
    """
    for driver, inner in LAYERS_IN:
        directory = names.get(driver)
        if directory is None or driver + b"-layers" in names:
            continue
        try:
            inside = fs.find(directory, inner) if inner is not None else directory
            if inside is not None and any(_LAYER.fullmatch(entry.name) for entry in fs.entries(inside)):
                return True
        except FormatError:
            continue  # told by the filesystem's problems
    return False


def _has_layerdb(fs: Filesystem, image: int | None) -> bool:
    if image is None:
        return False
    try:
        return any(fs.find(entry.inode, b"layerdb") is not None for entry in fs.entries(image))
    except FormatError:
        return False  # told by the filesystem's problems


def _normal(path: bytes) -> bytes:
    """An absolute path; a relative one is taken from `/`, where systemd starts a daemon."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            parts[-1:] = []
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)
