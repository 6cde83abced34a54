"""Container images: names in meta.db, and the chain target -> manifest -> config -> diff ids -> chain ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forensics.records import ContainerImage, HistoryStep, LayerArchive
from forensics.stores.containerd.content import ContentStore
from forensics.stores.containerd.layers import SnapshotLayers
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.reading import StoreReader
from forensics.text import readable
from parsers.containerd_meta import Image
from parsers.docker_image import ImageConfig, parse_image_config
from parsers.docker_layer import chain_ids
from parsers.errors import FormatError
from parsers.oci_image import Descriptor, Index, Manifest, parse_index_or_manifest

MAX_NESTED = 8  # an index in an index in ...
MAX_MANIFEST = 1 << 20  # bytes
UNCOMPRESSED = "containerd.io/uncompressed"
ATTESTATION = "vnd.docker.reference.type"  # BuildKit's, an annotation of manifests that are no images


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One target of one namespace, with all names for it. config: of the platform whose layers are here, else of the first."""

    namespace: str
    digest: str
    names: tuple[Image, ...]
    config_digest: str | None
    config: ImageConfig | None
    config_text: str | None
    layer_digests: tuple[str, ...]
    size: int | None

    @property
    def chain(self) -> tuple[str, ...]:
        """The chain ids of its layers, bottom first."""
        return chain_ids(self.config.diff_ids) if self.config is not None else ()


def read_images(reader: StoreReader, meta: MetaDb, content: ContentStore) -> dict[tuple[str, str], StoredImage]:
    """The images by namespace and target digest."""
    names: dict[tuple[str, str], list[Image]] = {}
    for image in meta.images:
        if image.digest is not None:
            names.setdefault((image.namespace, image.digest), []).append(image)
    unpacked = {(namespace, key) for namespace, _, key in meta.snapshots}
    return {where: _read(reader, content, *where, tuple(found), unpacked) for where, found in sorted(names.items())}


def nameless_images(
    reader: StoreReader, content: ContentStore, images: Mapping[tuple[str, str], StoredImage]
) -> dict[tuple[str, str], StoredImage]:
    """Images whose names are lost with meta.db: the manifests in the content store that no image leads to; of no namespace."""
    known = {image.config_digest for image in images.values()}
    found = {}
    for digest, place in sorted(content.blobs.items()):
        inode = reader.inode(place)
        if inode is None or not 0 < inode.size <= MAX_MANIFEST or reader.head(place, 1) != b"{":
            continue
        manifest = reader.load(place, "container image manifest", _manifest_or_none, MAX_MANIFEST)
        if manifest is None or manifest.config is None or manifest.config.digest in known:
            continue
        image = _read(reader, content, "", digest, (), set())
        if image.config is not None:
            found["", digest] = image
    return found


def _manifest_or_none(data: bytes) -> Manifest | None:
    try:
        document = parse_index_or_manifest(data)
    except FormatError:
        return None  # another kind of document
    return document if isinstance(document, Manifest) else None


class ImageIndex:
    """Images by what a container may know one by, always within a namespace; each a list of target digests."""

    def __init__(self, images: Iterable[StoredImage]) -> None:
        self.by_name: dict[tuple[str, str], list[StoredImage]] = {}
        self.by_config: dict[tuple[str, str], list[str]] = {}
        self.by_top: dict[tuple[str, str], list[str]] = {}
        for image in images:
            for name in image.names:
                self.by_name.setdefault((image.namespace, name.name), []).append(image)
            if image.config_digest is not None:
                self.by_config.setdefault((image.namespace, image.config_digest), []).append(image.digest)
            if image.chain:
                self.by_top.setdefault((image.namespace, image.chain[-1]), []).append(image.digest)


def diff_ids(images: Iterable[StoredImage]) -> dict[str, str]:
    """The diff id of each chain id that the images' configs add up to."""
    found: dict[str, str] = {}
    for image in images:
        if image.config is not None:
            found.update(zip(image.chain, image.config.diff_ids, strict=True))
    return found


def layer_archives(meta: MetaDb, content: ContentStore, images: Iterable[StoredImage]) -> dict[str, LayerArchive]:
    """The blob of each diff id: as labels of blobs tell it, and as manifests and configs do."""
    found: dict[str, str] = {}
    for digest, records in sorted(meta.blobs.items()):
        for record in records.values():
            if (diff_id := record.labels.get(UNCOMPRESSED)) is not None:
                found.setdefault(diff_id, digest)
    for image in images:
        if image.config is not None and len(image.config.diff_ids) == len(image.layer_digests):
            for diff_id, digest in zip(image.config.diff_ids, image.layer_digests, strict=True):
                found.setdefault(diff_id, digest)
    places = {diff_id: content.blobs[digest] for diff_id, digest in found.items() if digest in content.blobs}
    return {diff_id: LayerArchive("tar", place.partition, place.inode, readable(place.path)) for diff_id, place in places.items()}


def image_records(
    meta: MetaDb, images: Mapping[tuple[str, str], StoredImage], layers: SnapshotLayers, namespaces: Iterable[str]
) -> tuple[ContainerImage, ...]:
    """The records of the images of some namespaces."""
    wanted = set(namespaces)
    return tuple(image_record(meta, image, layers) for _, image in sorted(images.items()) if image.namespace in wanted)


