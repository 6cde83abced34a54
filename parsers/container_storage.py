"""containers/storage: layers.json, images.json, containers.json and their volatile twins, the lock files, names of big data.

Source of the fields: containers/storage v1.20 to v1.60: layers.go, images.go, containers.go, lockfile.go (lastWrite), utils.go
(makeBigDataBaseName). The documents are arrays, written anew at every change; of a damaged one every whole record is read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from construct import Bytes, Int32ul, Int64ul, Struct

from parsers.errors import FormatError
from parsers.id_map import IDS, MAX_RANGES, IdMaps, IdRange
from parsers.json_fields import Fields, parse_array, parse_object
from parsers.layout import Layout

LOCK = Struct("written" / Int64ul, "counter" / Int64ul, "pid" / Int32ul, "random" / Bytes(44))
MAX_RECORDS = 1_000_000

_LOCK = Layout(LOCK)
_ID = re.compile(r"[0-9a-f]{64}")
_OLD_LOCK = re.compile(rb"[0-9a-f]{64}")
_STEP = re.compile(r'[,\[]\s*\{"id":"[0-9a-f]{64}"')
_PLAIN = re.compile(r"[0-9a-z.]+")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One of layers.json. diff_digest: of the uncompressed archive it was unpacked from. incomplete: that never ended.

    ids: the user namespace whose owners its files have, None for the store's own.
    """

    id: str
    names: tuple[str, ...]
    parent: str | None
    created_ns: int | None
    diff_digest: str | None
    diff_size: int | None
    incomplete: bool
    ids: IdMaps | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One of images.json. layer: the top one. big_data: the sizes of what lies beside it, by key.

    mapped: copies of the top layer whose owners are those of user namespaces.
    """

    id: str
    digest: str | None
    names: tuple[str, ...]
    layer: str | None
    created_ns: int | None
    big_data: dict[str, int]
    mapped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerMetadata:
    """The JSON text in a container's `metadata`: libpod's and CRI-O's, internal storage's RuntimeContainerMetadata.

    The fields from pod_name on are CRI-O's alone. created: seconds since 1970.
    """

    image_name: str | None
    image_id: str | None
    name: str | None
    created: int | None
    pod_name: str | None
    pod_id: str | None
    metadata_name: str | None
    uid: str | None
    namespace: str | None
    attempt: int | None
    pod: bool | None
    privileged: bool | None


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One of containers.json. image: its id. metadata: None where it is no JSON. ids: its user namespace, None without one."""

    id: str
    names: tuple[str, ...]
    image: str | None
    layer: str | None
    created_ns: int | None
    metadata: ContainerMetadata | None
    ids: IdMaps | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: when which process last wrote what it guards. counter: the how many-th write of that process."""

    written_ns: int
    counter: int
    pid: int


def parse_layers(data: bytes, source: str = "") -> tuple[tuple[LayerRecord, ...], tuple[str, ...]]:
    """The records and what of them could not be read. Raises FormatError where the document is no array."""
    return _records(data, source, _layer)


def parse_images(data: bytes, source: str = "") -> tuple[tuple[ImageRecord, ...], tuple[str, ...]]:
    """As parse_layers."""
    return _records(data, source, _image)


def parse_containers(data: bytes, source: str = "") -> tuple[tuple[ContainerRecord, ...], tuple[str, ...]]:
    """As parse_layers."""
    return _records(data, source, _container)


def parse_lock(data: bytes, source: str = "") -> Lock | None:
    """A lock file; None for one that tells no time: never written, or of before v1.44, 64 random hex digits."""
    if not data.strip(b"\0") or _OLD_LOCK.fullmatch(data):
        return None
    if len(data) != LOCK.sizeof():
        raise FormatError(f"a lock file of {len(data)} bytes", source, 0)
    written, counter, pid, _ = _LOCK.unpack(data)
    return Lock(written, counter, pid)


def big_data_name(key: str) -> bytes:
    """The name of the file that holds big data: the key itself, or `=` and its base64 where it is not just 0-9, a-z and dots."""
    return key.encode() if _PLAIN.fullmatch(key) else b"=" + base64.b64encode(key.encode())


def layer_id(parent: str | None, diff_id: str) -> str:
    """The id that a pulled or committed layer gets: the hex of its diff id, or of SHA-256 of `parent+diff id` above a parent."""
    digest = diff_id.removeprefix("sha256:")
    return digest if parent is None else hashlib.sha256(f"{parent}+{digest}".encode()).hexdigest()


def _records(data: bytes, source: str, make: Callable[[Fields], _T | None]) -> tuple[tuple[_T, ...], tuple[str, ...]]:
    items, problems = parse_array(data, source, restart=_STEP)
    found = []
    for item in items[:MAX_RECORDS]:
        record = make(item)
        if record is not None:
            found.append(record)
    return tuple(found), tuple(problems)


def _id(fields: Fields, name: str) -> str | None:
    text = fields.text(name)
    if text and not _ID.fullmatch(text):
        fields.problem(f"{name}: {text[:80]!r} is no id")
        return None
    return text or None


def _layer(fields: Fields) -> LayerRecord | None:
    own = _id(fields, "id")
    if own is None:
        return None
    return LayerRecord(
        id=own,
        names=fields.texts("names") or (),
        parent=_id(fields, "parent"),
        created_ns=fields.time("created"),
        diff_digest=fields.text("diff-digest") or None,
        diff_size=fields.integer("diff-size"),
        incomplete=bool(fields.fields("flags").flag("incomplete")),
        ids=_ids(fields),
    )


def _image(fields: Fields) -> ImageRecord | None:
    own = _id(fields, "id")
    if own is None:
        return None
    sizes = fields.fields("big-data-sizes")
    known = {name: sizes.integer(name) for name in sizes.names()}
    known.update((name, None) for name in fields.texts("big-data-names") or () if name not in known)
    return ImageRecord(
        id=own,
        digest=fields.text("digest") or None,
        names=fields.texts("names") or (),
        layer=_id(fields, "layer"),
        created_ns=fields.time("created"),
        big_data={name: size or 0 for name, size in known.items()},
        mapped=tuple(name for name in fields.texts("mapped-layers") or () if _ID.fullmatch(name)),
    )


def _container(fields: Fields) -> ContainerRecord | None:
    own = _id(fields, "id")
    if own is None:
        return None
    return ContainerRecord(
        id=own,
        names=fields.texts("names") or (),
        image=_id(fields, "image"),
        layer=_id(fields, "layer"),
        created_ns=fields.time("created"),
        metadata=_metadata(fields),
        ids=_ids(fields),
    )


def _ids(fields: Fields) -> IdMaps | None:
    maps = IdMaps(_ranges(fields.items("uidmap")), _ranges(fields.items("gidmap")))
    return maps if maps.uids or maps.gids else None


def _metadata(fields: Fields) -> ContainerMetadata | None:
    text = fields.text("metadata")
    if not text:
        return None
    try:
        top = parse_object(text.encode("utf-8", "replace"))
    except FormatError as error:
        fields.problem(f"metadata: {error.what}")
        return None
    return ContainerMetadata(
        image_name=top.text("image-name") or None,
        image_id=top.text("image-id") or None,
        name=top.text("name") or None,
        created=top.integer("created-at"),
        pod_name=top.text("pod-name") or None,
        pod_id=top.text("pod-id") or None,
        metadata_name=top.text("metadata-name") or None,
        uid=top.text("uid") or None,
        namespace=top.text("namespace") or None,
        attempt=top.integer("attempt"),
        pod=top.flag("pod"),
        privileged=top.flag("privileged"),
    )


def _ranges(items: Iterable[Fields]) -> tuple[IdRange, ...]:
    """A `uidmap` or `gidmap` of containers/storage. What cannot be a range is told among the document's problems."""
    found: list[IdRange] = []
    for item in items:
        inside, outside, count = item.integer("container_id"), item.integer("host_id"), item.integer("size")
        if (
            inside is None
            or outside is None
            or count is None
            or min(inside, outside) < 0
            or count < 1
            or max(inside, outside) + count > IDS
        ):
            item.problem(f"no range of ids: {inside}, {outside}, {count}")
        elif len(found) < MAX_RANGES:
            found.append(IdRange(inside, outside, count))
    return tuple(found)
