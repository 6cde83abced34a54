"""Everything that was removed and is still known, as records of the stores that it was removed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from forensics.records import Artefact, Container, ContainerImage, StoreContents
from forensics.recovery.clues import Clue, Recovered
from forensics.recovery.containerd import containerd_clues
from forensics.recovery.docker_network import network_clues
from forensics.recovery.join import container_key, image_key, join_containers, join_images
from forensics.stores.all import FoundStore
from forensics.stores.reading import StoreReader


@dataclass
class Clues:
    """What all sources know, of things that are there and of such as were removed. artefacts: by the key of their store."""

    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)
    artefacts: dict[str, list[Artefact]] = field(default_factory=dict)


def recover(stores: Sequence[FoundStore]) -> list[StoreContents]:
    """The contents of the stores, with the containers and images that were removed from each behind those that are there."""
    clues = Clues()
    for store in stores:
        _database_clues(store, clues)
    return with_recovered([store.contents for store in stores], clues)


def with_recovered(stores: Sequence[StoreContents], clues: Clues) -> list[StoreContents]:
    """Joins the clues, and leaves out what is there: an allocated record is never overwritten."""
    there = {container_key(each) for contents in stores for each in contents.containers}
    images_there = {image_key(each) for contents in stores for each in contents.images}
    containers = join_containers(clue for clue in clues.containers if container_key(clue.record) not in there)
    images = join_images(clue for clue in clues.images if image_key(clue.record) not in images_there)
    return [
        replace(
            contents,
            containers=(*contents.containers, *_of(contents, containers)),
            images=(*contents.images, *_of(contents, images)),
            artefacts=(*contents.artefacts, *clues.artefacts.get(contents.store.key, ())),
        )
        for contents in stores
    ]


def _of(contents: StoreContents, joined: Iterable[tuple[Recovered, str | None]]) -> tuple[Recovered, ...]:
    return tuple(record for record, key in joined if key == contents.store.key)


def _database_clues(store: FoundStore, clues: Clues) -> None:
    """What the databases of one store still know."""
    kept = store.contents.store
    if store.containerd is not None:
        found = containerd_clues(store.containerd, store.claimed, kept.engine, kept.key)
        clues.containers += found.containers
        clues.images += found.images
        clues.artefacts.setdefault(kept.key, []).extend(found.artefacts)
    if kept.engine == "docker" and store.root is not None:
        reader = StoreReader()
        database = reader.child(store.root, b"network", b"files", b"local-kv.db")
        if database is not None:
            clues.containers += network_clues(database, kept.key)
