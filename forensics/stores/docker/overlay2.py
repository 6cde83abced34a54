"""The directory of the drivers overlay2 and fuse-overlayfs: each layer's files, and which layers a mount puts below it.

<name>/diff           the layer
<name>/link           its short name
<name>/lower          the short names of all layers below, top first; a base layer has none
l/<short name>        symlink to ../<name>/diff, what the kernel follows when it mounts
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from forensics.stores.docker.graph_driver import GraphDriver, LayerDirectory, layer_files, layer_name
from forensics.stores.reading import Place, StoreReader
from parsers.docker_layer import parse_link, parse_link_target, parse_lower
from parsers.errors import FormatError

MAX_LOWER_TEXT = 64 << 10  # 500 layers of 29 bytes are 14 KiB
LINKS = b"l"


def read_overlay2(
    reader: StoreReader,
    top: Place | None,
    others: Container[bytes] = (),
    follow: Callable[[Place], Place | None] | None = None,
) -> GraphDriver:
    """All layer directories of overlay2, and the short names of those that have one. others: directories that are no layers.

    follow: what stands where a `diff` that is a symlink leads, where there are such.
    """
    return _read(reader, top, "overlay2", None, others, follow)


def read_fuse_overlayfs(reader: StoreReader, top: Place) -> GraphDriver:
    """The same of fuse-overlayfs, whose directory is like overlay2's; its layers have whiteouts of their own kind."""
    return _read(reader, top, "fuse-overlayfs", "fuse", ())


def _read(
    reader: StoreReader,
    top: Place | None,
    driver: str,
    marks: str | None,
    others: Container[bytes],
    follow: Callable[[Place], Place | None] | None = None,
) -> GraphDriver:
    directories: dict[str, LayerDirectory] = {}
    links: dict[str, str] = {}
    if top is None:
        return GraphDriver(driver, directories, links, marks)
    by_symlink = _symlinks(reader, top)
    for place in reader.children(top, "d"):
        if place.name == LINKS or place.name in others:
            continue
        name = layer_name(place)
        found = reader.child(place, b"diff")
        if found is not None and follow is not None and reader.type(found) == "l":
            found = follow(found)
        diff = layer_files(reader, "overlay2 diff", found)
        directories[name] = LayerDirectory(name, place, diff, *_lower(reader, place))
        link = _link(reader, place, name, by_symlink)
        if link is not None:
            links[link] = name
    # a mount follows the symlink, whatever `link` says
    links.update((link, name) for link, name in by_symlink.items() if name in directories or link not in links)
    return GraphDriver(driver, directories, links, marks)


def _symlinks(reader: StoreReader, top: Place) -> dict[str, str]:
    directory = reader.child(top, LINKS)
    if directory is None:
        reader.gap("overlay2 l/", "missing", top)
    found = {}
    for place in reader.children(directory, "l"):
        target = reader.target(place)
        if target is None:
            continue
        try:
            found[parse_link(place.name)] = parse_link_target(target)
        except FormatError as error:
            reader.gap("overlay2 l/", str(error), place)
    return found


def _link(reader: StoreReader, place: Place, name: str, by_symlink: Mapping[str, str]) -> str | None:
    file = reader.child(place, b"link")
    if file is None:
        reader.gap("overlay2 link", "missing", place)
        return None
    link = reader.load(file, "overlay2 link", parse_link, MAX_LOWER_TEXT)
    if link is not None and by_symlink and by_symlink.get(link) != name:
        reader.gap("overlay2 link", f"l/{link} leads to {by_symlink.get(link)} instead", file)
    return link


def _lower(reader: StoreReader, place: Place) -> tuple[tuple[str, ...] | None, Place | None]:
    file = reader.child(place, b"lower")
    if file is None:
        return (), None
    return reader.load(file, "overlay2 lower", parse_lower, MAX_LOWER_TEXT), file