def image_record(meta: MetaDb, image: StoredImage, layers: SnapshotLayers) -> ContainerImage:
    """One image's record."""
    config = image.config
    labels = dict(config.labels) if config is not None else {}
    for name in image.names:
        labels.update(name.labels)
    updated = [name.updated_ns for name in image.names if name.updated_ns is not None]
    return ContainerImage(
        engine="containerd",
        namespace=image.namespace or None,
        image_id=image.digest,
        refs=tuple(sorted(name.name for name in image.names)),
        created_ns=config.created_ns if config is not None else None,
        size_bytes=image.size,
        layers=config.diff_ids if config is not None else (),
        top=_top(image, layers),
        architecture=config.architecture if config is not None else None,
        os=config.os if config is not None else None,
        history=tuple(
            HistoryStep(step.created_ns, step.created_by, step.comment, step.author, step.empty_layer)
            for step in (config.history if config is not None else ())
        ),
        labels=labels,
        updated_ns=max(updated, default=None),
        config=image.config_text,
        source=meta.provenance(image.names[0].offset) if image.names else None,
    )


def _top(image: StoredImage, layers: SnapshotLayers) -> str | None:
    if not image.chain:
        return None
    found = layers.of_chain.get((image.namespace, image.chain[-1]), ())
    return min((each.layer.key for each in found if each.layer.directory is not None), default=None)


def _read(
    reader: StoreReader,
    content: ContentStore,
    namespace: str,
    digest: str,
    names: tuple[Image, ...],
    unpacked: set[tuple[str, str]],
) -> StoredImage:
    indexes, manifests = _manifests(reader, content, digest)
    read = [(each, manifest, _config(reader, content, manifest)) for each, manifest in manifests]
    here = [one for one in read if one[2] is not None and one[2].diff_ids and (namespace, _top_chain(one[2])) in unpacked]
    whole = [one for one in read if one[2] is not None and one[2].diff_ids]
    manifest_digest, manifest, config = next(iter((*here, *whole, *read)), (None, None, None))
    config_digest = manifest.config.digest if manifest is not None and manifest.config is not None else None
    if not manifests:
        missing = digest not in content.blobs
        reader.gap(
            "container image",
            f"{names[0].name if names else digest}: its target {digest} {'is missing' if missing else 'has no manifest'}",
        )
    data = content.documents.get(config_digest) if config_digest is not None else None
    return StoredImage(
        namespace=namespace,
        digest=digest,
        names=names,
        config_digest=config_digest,
        config=config,
        layer_digests=tuple(each.digest for each in manifest.layers) if manifest is not None else (),
        config_text=data.decode("utf-8", "replace") if data is not None and config is not None else None,
        size=_size(reader, content, indexes, manifest, manifest_digest),
    )


def _top_chain(config: ImageConfig) -> str:
    return chain_ids(config.diff_ids)[-1]


def _manifests(reader: StoreReader, content: ContentStore, digest: str) -> tuple[list[str], list[tuple[str, Manifest]]]:
    """The indexes and the manifests that a target leads to, as far as they are on the disk."""
    indexes: list[str] = []
    found: list[tuple[str, Manifest]] = []
    level, seen = [digest], {digest}
    for _ in range(MAX_NESTED):
        below: list[str] = []
        for each in level:
            document = content.load(reader, each, "container image manifest", parse_index_or_manifest)
            if document is None:
                continue
            reader.tell("container image manifest", document.problems, content.blobs[each])
            if isinstance(document, Manifest):
                found.append((each, document))
            elif isinstance(document, Index):
                indexes.append(each)
                below += [one.digest for one in document.manifests if ATTESTATION not in one.annotations]
        level = [each for each in dict.fromkeys(below) if each not in seen and each in content.blobs]
        seen.update(level)
        if not level:
            break
    return indexes, found


def _config(reader: StoreReader, content: ContentStore, manifest: Manifest) -> ImageConfig | None:
    if manifest.config is None:
        return None
    config = content.load(reader, manifest.config.digest, "container image config", parse_image_config)
    if config is not None:
        reader.tell("container image config", config.problems, content.blobs[manifest.config.digest])
    return config


def _size(
    reader: StoreReader, content: ContentStore, indexes: list[str], manifest: Manifest | None, digest: str | None
) -> int | None:
    """The bytes of its blobs in the content store, as `ctr images ls` and `docker images` tell it; layers count as described."""
    if manifest is None or digest is None or manifest.config is None:
        return None
    own = [_blob_size(reader, content, each) for each in (*indexes, digest)]
    described = [_described(reader, content, each) for each in (manifest.config, *manifest.layers)]
    sizes = [size for size in (*own, *described) if size is not None]
    return sum(sizes) if len(sizes) == len(own) + len(described) else None


def _described(reader: StoreReader, content: ContentStore, descriptor: Descriptor) -> int | None:
    return descriptor.size if descriptor.size is not None else _blob_size(reader, content, descriptor.digest)


def _blob_size(reader: StoreReader, content: ContentStore, digest: str) -> int | None:
    place = content.blobs.get(digest)
    inode = reader.inode(place) if place is not None else None
    return inode.size if inode is not None else None
