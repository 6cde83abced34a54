"""Every store of every engine, found and read. A new engine is one module and one line here."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.records import Container, StoreContents
from forensics.stores.buildkit.standalone import find_buildkit_roots, read_buildkit
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.store import containerd_contents, read_containerd
from forensics.stores.docker.containerd_images import claim_namespaces
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.kubelet import POD_UID, find_kubelets, read_kubelet
from forensics.stores.podman.discover import find_graph_roots
from forensics.stores.podman.store import read_graph_root
from forensics.stores.reading import StoreReader
from forensics.survey import Survey


def read_stores(found: Survey, reader: StoreReader) -> Iterator[StoreContents]:
    """The stores on a disk image, one engine after another; `reader` hears what could not be read while they were sought."""
    containers: list[Container] = []
    for contents in _engines(found, reader):
        containers += (each for each in contents.containers if each.labels and POD_UID in each.labels)
        yield contents
    for kubelet in find_kubelets(found, reader):
        yield read_kubelet(kubelet, containers)


def _engines(found: Survey, reader: StoreReader) -> Iterator[StoreContents]:
    containerds = [read_containerd(root) for root in find_containerd_roots(found, reader)]
    docker_roots = find_docker_roots(found, reader)
    claimed = claim_namespaces(reader, docker_roots, containerds)
    for root in docker_roots:
        yield read_docker(root, claimed.get((root.place.partition, root.place.inode)))
    for store in containerds:
        yield containerd_contents(store, without={space.namespace for space in claimed.values() if space.store is store})
    docker_builds = (reader.child(root.place, b"buildkit") for root in docker_roots)
    for buildkit in find_buildkit_roots(found, reader, {(place.partition, place.inode) for place in docker_builds if place}):
        yield read_buildkit(buildkit)
    for graph_root in find_graph_roots(found, reader):
        yield read_graph_root(graph_root)
