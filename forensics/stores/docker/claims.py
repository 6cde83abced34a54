"""Which directory of the graph driver is which layer, and whose.

layerdb says so: cache-id for layers of container images, mount-id and init-id for a container's own. Where one of these is
damaged, the stacks that other directories' `lower` lists give tell it, then what is left over, then the times of making. Whatever
is not simply read is told as a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.docker.layerdb import LayerDb
from forensics.stores.reading import Place, StoreReader
from parsers.docker_layer import INIT_SUFFIX, MAX_LOWER

MADE_TOGETHER_NS = 10 * 10**9  # a container's layer is made milliseconds before its directory


@dataclass(frozen=True, slots=True)
class Claims:
    """directory: by chain id. own: a container's own layer's directory, image: the chain id below it, both by container id."""

    directory: Mapping[str, str]
    own: Mapping[str, str]
    image: Mapping[str, str]


def claim_directories(
    reader: StoreReader, graph: GraphDriver, db: LayerDb, containers: Mapping[str, Place], images: Mapping[str, str]
) -> Claims:
    """containers: all known ones' directories. images: the chain id of each one's container image, where its config tells it."""
    directory = {own: link.cache_id for own, link in db.chain.items() if link.cache_id in graph.directories and link.cache_id}
    own = _own_layers(reader, graph, db)
    image = dict(images)
    image.update((cid, mount.parent) for cid, mount in db.mounts.items() if mount.parent is not None)
    claimed = {*directory.values(), *own.values(), *(name + INIT_SUFFIX for name in own.values())}
    lost = {cid: place for cid, place in containers.items() if cid not in own}
    own.update(_by_time(reader, graph, lost, claimed))
    own.update(_left_over(reader, graph, db, own))
    directory.update(_by_stack(reader, graph, db, directory, own, image))
    directory.update(_by_elimination(reader, graph, db, directory, own))
    for link in db.chain.values():
        if link.cache_id is not None and link.chain_id not in directory and link.place is not None:
            reader.gap("layer directory", f"{link.cache_id} is gone", link.place)
            directory[link.chain_id] = link.cache_id
    chain_of = {name: chain for chain, name in directory.items()}
    for cid, name in own.items():
        below = graph.stack(name) if name in graph.directories else ()
        under = next((chain_of[each] for each in below[:2] if each in chain_of), None)  # right below, or below the init layer
        if cid not in image and under is not None:
            image[cid] = under
    return Claims(directory, own, image)


def claims_as_told(db: LayerDb, images: Mapping[str, str]) -> Claims:
    """What layerdb alone says, for a driver whose directories are not read."""
    directory = {link.chain_id: link.cache_id for link in db.chain.values() if link.cache_id is not None}
    own = {cid: mount.mount_id for cid, mount in db.mounts.items() if mount.mount_id is not None}
    return Claims(
        directory, own, {**images, **{cid: mount.parent for cid, mount in db.mounts.items() if mount.parent is not None}}
    )


def chain_below(db: LayerDb, top: str | None) -> list[str]:
    """A chain id and all below it, as far as layerdb tells."""
    chain: list[str] = []
    while top is not None and top in db.chain and len(chain) < MAX_LOWER and top not in chain:
        chain.append(top)
        top = db.chain[top].parent
    return chain


def _own_layers(reader: StoreReader, graph: GraphDriver, db: LayerDb) -> dict[str, str]:
    own = {}
    for cid, mount in db.mounts.items():
        by_init = mount.init_id.removesuffix(INIT_SUFFIX) if mount.init_id else None
        if mount.mount_id is not None and by_init is not None and by_init != mount.mount_id:
            reader.gap(
                "layerdb mounts", f"mount-id {mount.mount_id} and init-id {mount.init_id} contradict each other", mount.place
            )
        names = [name for name in (mount.mount_id, by_init) if name is not None]
        if not names:
            continue
        own[cid] = next((name for name in names if name in graph.directories), names[0])
        if own[cid] not in graph.directories:
            reader.gap("container's layer", f"its directory {own[cid]} is gone", mount.place)
    return own


def _by_time(reader: StoreReader, graph: GraphDriver, lost: Mapping[str, Place], claimed: set[str]) -> dict[str, str]:
    """Pairs of lost containers and unclaimed layers that were made together: each the other's nearest in time."""
    if not lost:
        return {}
    layers = {name: _born(reader, graph.directories[name].place) for name in _unclaimed_pairs(graph, claimed)}
    born = {cid: _born(reader, place) for cid, place in lost.items()}
    together = sorted(
        (made - layer, cid, name)
        for cid, made in born.items()
        for name, layer in layers.items()
        if made is not None and layer is not None and 0 <= made - layer <= MADE_TOGETHER_NS
    )
    nearest_layer: dict[str, str] = {}
    nearest_container: dict[str, str] = {}
    for _, cid, name in together:
        nearest_layer.setdefault(cid, name)
        nearest_container.setdefault(name, cid)
    found = {cid: name for cid, name in sorted(nearest_layer.items()) if nearest_container[name] == cid}
    for cid, name in found.items():
        reader.gap("container's layer", f"{name} inferred from the times of making", lost[cid])
    return found


