"""Every store of every engine, found and read. A new engine is one module and one line here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forensics.records import Container, StoreContents
from forensics.stores.buildkit.references import with_references
from forensics.stores.buildkit.standalone import find_buildkit_roots, read_buildkit
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.store import ContainerdStore, containerd_contents, read_containerd
from forensics.stores.docker.containerd_images import claim_namespaces
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.kubelet import POD_UID, find_kubelets, read_kubelet
from forensics.stores.podman.discover import find_graph_roots
from forensics.stores.podman.store import read_graph_root
from forensics.stores.reading import Place, StoreReader
from forensics.survey import Survey


@dataclass(frozen=True)
class FoundStore:
    """A store's contents, and what they were read from.

    claimed: namespaces of the containerd that are data-roots' of Docker: this store's own where it is one, else others'.
    """

    contents: StoreContents
    root: Place | None = None
    containerd: ContainerdStore | None = None
    claimed: frozenset[str] = frozenset()


def read_stores(found: Survey, reader: StoreReader) -> Iterator[StoreContents]:
    """The stores on a disk image, one engine after another; `reader` hears what could not be read while they were sought."""
    yield from (store.contents for store in find_stores(found, reader))


def find_stores(found: Survey, reader: StoreReader) -> Iterator[FoundStore]:
    """As read_stores, each with the place that it was read from."""
    containers: list[Container] = []
    for store in _engines(found, reader):
        containers += (each for each in store.contents.containers if each.labels and POD_UID in each.labels)
        yield store
    for kubelet in find_kubelets(found, reader):
        yield FoundStore(read_kubelet(kubelet, containers), kubelet.place)


def _engines(found: Survey, reader: StoreReader) -> Iterator[FoundStore]:
    containerds = [read_containerd(root) for root in find_containerd_roots(found, reader)]
    docker_roots = find_docker_roots(found, reader)
    claimed = claim_namespaces(reader, docker_roots, containerds)
    told: set[tuple[int, str]] = set()
    spaces = [claimed.get((root.place.partition, root.place.inode)) for root in docker_roots]
    docker_builds = (reader.child(root.place, b"buildkit") for root in docker_roots)
    buildkits = find_buildkit_roots(found, reader, {(place.partition, place.inode) for place in docker_builds if place})
    dockers = [(root.tree, read_docker(root, space)) for root, space in zip(docker_roots, spaces, strict=True)]
    builders = with_references([*dockers, *((root.tree, read_buildkit(root)) for root in buildkits)])
    for root, space, contents in zip(docker_roots, spaces, builders, strict=False):
        if space is None or (id(space.store), space.namespace) in told:  # what was removed from a shared one is told once
            yield FoundStore(contents, root.place)
            continue
        told.add((id(space.store), space.namespace))
        yield FoundStore(contents, root.place, space.store, frozenset((space.namespace,)))
    for store in containerds:
        others = frozenset(space.namespace for space in claimed.values() if space.store is store)
        yield FoundStore(containerd_contents(store, without=others), store.root.place, store, others)
    for buildkit, contents in zip(buildkits, builders[len(dockers) :], strict=True):
        yield FoundStore(contents, buildkit.place)
    for graph_root in find_graph_roots(found, reader):
        yield FoundStore(read_graph_root(graph_root), graph_root.place)
