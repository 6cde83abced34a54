"""The layers of one driver as records: the overlay driver's stacks, vfs's whole directories.

overlay/<layer id>/{diff,diff1...,link,lower,empty}; `lower` as Docker's overlay2 has it, and layers.json has the parent, too
overlay/l/<short name> -> ../<layer id>/diff
overlay/<layer id>/diff -> <additional layer store>/<base64 of the image's name>/<digest>/diff, an absolute path
overlay/.has-mount-program     `true` where fuse-overlayfs mounts, and whiteouts are `.wh.` files
overlay/<layer id>/composefs-data/composefs.blob: `diff` then holds objects, not files
overlay/{staging,tempdirs}     what was being unpacked, what was being removed
vfs/dir/<layer id>             the whole root filesystem
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.records import Layer
from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.docker.overlay2 import read_overlay2
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.podman.marks import overlay_marks
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader, tar_split
from forensics.text import readable
from parsers.container_storage import LayerRecord
from parsers.docker_layer import MAX_LOWER, chain_id
from parsers.storage_conf import StorageConf

MAX_EXTRA = 100  # diff1, diff2 ... of one layer
NOT_LAYERS = (b"staging", b"tempdirs")


@dataclass(frozen=True, slots=True)
class DriverLayers:
    """One driver's layers in one graphroot. graph: the overlay driver's directories."""

    driver: StoredDriver
    graph: GraphDriver


@dataclass(frozen=True, slots=True)
class Uses:
    """What layers are for, by id. owned: containers' own; tops: the top ones of container images."""

    owned: frozenset[str]
    tops: frozenset[str]

    def kinds(self, lower: Mapping[str, str | None]) -> dict[str, str]:
        """The kind of each layer that a container or a container image needs; what is below a container's is an image's."""
        kinds = dict.fromkeys(self.owned, "container")
        for start in (*(lower.get(name) for name in sorted(self.owned)), *sorted(self.tops)):
            name = start
            while name is not None and name not in kinds:
                kinds[name] = "image"
                name = lower.get(name)
        return kinds


def read_graph(reader: StoreReader, driver: StoredDriver, tree: HostTree | None) -> GraphDriver:
    """The directories of the overlay driver; of a layer in an additional layer store, where its `diff` leads on the host."""

    def follow(diff: Place) -> Place | None:
        target = reader.target(diff)
        place = resolve_or_none(tree, target) if tree is not None and target is not None and target.startswith(b"/") else None
        if place is None and target is not None:
            reader.gap("additional layer store", f"{readable(target)}, where the layer's files are, is not on the disk", diff)
        return place

    if driver.name != "overlay":
        return GraphDriver("overlay", {}, {})
    return read_overlay2(reader, driver.directory, NOT_LAYERS, follow)


def layer_key(driver: str, name: str) -> str:
    """The key of a layer in its store: one graphroot may hold the directories of several drivers."""
    return f"{driver}/{name}"


def storage_layers(
    reader: StoreReader,
    root: Place,
    driver: StoredDriver,
    uses: Uses,
    conf: StorageConf | None,
    others: Sequence[DriverLayers],
    own: GraphDriver,
) -> tuple[Layer, ...]:
    """Every layer that layers.json or a directory tells of. others: additional stores; of these, what is needed from here."""
    if driver.name == "overlay":
        return tuple(_overlay_layers(reader, root, DriverLayers(driver, own), uses, conf, others))
    kinds = uses.kinds({name: record.parent for name, (record, _) in driver.layers.items()})
    if driver.name == "vfs":
        return tuple(_vfs_layers(reader, root, driver, kinds))
    reader.gap(
        "storage driver", f"the layers of {driver.name} are not read, only what layers.json tells of them", driver.directory
    )
    return tuple(
        _layer(reader, driver, root, name, None, driver.layers, kinds.get(name, "orphan"), stacked=False)
        for name in driver.layers
    )


