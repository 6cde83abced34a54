"""The container images of one driver: images.json and the big data beside it, which hold the config and its manifests.

<driver>-images/<image id>/<name of big data>      the config is the big data whose key is its digest, `sha256:<image id>`
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forensics.records import ContainerImage, HistoryStep
from forensics.stores.podman.layers import layer_key
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.container_storage import ImageRecord, LayerRecord, big_data_name, layer_id
from parsers.docker_image import ImageConfig, parse_image_config
from parsers.docker_layer import MAX_LOWER

MAX_CONFIG = 8 << 20

_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KnownImage:
    """One image. record: in images.json, None where that is damaged. layer: its top one. place: of what tells of it."""

    image_id: str
    place: Place
    record: ImageRecord | None
    config: ImageConfig | None
    text: str | None
    layer: str | None


def known_images(reader: StoreReader, driver: StoredDriver) -> tuple[KnownImage, ...]:
    """Every image that images.json or a directory with its config tells of, by id."""
    directories = {readable(each.name): each for each in reader.children(driver.images_place, "d?") if _ID.fullmatch(each.name)}
    found = []
    for image_id in sorted({*driver.images, *directories}):
        directory = directories.get(image_id)
        record, place = driver.images.get(image_id, (None, directory))
        if place is None:
            continue
        if record is not None and _is_list(record):
            found.append(KnownImage(image_id, place, record, None, None, None))
            continue
        config, text = _config(reader, image_id, directory, place)
        layer = record.layer if record is not None else None
        if record is None:
            reader.gap("container image", f"{image_id} is not in images.json", place)
            if config is not None and config.diff_ids:
                layer = _top_of(config.diff_ids)
        found.append(KnownImage(image_id, place, record, config, text, layer))
    return tuple(found)


def storage_images(
    reader: StoreReader,
    engine: str,
    driver: str,
    images: Sequence[KnownImage],
    layers: Mapping[str, tuple[LayerRecord, Place]],
) -> tuple[ContainerImage, ...]:
    """The records of all images. layers: the records of this store and of additional ones."""
    return tuple(_record(reader, engine, driver, image, layers) for image in images)


def _record(
    reader: StoreReader, engine: str, driver: str, image: KnownImage, layers: Mapping[str, tuple[LayerRecord, Place]]
) -> ContainerImage:
    config, record = image.config, image.record
    chain = _chain(image.layer, layers)
    diff_ids = [layer.diff_digest for layer in reversed(chain) if layer.diff_digest is not None]
    copies = [_chain(top, layers) for top in record.mapped] if record is not None else []
    all_of_it = {layer.id: layer for each in (chain, *copies) for layer in each}
    sizes = [layer.diff_size for layer in all_of_it.values() if layer.diff_size is not None]
    complete = record is not None and len(sizes) == len(all_of_it) and (config is None or len(chain) >= len(config.diff_ids))
    created = record.created_ns if record is not None else None
    return ContainerImage(
        engine=engine,
        namespace=None,
        image_id=image.image_id,
        refs=_refs(record) if record is not None else (),
        created_ns=created or (config.created_ns if config is not None else None),
        size_bytes=sum(sizes) + sum(record.big_data.values()) if complete and record is not None else None,
        layers=config.diff_ids if config is not None and config.diff_ids else tuple(diff_ids),
        top=layer_key(driver, image.layer) if image.layer is not None else None,
        architecture=config.architecture if config is not None else None,
        os=config.os if config is not None else None,
        history=tuple(
            HistoryStep(step.created_ns, step.created_by, step.comment, step.author, step.empty_layer)
            for step in (config.history if config is not None else ())
        ),
        labels=config.labels if config is not None else {},
        config=image.text,
        source=reader.provenance(image.place),
    )


def _is_list(image: ImageRecord) -> bool:
    """Whether it is a list of manifests, which has neither a config nor layers."""
    return image.layer is None and bool(image.big_data) and f"sha256:{image.id}" not in image.big_data


def _top_of(diff_ids: Sequence[str]) -> str | None:
    """The id of the layer that is unpacked last."""
    layer = None
    for diff_id in diff_ids:
        layer = layer_id(layer, diff_id)
    return layer


def _refs(image: ImageRecord) -> tuple[str, ...]:
    """Its names, then what `podman inspect` calls RepoDigests: each name's repository with the digest of the manifest."""
    digests = []
    for name in image.names:
        if image.digest is not None and "@" not in name:
            directory, slash, last = name.rpartition("/")
            digests.append(f"{directory}{slash}{last.partition(':')[0]}@{image.digest}")
    return tuple(dict.fromkeys((*image.names, *digests)))


def _config(reader: StoreReader, image_id: str, directory: Place | None, told: Place) -> tuple[ImageConfig | None, str | None]:
    place = reader.child(directory, big_data_name(f"sha256:{image_id}")) if directory is not None else None
    if place is None:
        reader.gap("container image config", f"of {image_id} is missing", told)
        return None, None
    loaded = reader.load(place, "container image config", lambda data: (data, parse_image_config(data)), MAX_CONFIG)
    if loaded is None:
        return None, None
    data, config = loaded
    reader.tell("container image config", config.problems, place)
    if hashlib.sha256(data).hexdigest() != image_id:
        reader.gap("container image config", "altered: its SHA-256 is not its name", place)
    return config, data.decode("utf-8", "replace")


def _chain(top: str | None, layers: Mapping[str, tuple[LayerRecord, Place]]) -> list[LayerRecord]:
    """A layer and its parents, topmost first, as far as layers.json tells."""
    chain: list[LayerRecord] = []
    while top is not None and top in layers and len(chain) < MAX_LOWER:
        chain.append(layers[top][0])
        top = chain[-1].parent
    return chain