def _left_over(reader: StoreReader, graph: GraphDriver, db: LayerDb, own: Mapping[str, str]) -> dict[str, str]:
    """The one container whose layer ids are damaged and the one layer that nobody has, where there is just one of each."""
    lost = [cid for cid, mount in db.mounts.items() if cid not in own and mount.mount_id is None]
    candidates = _unclaimed_pairs(graph, set(own.values()))
    if len(lost) != 1 or len(candidates) != 1:
        return {}
    reader.gap("container's layer", f"{candidates[0]} inferred: no other is left", db.mounts[lost[0]].place)
    return {lost[0]: candidates[0]}


def _by_stack(
    reader: StoreReader,
    graph: GraphDriver,
    db: LayerDb,
    directory: Mapping[str, str],
    own: Mapping[str, str],
    image: Mapping[str, str],
) -> dict[str, str]:
    """Chain ids whose cache-id is lost, found where they must stand in the stack of a layer above them."""
    if all(chain in directory for chain in db.chain):
        return {}
    found: dict[str, str] = {}
    stacks: list[tuple[list[str], tuple[str | None, ...]]] = [
        (chain_below(db, image[cid]), graph.stack(name)[1 if graph.init_below else 0 :])
        for cid, name in sorted(own.items())
        if cid in image and name in graph.directories
    ]
    stacks += [(chain_below(db, db.chain[chain].parent), graph.stack(name)) for chain, name in sorted(directory.items())]
    taken = set(directory.values())
    for chain, names in stacks:
        if len(chain) != len(names):
            continue
        for link, name in zip(chain, names, strict=True):
            if name is None or name not in graph.directories or name in taken:
                continue
            if link not in directory and link not in found:
                reader.gap("layerdb cache-id", f"{name} told by the stack of a layer above", db.chain[link].place)
                found[link] = name
                taken.add(name)
    return found


def _by_elimination(
    reader: StoreReader, graph: GraphDriver, db: LayerDb, directory: Mapping[str, str], own: Mapping[str, str]
) -> dict[str, str]:
    """Chain ids whose cache-id is lost, where one unclaimed directory stands right on what must be below."""
    claimed = {*directory.values(), *own.values(), *_unclaimed_pairs(graph, set())}
    found: dict[str, str] = {}
    for chain, link in sorted(db.chain.items()):
        if chain in directory or link.place is None or link.cache_id is not None:
            continue
        if link.parent is not None and link.parent not in directory:
            continue
        below = () if link.parent is None else (directory[link.parent],)
        candidates = [
            name
            for name in graph.directories
            if name not in claimed and not name.endswith(INIT_SUFFIX) and graph.stack(name)[:1] == below
        ]
        if len(candidates) == 1:
            reader.gap("layerdb cache-id", f"{candidates[0]} inferred: no other stands on the same layer", link.place)
            found[chain] = candidates[0]
            claimed.add(candidates[0])
    return found


def _unclaimed_pairs(graph: GraphDriver, claimed: Iterable[str]) -> list[str]:
    """Directories that have an init layer beside them, and nobody's yet."""
    taken = set(claimed)
    return [name for name in graph.directories if name + INIT_SUFFIX in graph.directories and name not in taken]


def _born(reader: StoreReader, place: Place) -> int | None:
    inode = reader.inode(place)
    return inode.crtime_ns if inode is not None else None
