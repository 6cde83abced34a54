"""The directories of Docker's drivers before overlay2, and of vfs and btrfs, which are still there.

overlay, moby v1.4 to v23, daemon/graphdriver/overlay/overlay.go:
  <name>/root                  a layer of container images: the whole tree, with hard links to the layer below
  <name>/{upper,work,lower-id} a container's or its init layer: lower-id names the image layer right below it, and no other is
aufs, moby v0.7 to v23, daemon/graphdriver/aufs/aufs.go:
  diff/<name>                  the layer
  layers/<name>                the names of all layers below, top first, one in each line
vfs, daemon/graphdriver/vfs/driver.go:
  dir/<name>                   the whole tree, a copy of its own
btrfs, daemon/graphdriver/btrfs/btrfs.go:
  subvolumes/<name>            the whole tree, a subvolume or a snapshot of the one below
"""

from __future__ import annotations

from collections.abc import Sequence

from forensics.stores.docker.graph_driver import GraphDriver, LayerDirectory, layer_files, layer_name
from forensics.stores.reading import Place, StoreReader, subvolume_is_here
from parsers.docker_layer import parse_directory, parse_parents

MAX_TEXT = 64 << 10  # 500 lines of 69 bytes are 34 KiB
DEVICE_SET = (b"base", b"deviceset-metadata", b"transaction-metadata")  # what devicemapper has besides its layers


def read_overlay(reader: StoreReader, top: Place) -> GraphDriver:
    """The layers of the driver overlay. A container's upper directory holds all that its init layer has."""
    directories = {}
    for place in reader.children(top, "d"):
        name = layer_name(place)
        root, upper, file = (reader.child(place, part) for part in (b"root", b"upper", b"lower-id"))
        if root is not None and upper is None:
            directories[name] = LayerDirectory(name, place, layer_files(reader, "overlay root", root), (), None, whole=True)
            continue
        below = reader.load(file, "overlay lower-id", parse_directory, MAX_TEXT)
        lower = (below,) if below is not None else None
        directories[name] = LayerDirectory(name, place, layer_files(reader, "overlay upper", upper), lower, file)
    return GraphDriver("overlay", directories, _own_names(directories), pattern=b"%s/upper", init_below=False)


def read_aufs(reader: StoreReader, top: Place) -> GraphDriver:
    """The layers of the driver aufs."""
    directories = {}
    parents = reader.child(top, b"layers")
    for place in reader.children(reader.child(top, b"diff"), "d"):
        name = layer_name(place)
        file = reader.child(parents, place.name) if parents is not None else None
        lower = reader.load(file, "aufs layers", parse_parents, MAX_TEXT)
        directories[name] = LayerDirectory(name, place, place, lower, file)
    return GraphDriver("aufs", directories, _own_names(directories), marks="aufs", pattern=b"diff/%s")


def read_vfs(reader: StoreReader, top: Place) -> GraphDriver:
    """The layers of the driver vfs, each of them a whole root filesystem."""
    return _whole_directories("vfs", reader.children(reader.child(top, b"dir"), "d"), b"dir/%s", readable=True)


def read_btrfs(reader: StoreReader, top: Place) -> GraphDriver:
    """The layers of the driver btrfs, each of them a whole root filesystem; only their names where no subvolume can be read."""
    directories = {}
    for place in reader.children(reader.child(top, b"subvolumes"), "d"):
        name = layer_name(place)
        directories[name] = LayerDirectory(name, place, place if subvolume_is_here(reader, place) else None, (), None, whole=True)
    if any(each.diff is not None for each in directories.values()):
        for each in directories.values():
            if each.diff is None:
                reader.gap("btrfs subvolume", "its subvolume is not here", each.place)
    return GraphDriver("btrfs", directories, {}, marks="none", pattern=b"subvolumes/%s", whole=True)


def list_devicemapper(reader: StoreReader, top: Place) -> GraphDriver:
    """The names of the thin devices that devicemapper's metadata describe, a file for each."""
    files = [place for place in reader.children(reader.child(top, b"metadata"), "f") if place.name not in DEVICE_SET]
    return _whole_directories("devicemapper", files, b"metadata/%s")


def list_zfs(reader: StoreReader, top: Place) -> GraphDriver:
    """The names of zfs's mount points."""
    return _whole_directories("zfs", reader.children(reader.child(top, b"graph"), "d"), b"graph/%s")


def list_windowsfilter(reader: StoreReader, top: Place) -> GraphDriver:
    """The names of windowsfilter's layers."""
    return _whole_directories("windowsfilter", reader.children(top, "d"), b"%s")


def _whole_directories(driver: str, places: Sequence[Place], pattern: bytes, readable: bool = False) -> GraphDriver:
    directories = {}
    for place in places:
        name = layer_name(place)
        directories[name] = LayerDirectory(name, place, place if readable else None, (), None, whole=True)
    return GraphDriver(driver, directories, {}, marks="none", pattern=pattern, whole=True)


def _own_names(directories: dict[str, LayerDirectory]) -> dict[str, str]:
    return {name: name for name in directories}
