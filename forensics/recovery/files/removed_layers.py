"""Layer directories that were removed: which store had them, what stood in them when they went, and what was below them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.filesystem import Filesystem, Tree, lookup
from forensics.records import Container, Layer, Provenance, StoreContents
from forensics.recovery.containers.container_directories import is_mount, is_own_directory, is_task
from forensics.recovery.files.births import layers_before, layers_by_birth
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.past_tree import removed_tree
from forensics.recovery.files.removed_layer import RemovedLayer, init_births, init_pairs, own_births, pair_births
from forensics.recovery.files.small_files import small_content
from forensics.text import readable
from parsers.docker_layer import INIT_SUFFIX, parse_digest, parse_directory, parse_link, parse_link_target, parse_lower
from parsers.errors import CtrForensicsError

_DIRECTORY = re.compile(
    rb"(?P<base>.*?/(?:(?P<driver>overlay2|overlay|fuse-overlayfs)|io\.containerd\.snapshotter\.v1\.(?P<snapshotter>[^/]+)/snapshots))"
    rb"(?:/tempdirs/[^/]+)?/(?P<name>[^/]+)/(?P<part>diff|fs|lower|link|work)(?P<inside>/.*)?",
    re.DOTALL,
)
_SUBVOLUME = re.compile(
    rb"(?P<base>.*?/(?:btrfs/subvolumes|io\.containerd\.snapshotter\.v1\.btrfs/(?:active|view|snapshots)))"
    rb"/(?P<name>[0-9a-f]{64}(?:-init)?|\d+)(?P<inside>/.*)?",
    re.DOTALL,
)
_IN_TEMPDIR = re.compile(rb"\d+-([0-9a-f]{64})")  # containers/storage moves a layer aside before it removes it
_RENAMED = re.compile(rb"(?:rm-)?(.*?)(?:-removing)?", re.DOTALL)
_MOUNT = re.compile(rb".*/image/([^/]+)/layerdb/mounts/([0-9a-f]{64})/(mount-id|parent)")


@dataclass(frozen=True, slots=True)
class Inside:
    """Where a deleted file stood: at `path` in the directory of the layer at `layer` (as Layer.path) of its partition.

    path: None where it is not known.
    """

    layer: str
    path: bytes | None


@dataclass(frozen=True)
class WithRemoved:
    """Stores with the layers that were removed from them. inside: by a deleted file's number.

    trees: by partition and number of the deleted directory; a removed layer's `directory` is that number, negative. inferred:
    the layers, by partition and Layer.path, of which the container is told by the time of its birth only.
    """

    stores: list[StoreContents]
    trees: dict[int, dict[int, Tree]]
    inside: dict[int, Inside]
    inferred: set[tuple[int, str]]


def with_removed_layers(
    stores: Sequence[StoreContents], filesystems: Mapping[int, Filesystem], deleted: Iterable[Numbered]
) -> WithRemoved:
    """Find the layers among the deleted files, and put those that were removed into their stores."""
    found = _Search(stores, filesystems)
    for each in deleted:
        found.take(each)
    return found.result()


class _Search:
    def __init__(self, stores: Sequence[StoreContents], filesystems: Mapping[int, Filesystem]) -> None:
        self._stores, self._filesystems = list(stores), filesystems
        self._live = {(layer.partition, layer.path) for s in stores for layer in s.layers if layer.directory is not None}
        self._removed: dict[tuple[int, bytes, str], RemovedLayer] = {}
        self._mounts: dict[str, tuple[str, Numbered]] = {}
        self._parents: dict[str, Numbered] = {}
        self._inside: dict[int, Inside] = {}
        self._made: dict[str, int] = {}
        self._mounted: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._inits: dict[tuple[bytes, str], str] = {}

    def take(self, each: Numbered) -> None:
        """Sort a deleted file to its layer."""
        path = each.file.path
        if path is None and each.file.within is not None:
            self._take_live(each, each.file.within + b"/", known=False)
        elif path is not None and path.startswith(b"/") and not self._take_live(each, path):
            self._take_others(each, path)

    def _take_live(self, each: Numbered, path: bytes, known: bool = True) -> bool:
        """Whether a deleted file was in the directory of a layer that is there; known: whether the path is its own."""
        at = path.find(b"/", 1)
        while at > 0:  # a host in a container has layers of its own; the outermost one counts
            if (each.partition, readable(path[:at])) in self._live:
                self._inside[each.number] = Inside(readable(path[:at]), path[at:] if known else None)
                return True
            at = path.find(b"/", at + 1)
        return False

    def _take_others(self, each: Numbered, path: bytes) -> None:
        match = _DIRECTORY.fullmatch(path)
        subvolume = _SUBVOLUME.fullmatch(path)
        if match is not None:
            self._take_removed(each, match)
        elif subvolume is not None:
            self._take_subvolume(each, subvolume)
        for known, is_one in ((self._made, is_own_directory), (self._mounted, is_mount)):
            if each.file.crtime_ns is not None and is_one(each.file):
                known[path.rpartition(b"/")[2].decode()] = each.file.crtime_ns
        if each.file.crtime_ns is not None and is_task(each.file):
            name = path.rpartition(b"/")[2].decode()
            self._begun[name] = min(each.file.crtime_ns, self._begun.get(name, each.file.crtime_ns))
        mount = _MOUNT.fullmatch(path)
        if mount is not None and mount[3] == b"parent":
            self._parents[mount[2].decode()] = each
        elif mount is not None:
            self._mounts[mount[2].decode()] = readable(mount[1]), each

    def _take_removed(self, each: Numbered, match: re.Match[bytes]) -> None:
        base, raw, part = match["base"], match["name"], match["part"]
        moved = _IN_TEMPDIR.fullmatch(raw) or _RENAMED.fullmatch(raw)
        name = readable(moved[1] if moved is not None else raw)
        driver = readable(match["driver"] or match["snapshotter"])
        removed = self._removed.setdefault((each.partition, base, name), RemovedLayer(each.partition, base, driver, name))
        if part in (b"diff", b"fs"):
            inside = match["inside"] or b""
            removed.files.append((inside, each))
            self._inside[each.number] = Inside(removed.path, inside or b"/")
        elif part == b"work":
            removed.worked = True
        elif part == b"lower":
            removed.lower = each
        else:
            removed.link = each

    def _take_subvolume(self, each: Numbered, match: re.Match[bytes]) -> None:
        base, name, inside = match["base"], readable(match["name"]), match["inside"] or b""
        new = RemovedLayer(each.partition, base, "btrfs", name, subvolume=True)
        removed = self._removed.setdefault((each.partition, base, name), new)
        removed.files.append((inside, each))
        self._inside[each.number] = Inside(removed.path, inside or b"/")

    def result(self) -> WithRemoved:
        """The stores with what was found."""
        trees: dict[int, dict[int, Tree]] = {}
        own = [each for each in self._removed.values() if each.files]
        self._inits = init_pairs(own)
        of_store: dict[int, list[RemovedLayer]] = {}
        for each in own:
            store = self._store_of(each)
            if store is not None:
                of_store.setdefault(store, []).append(each)
        stores = []
        inferred: set[tuple[int, str]] = set()
        for number, told in enumerate(self._stores):
            contents = replace(told, containers=tuple(self._with_layer(container) for container in told.containers))
            by_birth = self._by_birth(contents, of_store.get(number, ()))
            inferred |= {(each.partition, each.path) for each in of_store.get(number, ()) if each.key in by_birth.values()}
            contents = replace(contents, containers=tuple(_placed(each, by_birth) for each in contents.containers))
            layers = {layer.key: layer for layer in contents.layers}
            mine = [each for each in of_store.get(number, ()) if each.key not in layers or layers[each.key].directory is None]
            layers |= {each.key: self._layer(each, contents, layers.get(each.key)) for each in mine}
            for each in mine:
                if each.root is not None:
                    trees.setdefault(each.partition, {})[each.root.number] = removed_tree(each.root, each.files)
            known = {each.key for each in contents.layers}
            added = (layers[key] for key in sorted(layers.keys() - known))
            own_layers = {each.layer for each in contents.containers}
            kept = (_owned(layers[each.key], own_layers) for each in contents.layers)
            stores.append(replace(contents, layers=(*kept, *added)))
        known_paths = {(layer.partition, layer.path) for contents in stores for layer in contents.layers}
        partitions = {each.number: each.partition for removed in own for _, each in removed.files}
        inside = {
            number: where
            for number, where in self._inside.items()
            if number not in partitions or (partitions[number], where.layer) in known_paths
        }
        return WithRemoved(stores, trees, inside, inferred)

    def _by_birth(self, contents: StoreContents, removed: Sequence[RemovedLayer]) -> dict[str, str]:
        """The layers of those removed containers of which nothing but times tells them."""
        containers, layers = contents.containers, contents.layers
        used = {each.layer for each in containers}
        births = [birth for birth in own_births(removed) if birth[1] not in used]
        lost = [each for each in containers if each.layer is None and each.origin == "recovered" and each.engine == "docker"]
        pairs = pair_births(removed)
        found = layers_before(
            [(self._mounted[each.container_id], each.container_id) for each in lost if each.container_id in self._mounted],
            [birth for birth in pairs if birth[1] not in used],
            most=1,
        )
        # Of these no more than the birth of the directory is known, which follows those of the snapshots.
        undated = [each for each in lost if each.created_ns is not None and each.created_ns == self._made.get(each.container_id)]
        found |= layers_before([(each.created_ns or 0, each.container_id) for each in undated], births, most=2)
        # A client of containerd has the snapshot made, then the container, and then its first task; CRI the sandbox's before.
        unplaced = {each.container_id for each in containers if each.layer is None and each.origin == "recovered"}
        tasks = [
            (self._begun[each.container_id], each.container_id)
            for each in containers
            if each.origin == "recovered" and each.engine == "containerd" and each.container_id in self._begun
        ]
        left = [birth for birth in births if birth[1] not in found.values()]
        found |= {own: layer for own, layer in layers_before(tasks, left, most=1).items() if own in unplaced}
        left = [birth for birth in births if birth[1] not in found.values()]
        rest = [each for each in containers if each not in undated and each.container_id not in found]
        return {**layers_by_birth(rest, left, sorted([*init_births(removed), *self._live_inits(layers)])), **found}

    def _live_inits(self, layers: Iterable[Layer]) -> Iterator[tuple[int, str]]:
        """When the init layers of Docker's that are still there were made: an image that was committed stands on them."""
        for layer in layers:
            if layer.kind == "init" and layer.directory is not None and layer.directory > 0:
                try:
                    born = self._filesystems[layer.partition].inode(layer.directory).crtime_ns
                except CtrForensicsError:
                    continue  # told where its files are read
                if born is not None:
                    yield born, layer.key

    def _store_of(self, removed: RemovedLayer) -> int | None:
        """The place of the store whose directory it was: that with most layers beside it, else the one with this root."""
        beside = readable(removed.base) + "/"
        counts = [
            sum(layer.partition == removed.partition and layer.path.startswith(beside) for layer in contents.layers)
            + sum(container.layer == removed.key for container in contents.containers)
            for contents in self._stores
        ]
        if any(counts):
            return counts.index(max(counts))
        root = readable(
            removed.base.rpartition(b"/")[0].rpartition(b"/io.containerd.snapshotter")[0] or removed.base.rpartition(b"/")[0]
        )
        fitting = [n for n, contents in enumerate(self._stores) if root and contents.store.root.endswith(root)]
        return fitting[0] if fitting else None

    def _with_layer(self, container: Container) -> Container:
        """A container that was removed, with the layer that Docker's layerdb named."""
        named = self._mounts.get(container.container_id)
        if container.layer is not None or named is None:
            return container
        driver, file = named
        try:
            return replace(container, layer=f"{driver}/{parse_directory(self._content(file))}")
        except CtrForensicsError:
            return container

    def _layer(self, removed: RemovedLayer, contents: StoreContents, known: Layer | None) -> Layer:
        root = removed.root
        users = {container.layer: container for container in contents.containers}
        user = users.get(removed.key)
        is_init = removed.name.endswith(INIT_SUFFIX) or (contents.store.engine == "docker" and removed.is_init)
        kind = "container" if user is not None else "init" if is_init else "orphan"
        alike = next((layer for layer in contents.layers if layer.key.startswith(f"{removed.driver}/")), None)
        directory = -root.number if root is not None else None
        source = None
        if root is not None and root.file.path is not None:
            how = f"deleted, {root.file.method}"
            source = Provenance(root.partition, readable(root.file.path), root.file.inode, root.file.offset, how)
        if known is not None:
            return replace(
                known, directory=directory, path=removed.path, partition=removed.partition, origin="recovered", source=source
            )
        lower = self._lower(removed, contents, user)
        if removed.subvolume:  # what did not come back of it is what the layer below has: it was a snapshot of that
            return Layer(
                key=removed.key, name=removed.name, kind=kind, directory=directory, path=removed.path,
                partition=removed.partition, lower=lower, stacked=True, marks="none", compared_with=lower, origin="recovered",
                source=source,
            )  # fmt: skip
        return Layer(
            key=removed.key, name=removed.name, kind=kind, directory=directory, path=removed.path, partition=removed.partition,
            lower=lower, stacked=alike.stacked if alike is not None else True,
            marks=alike.marks if alike is not None else "fuse" if removed.driver == "fuse-overlayfs" else "trusted",
            origin="recovered", source=source,
        )  # fmt: skip

    def _lower(self, removed: RemovedLayer, contents: StoreContents, user: Container | None) -> str | None:
        """The key of the layer right below: by the file `lower`, else what the engine puts below such a layer."""
        unknown = None
        if removed.lower is not None:
            try:
                short = parse_lower(self._content(removed.lower))[0]
                name = self._linked(removed, short)
                if name is not None:
                    return f"{removed.driver}/{name}"
                unknown = f"{removed.driver}/l/{short}"
            except CtrForensicsError:
                pass  # then the others may tell
        if (removed.partition, removed.base, removed.name + INIT_SUFFIX) in self._removed:
            return removed.key + INIT_SUFFIX
        if contents.store.engine == "docker":
            live = user.container_id + INIT_SUFFIX if user is not None else None
            init = next((each.key for each in contents.layers if each.name == live), self._inits.get((removed.base, removed.key)))
            if init is not None:
                return init
            if removed.is_init:  # it stood on the image of the container that stood on it
                own = {key for (base, key), init in self._inits.items() if (base, init) == (removed.base, removed.key)}
                user = next((each for each in contents.containers if each.layer in own), None)
        chain_id = self._parent(removed)
        below = next((layer.key for layer in contents.layers if chain_id is not None and layer.chain_id == chain_id), None)
        if below is not None:
            return below
        images = {image.image_id: image.top for image in contents.images}
        return (images.get(user.image_id) if user is not None and user.image_id is not None else None) or unknown

    def _parent(self, removed: RemovedLayer) -> str | None:
        """The chain id of the image below the container whose layer, or init layer, a directory was; by Docker's layerdb."""
        own = removed.name.removesuffix(INIT_SUFFIX)
        for container, (driver, file) in self._mounts.items():
            try:
                if driver == removed.driver and self._content(file) == own.encode() and container in self._parents:
                    return parse_digest(self._content(self._parents[container]))
            except CtrForensicsError:
                continue
        return None

    def _linked(self, removed: RemovedLayer, short: str) -> str | None:
        """The directory that a short name in `l/` stands for."""
        for each in self._removed.values():
            if each.link is not None and (each.partition, each.base) == (removed.partition, removed.base):
                try:
                    if parse_link(self._content(each.link)) == short:
                        return each.name
                except CtrForensicsError:
                    continue
        fs = self._filesystems[removed.partition]
        number = lookup(fs, removed.base + b"/l/" + short.encode())
        return parse_link_target(fs.target(number)) if number is not None else None

    def _content(self, each: Numbered) -> bytes:
        return small_content(self._filesystems[each.partition], each.file)


def _owned(layer: Layer, own: set[str | None]) -> Layer:
    """A layer that nobody had, and that is a removed container's."""
    return replace(layer, kind="container") if layer.kind == "orphan" and layer.key in own else layer


def _placed(container: Container, layers: Mapping[str, str]) -> Container:
    """A container with the layer that was found for it."""
    layer = layers.get(container.container_id) if container.layer is None and container.origin == "recovered" else None
    return container if layer is None else replace(container, layer=layer)