def _overlay_layers(
    reader: StoreReader,
    root: Place,
    own: DriverLayers,
    uses: Uses,
    conf: StorageConf | None,
    others: Sequence[DriverLayers],
) -> Iterator[Layer]:
    driver = own.driver
    stores = (own, *others)
    home: dict[str, DriverLayers] = {}
    links: dict[str, str] = {}
    records: dict[str, tuple[LayerRecord, Place]] = {}
    for store in reversed(stores):  # a link leads into the store itself first, then into the additional ones in their order
        home.update((name, store) for name in {*store.graph.directories, *store.driver.layers})
        links.update(store.graph.links)
        records.update(store.driver.layers)
    lower = {name: _lower(reader, home[name].graph, name, records, links) for name in home}
    _compare_stacks(reader, own.graph, lower, links)
    wanted = {*own.graph.directories, *own.driver.layers}
    for name in list(wanted):
        below = lower.get(name)
        while below is not None and below not in wanted:
            wanted.add(below)
            below = lower.get(below)
    kinds = uses.kinds(lower)
    marks = {store.driver.directory: overlay_marks(reader, store.driver, store.graph, conf) for store in stores}
    for name in sorted(wanted):
        store = home.get(name, own)
        directory = store.graph.directories.get(name)
        place = directory.diff if directory is not None else None
        layer = _layer(reader, store.driver, root, name, place, records, kinds.get(name, "orphan"))
        layer = replace(layer, marks=marks[store.driver.directory])
        if directory is not None and reader.child(directory.place, b"composefs-data", b"composefs.blob") is not None:
            reader.gap("composefs", f"{name} is an image of EROFS, which is not read", directory.place)
            layer = replace(layer, directory=None)
        if directory is not None:
            layer = replace(layer, source=layer.source or reader.provenance(directory.place))
        yield from _with_extras(reader, layer, lower.get(name), directory.place if directory is not None else None)
    yield from _unfinished(reader, driver, marks[driver.directory])


def _lower(
    reader: StoreReader,
    graph: GraphDriver,
    name: str,
    records: Mapping[str, tuple[LayerRecord, Place]],
    links: Mapping[str, str],
) -> str | None:
    """The layer right below: a mount goes by the file `lower`, layers.json steps in where that is damaged."""
    record = records[name][0] if name in records else None
    parent = record.parent if record is not None else None
    directory = graph.directories.get(name)
    if directory is None or directory.lower is None:
        return parent
    if not directory.lower:
        if parent is not None:
            reader.gap("overlay lower", f"missing; layers.json tells that {parent} is below", directory.place)
        return parent
    told = links.get(directory.lower[0])
    if told is None:
        if parent is None:
            reader.gap("overlay lower", f"l/{directory.lower[0]} leads nowhere", directory.lower_place)
            return f"l/{directory.lower[0]}"
        return parent
    if record is not None and told != parent and not _is_copy(record, told, records):
        reader.gap("overlay lower", f"{told} is below, but layers.json tells of {parent}", directory.lower_place)
    return told


def _is_copy(record: LayerRecord, below: str, records: Mapping[str, tuple[LayerRecord, Place]]) -> bool:
    """Whether a layer is another one with the owners of a user namespace: that one is mounted below it, and has its parent."""
    return record.ids is not None and below in records and records[below][0].parent == record.parent


def _compare_stacks(reader: StoreReader, graph: GraphDriver, lower: Mapping[str, str | None], links: Mapping[str, str]) -> None:
    """A `lower` list holds the whole stack; where the layers below lead elsewhere, it is told."""
    for name, directory in sorted(graph.directories.items()):
        if not directory.lower:
            continue
        at = lower.get(name)
        for link in directory.lower:
            if links.get(link) != at:
                reader.gap("overlay lower", f"lists {links.get(link)} where the layers below lead to {at}", directory.lower_place)
                break
            at = lower.get(at) if at is not None else None
        else:
            if at is not None:
                reader.gap("overlay lower", f"ends before {at}, to which the layers below lead", directory.lower_place)


