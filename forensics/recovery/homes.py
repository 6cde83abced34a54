"""Which store a recovered record goes to: the one that it was removed from, as far as anything tells."""

from __future__ import annotations

from collections.abc import Sequence

from forensics.records import Container, ContainerImage, Store, StoreContents

STORAGE = frozenset(("podman", "crio", "buildah"))
"""Engines that share one kind of store."""


class Homes:
    """The stores of a case. made: those of engines of which no store is left, made for what was carved of them."""

    def __init__(self, stores: Sequence[StoreContents]) -> None:
        self._stores = [contents.store for contents in stores]
        self.made: list[StoreContents] = []

    def of(self, record: Container | ContainerImage, hint: str | None) -> str:
        """The key of a store. hint: a store's key, or `<engine>:<its root on the host>`, or an engine, or nothing."""
        hinted, _, root = (hint or "").partition(":")
        partition = record.source.partition if record.source is not None else 0
        ranked = sorted(
            (store for store in self._stores if store.key == hint or _same(store.engine, record.engine)),
            key=lambda store: (store.key != hint, store.root != root, store.partition != partition, store.key),
        )
        if ranked:
            return ranked[0].key
        root = root if hinted == record.engine else ""
        store = Store(f"{record.engine}:p{partition}:{root} (removed)", record.engine, root, None, None, partition, "recovered")
        self._stores.append(store)
        self.made.append(StoreContents(store))
        return store.key


def _same(engine: str, other: str) -> bool:
    return engine == other or {engine, other} <= STORAGE
