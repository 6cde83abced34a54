"""The bbolt files of all stores, told by their names and their magic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from forensics.stores.all import FoundStore
from forensics.stores.reading import Place, StoreReader

_MAGIC, _MAGIC_AT = bytes.fromhex("edda0ced"), 16
_DIRECTORIES: dict[str, tuple[tuple[bytes, ...], ...]] = {
    "docker": ((b"volumes",), (b"network", b"files"), (b"buildkit",), (b"swarm", b"worker")),
    "podman": ((b"libpod",),),
    "crio": ((b"libpod",),),
}
"""Where below its root an engine keeps them."""
_ENDS = (b".db", b".db-old")  # Podman 5.8 keeps the one that it does not use any more


def bolt_files(reader: StoreReader, stores: Iterable[FoundStore]) -> tuple[Place, ...]:
    """Each bbolt file once, in the order of partitions and paths."""
    found = {(place.partition, place.inode): place for store in stores for place in _of_store(reader, store)}
    return tuple(sorted(found.values(), key=lambda place: (place.partition, place.path)))


def _of_store(reader: StoreReader, store: FoundStore) -> Iterator[Place]:
    engine, root = store.contents.store.engine, store.root
    directories: list[Place | None] = []
    if root is not None:
        directories += [reader.child(root, *names) for names in _DIRECTORIES.get(engine, ())]
        if engine == "buildkit":
            workers = reader.children(root, "d")
            directories += [root, *workers, *(reader.child(worker, b"snapshots") for worker in workers)]
    containerd = store.containerd.root.place if store.containerd is not None else None
    directories += [each for each in reader.children(containerd, "d") if each.name.startswith(b"io.containerd.")]
    if store.containerd is not None:  # snapshotters that have a place of their own
        own = store.containerd.context.snapshotters.values()
        directories += [directory for each in own for directory in (each.root, each.place)]
    for directory in directories:
        for place in reader.children(directory, "f"):
            if place.name.endswith(_ENDS) and reader.head(place, _MAGIC_AT + 4)[_MAGIC_AT:] == _MAGIC:
                yield place