def _with_extras(reader: StoreReader, layer: Layer, lower: str | None, directory: Place | None) -> Iterator[Layer]:
    """A layer and its `diff1`, `diff2` ..., each a layer right below it, in this order."""
    below = layer_key("overlay", lower) if lower is not None else None
    extras: list[Place] = []
    while directory is not None and len(extras) < MAX_EXTRA:
        place = reader.child(directory, b"diff%d" % (len(extras) + 1))
        if place is None:
            break
        extras.append(place)
    keys = [f"{layer.key}/{readable(place.name)}" for place in extras]
    follow = [*keys, below]
    # of several directories, none is what the layer's archive was unpacked to
    yield replace(layer, lower=follow[0], archive=None if extras else layer.archive)
    for place, key, under in zip(extras, keys, follow[1:], strict=True):
        yield replace(
            layer,
            key=key,
            archive=None,
            name=f"{layer.name}/{readable(place.name)}",
            directory=place.inode,
            path=readable(place.path),
            lower=under,
            diff_id=None,
            chain_id=None,
            size_bytes=None,
            source=reader.provenance(place),
        )


def _vfs_layers(reader: StoreReader, root: Place, driver: StoredDriver, kinds: Mapping[str, str]) -> Iterator[Layer]:
    directory = driver.directory
    top = reader.child(directory, b"dir") if directory is not None else None
    places = {readable(place.name): place for place in reader.children(top, "d")}
    for name in sorted({*places, *driver.layers}):
        yield _layer(reader, driver, root, name, places.get(name), driver.layers, kinds.get(name, "orphan"), stacked=False)


def _layer(
    reader: StoreReader,
    driver: StoredDriver,
    root: Place,
    name: str,
    place: Place | None,
    records: Mapping[str, tuple[LayerRecord, Place]],
    kind: str,
    stacked: bool = True,
) -> Layer:
    record, told = records.get(name, (None, None))
    if record is not None and record.incomplete:
        reader.gap("layer", f"{name} is incomplete: its unpacking never ended", told)
    if place is None:
        reader.gap(
            "layer directory", f"{name} is gone" if record is not None else f"{name} has no files", told or driver.directory
        )
    parent = record.parent if record is not None else None
    tail = f"{name}/diff" if driver.name == "overlay" else f"dir/{name}" if driver.name == "vfs" else name
    return Layer(
        key=layer_key(driver.name, name),
        name=name,
        kind=kind,
        directory=place.inode if place is not None else None,
        path=readable(place.path if place is not None else root.path.rstrip(b"/") + f"/{driver.name}/{tail}".encode()),
        partition=place.partition if place is not None else root.partition,
        lower=layer_key(driver.name, parent) if parent is not None else None,
        diff_id=record.diff_digest if record is not None else None,
        chain_id=_chain(name, records),
        parent=parent,
        size_bytes=record.diff_size if record is not None else None,
        stacked=stacked,
        marks="trusted" if stacked else "none",
        archive=tar_split(reader, driver.layers_place, f"{name}.tar-split.gz".encode()),
        source=reader.provenance(told) if told is not None else reader.provenance(place) if place is not None else None,
    )


def _chain(name: str, records: Mapping[str, tuple[LayerRecord, Place]]) -> str | None:
    """The chain id that the diff ids of a layer and all its parents add up to; None where one of them is unknown."""
    diff_ids: list[str] = []
    at: str | None = name
    while at is not None and len(diff_ids) <= MAX_LOWER:
        record = records[at][0] if at in records else None
        if record is None or record.diff_digest is None:
            return None
        diff_ids.append(record.diff_digest)
        at = record.parent
    if at is not None:
        return None
    chain = None
    for diff_id in reversed(diff_ids):
        chain = chain_id(chain, diff_id)
    return chain


def _unfinished(reader: StoreReader, driver: StoredDriver, marks: str) -> Iterator[Layer]:
    """What was being removed or unpacked when the host stopped: nobody's layers."""
    top = driver.directory
    if top is None:
        return
    removed = [place for each in reader.children(reader.child(top, b"tempdirs"), "d") for place in reader.children(each, "d")]
    for place in (*removed, *reader.children(reader.child(top, b"staging"), "d")):
        inside = reader.child(place, b"diff") or reader.child(place, b"dir") or place
        name = readable(place.path[len(top.path) :].lstrip(b"/"))
        yield Layer(
            key=layer_key("overlay", name),
            name=name,
            kind="orphan",
            directory=inside.inode if reader.type(inside) == "d" else None,
            path=readable(inside.path),
            partition=inside.partition,
            marks=marks,
            source=reader.provenance(place),
        )
