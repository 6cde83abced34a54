"""What stores say, as rows of the tables of the case file: the columns of each, and what a record gives for them, in their order.

A store may have tens of thousands of them, so that a row is a tuple, made without a name for each of its values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from forensics.case.shown_ids import shift_of
from forensics.layers import NumberedLayer
from forensics.records import (
    Artefact,
    BuildRecord,
    Container,
    ContainerImage,
    Layer,
    Mount,
    Network,
    Provenance,
    RecordSource,
    Volume,
)
from parsers.id_map import as_text

Row = tuple[Any, ...]
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False)

_PROVENANCE = tuple(each.name for each in fields(Provenance))
_SOURCE = tuple(f"source_{name}" for name in _PROVENANCE)
_NO_SOURCE: Row = (None,) * len(_SOURCE)


def _same(*names: str) -> Callable[[Any], Row]:
    """What gives the fields of these names, which the columns are called by, too."""
    return attrgetter(*names)


_LAYER = (
    "key", "name", "kind", "path", "partition", "directory", "diff_id", "chain_id", "parent", "size_bytes", "stacked", "marks",
    "origin",
)  # fmt: skip
LAYER_COLUMNS = ("id", "store_id", *_LAYER, "lower_id", "first_entry", "entries", "owners", *_SOURCE)
"""Of the table `layer`, in the order of `layer_row`; and so on."""
_of_layer = _same(*_LAYER)

_IMAGE = (
    "engine", "namespace", "image_id", "created_ns", "updated_ns", "size_bytes", "architecture", "os", "parent_image", "config",
    "origin", "confidence",
)  # fmt: skip
IMAGE_COLUMNS = ("id", "store_id", *_IMAGE, "sources", "refs", "layers", "top", "labels", "history", *_SOURCE)
_of_image = _same(*_IMAGE)

_CONTAINER = (
    "engine", "namespace", "container_id", "name", "image", "image_id", "state", "created_ns", "started_ns", "finished_ns",
    "removed_ns", "exit_code", "pid", "pod", "privileged", "restart_count", "restart_policy", "error", "oom_killed", "hostname",
    "user", "working_dir", "log_path", "log_driver", "config", "hostconfig", "origin", "confidence",
)  # fmt: skip
CONTAINER_COLUMNS = (
    "id", "store_id", *_CONTAINER, "command", "env", "labels", "layer_id", "rootfs", "compared", "id_map", "shift", "sources",
    *_SOURCE,
)  # fmt: skip
_of_container = _same(*_CONTAINER)

_MOUNT = tuple(each.name for each in fields(Mount))
MOUNT_COLUMNS = ("id", "container", *_MOUNT)
_of_mount = _same(*_MOUNT)

_VOLUME = ("engine", "name", "driver", "path", "created_ns", "origin")
VOLUME_COLUMNS = ("id", "store_id", *_VOLUME, "used_by", "labels", "options", *_SOURCE)
_of_volume = _same(*_VOLUME)

_NETWORK = ("engine", "name", "network_id", "driver", "created_ns", "origin")
NETWORK_COLUMNS = ("id", "store_id", *_NETWORK, "subnets", "endpoints", "labels", *_SOURCE)
_of_network = _same(*_NETWORK)

_ARTEFACT = ("engine", "kind", "name", "namespace", "path", "time_ns", "origin")
ARTEFACT_COLUMNS = ("id", "store_id", *_ARTEFACT, "details", *_SOURCE)
_of_artefact = _same(*_ARTEFACT)

_BUILD = (
    "engine", "record_id", "kind", "description", "created_ns", "last_used_ns", "completed_ns", "parent", "snapshot",
    "size_bytes", "usage_count", "mutable", "shared", "origin",
)  # fmt: skip
BUILD_COLUMNS = ("id", "store_id", *_BUILD, "layer_id", "details", *_SOURCE)
_of_build = _same(*_BUILD)

_of_source = _same(*_PROVENANCE)


def layer_row(store_id: int, numbered: NumberedLayer, first_entry: int | None, entries: int) -> Row:
    """A layer. first_entry: None where its directory could not be read."""
    layer: Layer = numbered.layer
    owners = None if layer.owners is None else as_text(layer.owners)
    return (numbered.number, store_id, *_of_layer(layer), numbered.lower, first_entry, entries, owners, *_source(layer.source))


def image_row(number: int, store_id: int, image: ContainerImage, top: int | None) -> Row:
    """A container image. top: the number of its top layer."""
    return (
        number, store_id, *_of_image(image), _sources(image.sources), as_json(image.refs), as_json(image.layers), top,
        as_json(dict(image.labels)), as_json([asdict(step) for step in image.history]), *_source(image.source),
    )  # fmt: skip


def container_row(number: int, store_id: int, container: Container, layer: int | None, rootfs: str, compared: bool) -> Row:
    """A container. layer: the number of its own layer. compared: its changes are known."""
    ids = None if container.ids is None else as_text(container.ids)
    return (
        number, store_id, *_of_container(container), _list(container.command), _list(container.env), _map(container.labels),
        layer, rootfs, int(compared), ids, shift_of(container.shown_ids), _sources(container.sources), *_source(container.source),
    )  # fmt: skip


def mount_row(number: int, container: int, mount: Mount) -> Row:
    """A mount of a container."""
    return (number, container, *_of_mount(mount))


def volume_row(number: int, store_id: int, volume: Volume) -> Row:
    """A volume."""
    return (
        number, store_id, *_of_volume(volume), as_json(volume.used_by), _map(volume.labels), _map(volume.options),
        *_source(volume.source),
    )  # fmt: skip


def network_row(number: int, store_id: int, network: Network) -> Row:
    """A container network."""
    return (
        number, store_id, *_of_network(network), as_json(network.subnets),
        as_json([asdict(endpoint) for endpoint in network.endpoints]), _map(network.labels), *_source(network.source),
    )  # fmt: skip


def artefact_row(number: int, store_id: int, artefact: Artefact) -> Row:
    """Something of a store that has no table of its own."""
    return (number, store_id, *_of_artefact(artefact), _map(artefact.details), *_source(artefact.source))


def build_row(number: int, store_id: int, build: BuildRecord, layer: int | None) -> Row:
    """A build or a record of the build cache. layer: the number of the one with its files."""
    return (number, store_id, *_of_build(build), layer, _map(build.details), *_source(build.source))


def as_json(value: object) -> str:
    """Text that stands in a column; a tuple is an array."""
    return _ENCODER.encode(value)


def _list(values: Sequence[str] | None) -> str | None:
    return None if values is None else as_json(values)


def _map(values: Mapping[str, str] | None) -> str | None:
    if not values:
        return None if values is None else "{}"  # as nearly all
    return as_json(dict(values))


def _sources(sources: Sequence[RecordSource]) -> str | None:
    """Every source of a recovered record, the one that counts most first; None for an allocated one."""
    if not sources:
        return None
    told = [
        {**asdict(each.where), "confidence": each.confidence, "gives": list(each.gives), "differs": dict(each.differs)}
        for each in sources
    ]
    return as_json(told)


def _source(source: Provenance | None) -> Row:
    return _NO_SOURCE if source is None else _of_source(source)
