"""Container images as Docker before 1.10 kept them: each layer is an image, in graph/<id>, named in repositories-<driver>.

The driver's directory of an image has the image's id for its name, a container's that of the container.

graph/<id>/json         the layer's config; `parent` is the layer below
graph/<id>/layersize    the sum of its file sizes
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.records import ContainerImage, HistoryStep, Layer
from forensics.stores.docker.containers import StoredContainer
from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.docker.layerdb import ChainLink, ContainerLayers, LayerDb
from forensics.stores.reading import Place, StoreReader
from parsers.docker_image import ImageConfig, parse_image_config, parse_repositories
from parsers.docker_layer import INIT_SUFFIX, MAX_LOWER, parse_size

MAX_CONFIG = 8 << 20
MAX_REPOSITORIES = 32 << 20
MAX_TEXT = 4096

_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Graph:
    """graph/ as it stands: the directory, the config where it is whole, and the size of each layer, by id."""

    places: Mapping[str, Place]
    configs: Mapping[str, ImageConfig]
    sizes: Mapping[str, int | None]
    refs: Mapping[str, Sequence[str]]


def read_graph(reader: StoreReader, root: Place) -> Graph:
    """Every layer of graph/; refs are those of all repositories-<driver> files."""
    refs: dict[str, list[str]] = {}
    for place in reader.children(root, "f"):
        if place.name.startswith(b"repositories-"):
            names = reader.load(place, "repositories", parse_repositories, MAX_REPOSITORIES)
            for image_id, known in (names.refs if names is not None else {}).items():
                refs.setdefault(image_id, []).extend(known)
    configs: dict[str, ImageConfig] = {}
    places: dict[str, Place] = {}
    for place in reader.children(reader.child(root, b"graph"), "d"):
        if _ID.fullmatch(place.name):
            image_id = place.name.decode()
            places[image_id] = place
            config = reader.load(reader.child(place, b"json"), "container image config", parse_image_config, MAX_CONFIG)
            if config is not None:
                configs[image_id] = config
                reader.tell("container image config", config.problems, place)
    return Graph(places, configs, {image_id: _size(reader, place) for image_id, place in places.items()}, refs)


def graph_images(reader: StoreReader, graph: Graph, layers: Sequence[Layer]) -> tuple[ContainerImage, ...]:
    """Every layer of graph/ as a container image. layers: all that the store has; the top one has the image's id as its name."""
    top = {layer.name: layer.key for layer in layers}
    return tuple(replace(_record(reader, image_id, graph), top=top.get(image_id)) for image_id, _ in sorted(graph.places.items()))


def with_graph(db: LayerDb, graph: Graph, driver: GraphDriver, containers: Mapping[str, StoredContainer]) -> LayerDb:
    """The same layerdb, with what graph/ and containers' configs tell of those directories that layerdb knows nothing of."""
    known = {link.cache_id for link in db.chain.values()}
    chain = {
        image_id: ChainLink(
            chain_id=image_id,
            place=place,
            cache_id=image_id,
            parent=graph.configs[image_id].parent if image_id in graph.configs else None,
            size=graph.sizes[image_id],
        )
        for image_id, place in graph.places.items()
        if image_id in driver.directories and image_id not in known
    }
    mounts = {
        cid: ContainerLayers(cid, container.place, cid, cid + INIT_SUFFIX, container.config.image if container.config else None)
        for cid, container in containers.items()
        if cid in driver.directories and cid not in db.mounts
    }
    return LayerDb({**chain, **db.chain}, {**mounts, **db.mounts}, db.removing)


def _size(reader: StoreReader, place: Place) -> int | None:
    return reader.load(reader.child(place, b"layersize"), "layersize", parse_size, MAX_TEXT)


def _record(
    reader: StoreReader,
    image_id: str,
    graph: Graph,
) -> ContainerImage:
    configs, sizes = graph.configs, graph.sizes
    chain: list[str] = []
    at: str | None = image_id
    while at is not None and at not in chain and len(chain) < MAX_LOWER:
        chain.append(at)
        at = configs[at].parent if at in configs else None
    known = [size for link in chain if (size := sizes.get(link)) is not None]
    config = configs.get(image_id)
    return ContainerImage(
        engine="docker",
        namespace=None,
        image_id=image_id,
        refs=tuple(sorted(graph.refs.get(image_id, ()))),
        created_ns=config.created_ns if config is not None else None,
        size_bytes=sum(known) if len(known) == len(chain) else None,
        layers=tuple(reversed(chain)),
        architecture=config.architecture if config is not None else None,
        os=config.os if config is not None else None,
        history=tuple(
            HistoryStep(configs[link].created_ns, None, None, configs[link].author, False)
            for link in reversed(chain)
            if link in configs
        ),
        labels=config.labels if config is not None else {},
        parent_image=config.parent if config is not None else None,
        source=reader.provenance(graph.places[image_id]),
    )
