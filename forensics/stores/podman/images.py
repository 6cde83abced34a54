"""The container images of one driver: images.json and the big data beside it, which hold the config and its manifests.

<driver>-images/<image id>/<name of big data>      the config is the big data whose key is its digest, `sha256:<image id>`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from forensics.records import ContainerImage, HistoryStep
from forensics.stores.podman.layers import layer_key
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader
from parsers.container_storage import ImageRecord, LayerRecord, big_data_name
from parsers.docker_image import ImageConfig, parse_image_config
from parsers.docker_layer import MAX_LOWER

MAX_CONFIG = 8 << 20


def storage_images(
    reader: StoreReader, engine: str, driver: StoredDriver, layers: Mapping[str, tuple[LayerRecord, Place]]
) -> tuple[ContainerImage, ...]:
    """Every image that images.json tells of. layers: the records of this store and of additional ones."""
    return tuple(_record(reader, engine, driver, layers, *driver.images[name]) for name in sorted(driver.images))


def _record(
    reader: StoreReader,
    engine: str,
    driver: StoredDriver,
    layers: Mapping[str, tuple[LayerRecord, Place]],
    image: ImageRecord,
    told: Place,
) -> ContainerImage:
    config, text = _config(reader, driver, image, told)
    chain = _chain(image.layer, layers)
    diff_ids = [layer.diff_digest for layer in reversed(chain) if layer.diff_digest is not None]
    sizes = [layer.diff_size for layer in chain if layer.diff_size is not None]
    complete = len(sizes) == len(chain) and (config is None or len(chain) >= len(config.diff_ids))
    return ContainerImage(
        engine=engine,
        namespace=None,
        image_id=image.id,
        refs=_refs(image),
        created_ns=image.created_ns or (config.created_ns if config is not None else None),
        size_bytes=sum(sizes) + sum(image.big_data.values()) if complete else None,
        layers=config.diff_ids if config is not None and config.diff_ids else tuple(diff_ids),
        top=layer_key(driver.name, image.layer) if image.layer is not None else None,
        architecture=config.architecture if config is not None else None,
        os=config.os if config is not None else None,
        history=tuple(
            HistoryStep(step.created_ns, step.created_by, step.comment, step.author, step.empty_layer)
            for step in (config.history if config is not None else ())
        ),
        labels=config.labels if config is not None else {},
        config=text,
        source=reader.provenance(told),
    )


def _refs(image: ImageRecord) -> tuple[str, ...]:
    """Its names, then what `podman inspect` calls RepoDigests: each name's repository with the digest of the manifest."""
    digests = []
    for name in image.names:
        if image.digest is not None and "@" not in name:
            directory, slash, last = name.rpartition("/")
            digests.append(f"{directory}{slash}{last.partition(':')[0]}@{image.digest}")
    return tuple(dict.fromkeys((*image.names, *digests)))


def _config(reader: StoreReader, driver: StoredDriver, image: ImageRecord, told: Place) -> tuple[ImageConfig | None, str | None]:
    key = f"sha256:{image.id}"
    directory = reader.child(driver.images_place, image.id.encode()) if driver.images_place is not None else None
    place = reader.child(directory, big_data_name(key)) if directory is not None else None
    if place is None:
        reader.gap("container image config", f"of {image.id} is missing", told)
        return None, None
    loaded = reader.load(place, "container image config", lambda data: (data, parse_image_config(data)), MAX_CONFIG)
    if loaded is None:
        return None, None
    data, config = loaded
    reader.tell("container image config", config.problems, place)
    if hashlib.sha256(data).hexdigest() != image.id:
        reader.gap("container image config", "altered: its SHA-256 is not its name", place)
    return config, data.decode("utf-8", "replace")


def _chain(top: str | None, layers: Mapping[str, tuple[LayerRecord, Place]]) -> list[LayerRecord]:
    """A layer and its parents, topmost first, as far as layers.json tells."""
    chain: list[LayerRecord] = []
    while top is not None and top in layers and len(chain) < MAX_LOWER:
        chain.append(layers[top][0])
        top = chain[-1].parent
    return chain
