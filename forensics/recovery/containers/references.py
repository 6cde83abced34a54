"""Removed containers that others' records refer to: images that were committed from them, containers that shared with them.

An image that was committed on this host has the id of the image below it in imagedb/metadata/<id>/parent; one that was pulled
has none, and its `container` was another host's (moby v1.10 to v24, daemon/commit.go, image/store.go; `docker load` of
several images at once sets it, too).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from forensics.records import Container, ContainerImage, Provenance, StoreContents
from forensics.recovery.clues import ENVIRONMENT, POSSIBLE, Clue
from parsers.docker_image import parse_build_container
from parsers.errors import FormatError
from parsers.json_fields import parse_object

KIND = "record"
SANDBOX = "io.kubernetes.sandbox.id"
COMPOSE_REPLACES = "com.docker.compose.replace"
MODES = ("NetworkMode", "IpcMode", "PidMode")
POD_NAME, POD_NAMESPACE = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"

_ID = re.compile(r"[0-9a-f]{64}")
_SHARED = re.compile(r"container:([0-9a-f]{64})")


def reference_clues(contents: StoreContents) -> Iterator[Clue[Container]]:
    """A clue to each container that the records of a store refer to; most are there still, and their clues are for nothing."""
    for image in contents.images:
        yield from _committed(image, contents.store.key)
    for container in contents.containers:
        yield from _by_labels(container, container.labels or {}, contents.store.key)
        yield from _by_modes(container, contents.store.key)


def _committed(image: ContainerImage, key: str) -> Iterator[Clue[Container]]:
    if image.engine != "docker" or image.parent_image is None or image.config is None:
        return
    try:
        own = parse_build_container(image.config.encode("utf-8", "surrogateescape"))
    except FormatError:  # told when the image was read
        return
    if own is None or not _ID.fullmatch(own.id):
        return
    made = Container(
        engine="docker",
        namespace=None,
        container_id=own.id,
        name=None,
        image=own.image,
        image_id=image.parent_image,
        command=own.command,
        env=own.env,
        labels=own.labels,
        hostname=own.hostname,
        user=own.user,
        working_dir=own.working_dir,
        source=_told(image.source, f"record of {(image.refs or (image.image_id,))[0]}, which was committed from it"),
    )
    yield Clue(made, POSSIBLE, KIND, key, ENVIRONMENT)


def _by_labels(container: Container, labels: Mapping[str, str], key: str) -> Iterator[Clue[Container]]:
    called = container.name or container.container_id[:12]
    pod = f"{labels[POD_NAMESPACE]}/{labels[POD_NAME]}" if labels.get(POD_NAME) and labels.get(POD_NAMESPACE) else None
    if _ID.fullmatch(labels.get(SANDBOX, "")):
        yield _clue(container, labels[SANDBOX], f"label {SANDBOX} of {called}", key, pod)
    if _ID.fullmatch(labels.get(COMPOSE_REPLACES, "")):
        yield _clue(container, labels[COMPOSE_REPLACES], f"label {COMPOSE_REPLACES} of {called}, which replaced it", key)


def _by_modes(container: Container, key: str) -> Iterator[Clue[Container]]:
    """Containers whose namespaces it shared, by Docker's hostconfig.json."""
    if container.hostconfig is None:
        return
    try:
        config = parse_object(container.hostconfig.encode("utf-8", "surrogateescape"))
    except FormatError:
        return
    shared = {match[1]: mode for mode in MODES if (match := _SHARED.fullmatch(config.text(mode) or "")) is not None}
    for own, mode in sorted(shared.items()):
        yield _clue(container, own, f"{mode} of {container.name or container.container_id[:12]}", key)


def _clue(container: Container, own: str, how: str, key: str, pod: str | None = None) -> Clue[Container]:
    made = Container(container.engine, container.namespace, own, None, pod=pod, source=_told(container.source, how))
    return Clue(made, POSSIBLE, KIND, key)


def _told(source: Provenance | None, how: str) -> Provenance | None:
    return Provenance(source.partition, source.path, source.inode, source.offset, how) if source is not None else None
