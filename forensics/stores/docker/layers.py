"""The layers of a data-root as records: what each is for, and which one is right below it.

A mount goes by what the driver itself has written (overlay2: the `lower` file and the symlinks in `l/`), so this is believed
first; layerdb's parents step in where it is damaged, and a contradiction of the two is a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.records import Layer
from forensics.stores.docker.claims import Claims
from forensics.stores.docker.graph_driver import GraphDriver, LayerDirectory
from forensics.stores.docker.layerdb import ChainLink, LayerDb
from forensics.stores.reading import Place, StoreReader, tar_split
from forensics.text import readable
from parsers.docker_layer import INIT_SUFFIX


@dataclass(frozen=True, slots=True)
class _Expected:
    """What layerdb says of a directory. sure: it tells what is below, and `lower` is None for a base layer."""

    kind: str
    sure: bool
    lower: str | None
    parent: str | None
    chain: ChainLink | None = None


def docker_layers(reader: StoreReader, top: Place, graph: GraphDriver, db: LayerDb, claims: Claims) -> tuple[Layer, ...]:
    """Every layer directory of the driver, and a layer without a directory for each that is gone."""
    expected = _expectations(graph, db, claims)
    lower: dict[str, str | None] = {}
    above = _told_above(graph)
    for name, directory in graph.directories.items():
        lower[name] = _lower(reader, graph, directory, expected.get(name), above, lower)
    needed = {*lower.values(), *(told.lower for name, told in expected.items() if name not in lower)}
    gone = [name for name, told in expected.items() if name not in lower and (told.kind != "init" or name in needed)]
    lower.update((name, expected[name].lower) for name in gone)
    _compare_stacks(reader, graph, lower)
    kinds = _kinds(lower, expected)
    removing = {link.cache_id: link for link in db.removing if link.cache_id is not None}
    marks = _marks(reader, graph, top)
    layers = []
    for name in sorted(lower):
        found, told = graph.directories.get(name), expected.get(name)
        link = told.chain if told is not None else removing.get(name)
        below = lower[name]
        place = found.diff if found is not None else None
        whole = found.whole if found is not None else graph.whole
        kind = kinds.get(name, "orphan")
        compared = _compared_with(graph, name, below, whole) if kind == "container" else None
        layers.append(
            Layer(
                key=layer_key(graph.name, name),
                name=name,
                kind=kind,
                directory=place.inode if place is not None else None,
                path=readable(_files_path(top, graph, name) if place is None else place.path),
                partition=place.partition if place is not None else top.partition,
                lower=layer_key(graph.name, below) if below is not None else None,
                diff_id=link.diff_id if link is not None else None,
                chain_id=link.chain_id if link is not None and link.chain_id.startswith("sha256:") else None,
                parent=told.parent if told is not None else link.parent if link is not None else None,
                size_bytes=link.size if link is not None else None,
                stacked=not whole,
                marks="none" if whole else marks,
                compared_with=layer_key(graph.name, compared) if compared is not None else None,
                archive=tar_split(reader, link.place, b"tar-split.json.gz") if link is not None else None,
                source=reader.provenance(found.place) if found is not None else None,
            )
        )
    return tuple(layers)


def layer_key(driver: str, name: str) -> str:
    """The key of a layer in its store: one data-root may hold the directories of several drivers."""
    return f"{driver}/{name}"


def _files_path(top: Place, graph: GraphDriver, name: str) -> bytes:
    return top.path.rstrip(b"/") + b"/" + graph.pattern % name.encode()


def _compared_with(graph: GraphDriver, name: str, below: str | None, whole: bool) -> str | None:
    """What the daemon compares a container with where that is not the view right below its layer."""
    if whole:
        return below
    return None if graph.init_below else name + INIT_SUFFIX


def _expectations(graph: GraphDriver, db: LayerDb, claims: Claims) -> dict[str, _Expected]:
    expected: dict[str, _Expected] = {}
    for chain, name in claims.directory.items():
        link = db.chain[chain]
        below = claims.directory.get(link.parent) if link.parent is not None else None
        expected[name] = _Expected("image", below is not None or link.diff_id == chain, below, link.parent, link)
    for cid, name in claims.own.items():
        image = claims.image.get(cid)
        below = claims.directory.get(image) if image is not None else None
        under = name + INIT_SUFFIX if graph.init_below else below
        expected[name] = _Expected("container", under is not None, under, image)
        expected[name + INIT_SUFFIX] = _Expected("init", below is not None, below, image)
    return expected


def _lower(
    reader: StoreReader,
    graph: GraphDriver,
    directory: LayerDirectory,
    told: _Expected | None,
    above: Mapping[str, str | None],
    lower: dict[str, str | None],
) -> str | None:
    """The name of the layer right below; names that `lower` lists and no directory has are added to `lower`."""
    sure = told is not None and told.sure
    instead = told.lower if told is not None else None
    if directory.whole:
        return instead
    artefact = f"{graph.name} lower"
    if directory.lower is None:
        return instead if sure else above.get(directory.name, f"{directory.name}/lower")
    if not directory.lower:
        if instead is not None:
            reader.gap(artefact, f"missing; layerdb tells that {instead} is below", directory.place)
        return instead
    names = [graph.links.get(link) or f"l/{link}" for link in directory.lower]
    if names[0] not in graph.directories:
        reader.gap(artefact, f"{names[0]} leads nowhere", directory.lower_place)
        if instead in graph.directories:
            return instead
    elif sure and names[0] != instead:
        reader.gap(artefact, f"{names[0]} is below, but layerdb tells of {instead}", directory.lower_place)
    for name, below in zip(names, [*names[1:], None], strict=True):
        if name in graph.directories:
            break
        lower.setdefault(name, below)
    return names[0]


def _told_above(graph: GraphDriver) -> dict[str, str | None]:
    """What stands below each layer in the `lower` lists of those above it."""
    below: dict[str, str | None] = {}
    if any(directory.lower is None for directory in graph.directories.values()):
        for above in sorted(graph.directories):
            stack = graph.stack(above)
            for name, under in zip(stack, (*stack[1:], None), strict=False):
                if name is not None:
                    below.setdefault(name, under)
    return below


def _compare_stacks(reader: StoreReader, graph: GraphDriver, lower: Mapping[str, str | None]) -> None:
    """A `lower` list holds the whole stack; where the lists of the layers below say otherwise, it is told."""
    for name, directory in sorted(graph.directories.items()):
        if not directory.lower:
            continue
        at = lower[name]
        for link in directory.lower:
            listed = graph.links.get(link, f"l/{link}")
            if listed != at:
                reader.gap(f"{graph.name} lower", f"lists {listed} where the layers below lead to {at}", directory.lower_place)
                break
            at = lower.get(at) if at not in graph.directories or not graph.directories[at].whole else None
        else:
            if at is not None:
                reader.gap(f"{graph.name} lower", f"ends before {at}, to which the layers below lead", directory.lower_place)


def _kinds(lower: Mapping[str, str | None], expected: Mapping[str, _Expected]) -> dict[str, str]:
    """What each layer is for. Whatever the stack of a container or a container image needs is no orphan."""
    kinds = {name: told.kind for name, told in expected.items()}
    for start in expected:
        name = lower.get(start)
        while name is not None and name not in kinds:
            kinds[name] = "init" if name.endswith(INIT_SUFFIX) else "image"
            name = lower.get(name)
    return kinds


def _marks(reader: StoreReader, graph: GraphDriver, top: Place) -> str:
    """Whose overlay xattrs the kernel read here: `user` for a rootless daemon, which layers' own roots tell."""
    if graph.marks is not None:
        return graph.marks
    seen = {"trusted": 0, "user": 0}
    for directory in graph.directories.values():
        names = reader.xattr_names(directory.diff) if directory.diff is not None else ()
        for kind in seen:
            seen[kind] += any(name.startswith(f"{kind}.overlay.".encode()) for name in names)
    return "user" if seen["user"] > seen["trusted"] else "trusted"
