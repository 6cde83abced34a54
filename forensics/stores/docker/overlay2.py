"""The overlay2 driver's directory: each layer's files, and which layers a mount puts below it.

<name>/diff           the layer
<name>/link           its short name
<name>/lower          the short names of all layers below, top first; a base layer has none
l/<short name>        symlink to ../<name>/diff, what the kernel follows when it mounts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.stores.reading import Place, StoreReader
from parsers.docker_layer import parse_link, parse_link_target, parse_lower
from parsers.errors import FormatError

MAX_LOWER_TEXT = 64 << 10  # 500 layers of 29 bytes are 14 KiB
LINKS = b"l"


@dataclass(frozen=True, slots=True)
class LayerDirectory:
    """One directory of the driver. diff: the layer's files. lower: short names, () for a base layer, None where damaged."""

    name: str
    place: Place
    diff: Place | None
    lower: tuple[str, ...] | None
    lower_place: Place | None


@dataclass(frozen=True, slots=True)
class GraphDriver:
    """A driver's directory. directories: by name. links: directories' names by short name."""

    directories: Mapping[str, LayerDirectory]
    links: Mapping[str, str]

    def stack(self, name: str) -> tuple[str | None, ...]:
        """The names of the directories that `lower` of this one says are below it, top first; None for one that is not known."""
        return tuple(self.links.get(link) for link in self.directories[name].lower or ())


def read_overlay2(reader: StoreReader, top: Place | None) -> GraphDriver:
    """All layer directories of the driver, and the short names of those that have one."""
    directories: dict[str, LayerDirectory] = {}
    links: dict[str, str] = {}
    if top is None:
        return GraphDriver(directories, links)
    by_symlink = _symlinks(reader, top)
    for place in reader.children(top, "d"):
        if place.name == LINKS:
            continue
        name = place.name.decode("ascii", "backslashreplace")
        directories[name] = LayerDirectory(name, place, _diff(reader, place), *_lower(reader, place))
        link = _link(reader, place, name, by_symlink)
        if link is not None:
            links[link] = name
    # a mount follows the symlink, whatever `link` says
    links.update((link, name) for link, name in by_symlink.items() if name in directories or link not in links)
    return GraphDriver(directories, links)


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


def _diff(reader: StoreReader, place: Place) -> Place | None:
    diff = reader.child(place, b"diff")
    if diff is None or (kind := reader.type(diff)) == "d":
        return diff
    reader.gap("overlay2 diff", f"no directory but of type {kind}", diff)
    return None


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
