"""Container images of a data-root: imagedb's configs, their names in repositories.json, their layers in layerdb.

image/<driver>/imagedb/content/sha256/<id>                        the config; its SHA-256 is the id
image/<driver>/imagedb/metadata/sha256/<id>/{parent,lastUpdated}
image/<driver>/repositories.json
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from forensics.records import ContainerImage, HistoryStep
from forensics.stores.docker.claims import Claims, chain_below
from forensics.stores.docker.layerdb import ChainLink, LayerDb
from forensics.stores.docker.layers import layer_key
from forensics.stores.reading import Place, StoreReader
from parsers.docker_image import ImageConfig, parse_image_config, parse_repositories
from parsers.docker_layer import chain_ids, parse_digest
from parsers.go_time import parse_rfc3339

MAX_CONFIG = 8 << 20
MAX_REPOSITORIES = 32 << 20
MAX_TEXT = 4096

_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What the image store itself says of an image. config: None where damaged; intact: its SHA-256 is the id."""

    image_id: str
    place: Place
    config: ImageConfig | None
    text: str | None
    intact: bool
    refs: tuple[str, ...]
    parent: str | None
    updated_ns: int | None


def read_images(reader: StoreReader, image: Place) -> dict[str, StoredImage]:
    """The images of one driver by id. image: the directory image/<driver>."""
    repositories = reader.child(image, b"repositories.json")
    names = reader.load(repositories, "repositories.json", parse_repositories, MAX_REPOSITORIES)
    if names is not None:
        reader.tell("repositories.json", names.problems, repositories)
    refs = names.refs if names is not None else {}
    found: dict[str, StoredImage] = {}
    for place in reader.children(reader.child(image, b"imagedb", b"content", b"sha256"), "f?"):
        if _ID.fullmatch(place.name):
            image_id = f"sha256:{place.name.decode()}"
            found[image_id] = _read_image(reader, image, image_id, place, refs.get(image_id, ()))
    for image_id, known in refs.items():
        if image_id not in found and repositories is not None:
            reader.gap("container image config", f"{image_id} is missing; repositories.json names it", repositories)
            found[image_id] = StoredImage(image_id, repositories, None, None, False, known, None, None)
    return found


def known_chain(images: Mapping[str, StoredImage]) -> dict[str, ChainLink]:
    """The chain ids that intact images' diff ids add up to."""
    chain: dict[str, ChainLink] = {}
    for image in images.values():
        parent = None
        diff_ids = image.config.diff_ids if image.config is not None and image.intact else ()
        for chain_id, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True):
            chain[chain_id] = ChainLink(chain_id, None, diff_id=diff_id, parent=parent)
            parent = chain_id
    return chain


def top_chain(image: StoredImage) -> str | None:
    """The chain id of the image's top layer; None for an image without layers, or whose config is damaged."""
    return chain_ids(image.config.diff_ids)[-1] if image.config is not None and image.config.diff_ids else None


def docker_images(
    reader: StoreReader,
    driver: str,
    images: Mapping[str, StoredImage],
    db: LayerDb,
    claims: Claims,
    used: Mapping[str, str],
) -> tuple[ContainerImage, ...]:
    """The records of all images. used: chain ids below containers, by their image's id: they tell a damaged config's layers."""
    return tuple(_record(reader, driver, image, db, claims, used) for _, image in sorted(images.items()))


def _record(
    reader: StoreReader, driver: str, image: StoredImage, db: LayerDb, claims: Claims, used: Mapping[str, str]
) -> ContainerImage:
    config = image.config
    top = top_chain(image) or used.get(image.image_id)
    chain = [db.chain[link] for link in reversed(chain_below(db, top))]
    diff_ids = [link.diff_id for link in chain if link.diff_id is not None]
    sizes = [link.size for link in chain if link.size is not None]
    directory = claims.directory.get(top) if top is not None else None
    layers = config.diff_ids if config is not None else ()
    return ContainerImage(
        engine="docker",
        namespace=None,
        image_id=image.image_id,
        refs=image.refs,
        created_ns=config.created_ns if config is not None else None,
        size_bytes=sum(sizes) if len(sizes) == len(chain) == len(layers or chain) and (chain or config) else None,
        layers=layers or tuple(diff_ids),
        top=layer_key(driver, directory) if directory is not None else None,
        architecture=config.architecture if config is not None else None,
        os=config.os if config is not None else None,
        history=tuple(
            HistoryStep(step.created_ns, step.created_by, step.comment, step.author, step.empty_layer)
            for step in (config.history if config is not None else ())
        ),
        labels=config.labels if config is not None else {},
        parent_image=image.parent,
        updated_ns=image.updated_ns,
        config=image.text,
        source=reader.provenance(image.place),
    )


def _read_image(reader: StoreReader, image: Place, image_id: str, place: Place, refs: tuple[str, ...]) -> StoredImage:
    loaded = reader.load(place, "container image config", lambda data: (data, parse_image_config(data)), MAX_CONFIG)
    data, config = loaded if loaded is not None else (b"", None)
    intact = hashlib.sha256(data).hexdigest().encode() == place.name
    if config is not None:
        reader.tell("container image config", config.problems, place)
        if not intact:
            reader.gap("container image config", "altered: its SHA-256 is not its name", place)
    metadata = reader.child(image, b"imagedb", b"metadata", b"sha256", place.name)
    parent = reader.child(metadata, b"parent") if metadata is not None else None
    updated = reader.child(metadata, b"lastUpdated") if metadata is not None else None
    return StoredImage(
        image_id,
        place,
        config,
        data.decode("utf-8", "replace") if config is not None else None,
        intact,
        refs,
        reader.load(parent, "container image's parent", parse_digest, MAX_TEXT),
        reader.load(updated, "container image's lastUpdated", _parse_time, MAX_TEXT),
    )


def _parse_time(data: bytes) -> int | None:
    return parse_rfc3339(data.decode("ascii", "replace"))
