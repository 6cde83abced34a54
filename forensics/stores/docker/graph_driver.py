"""What a graph driver's directory tells, whichever driver it is: its layers' directories, and what stands below each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.stores.reading import Place, StoreReader


@dataclass(frozen=True, slots=True)
class LayerDirectory:
    """One layer's directory. diff: its files.

    lower: what is below it in a mount, top first, by short name where the driver has such; () where nothing is, None where that
    is damaged. whole: `diff` is all that a container of it sees.
    """

    name: str
    place: Place
    diff: Place | None
    lower: tuple[str, ...] | None
    lower_place: Place | None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class GraphDriver:
    """A driver's directory. directories: by name. links: directories' names by short name.

    marks: as Layer.marks; None where the layers' own xattrs tell. pattern: where a layer's files are in it.
    init_below: a container's init layer is part of its mount. whole: as a LayerDirectory's, for layers that are gone.
    """

    name: str
    directories: Mapping[str, LayerDirectory]
    links: Mapping[str, str]
    marks: str | None = None
    pattern: bytes = b"%s/diff"
    init_below: bool = True
    whole: bool = False

    def stack(self, name: str) -> tuple[str | None, ...]:
        """The names of the directories that are below this one, top first; None for one that is not known."""
        return tuple(self.links.get(link) for link in self.directories[name].lower or ())


def layer_name(place: Place) -> str:
    """A layer directory's name as text."""
    return place.name.decode("ascii", "backslashreplace")


def layer_files(reader: StoreReader, artefact: str, place: Place | None) -> Place | None:
    """The directory with a layer's files, None where there is none."""
    if place is None or (kind := reader.type(place)) == "d":
        return place
    reader.gap(artefact, f"no directory but of type {kind}", place)
    return None
