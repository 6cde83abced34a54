"""Old keys of containerd's meta.db, put together to the records that they were parts of.

A record is a bucket, and its keys may stand in more than one old page. Keys whose buckets are known are put together by them,
as long as no two pages contradict each other; else each page gives a record of its own. Of a page whose bucket is not known, the
OCI spec, the CRI plugin's metadata or the key of the snapshot in it may tell whose record it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from forensics.recovery.containers.spec_identity import KUBERNETES, identity_of
from parsers.bbolt_free import Deleted
from parsers.bbolt_tree import Key
from parsers.containerd_meta import ROOT, Container, Record, Sandbox, parse_records
from parsers.containerd_records import Path
from parsers.cri import parse_metadata
from parsers.errors import FormatError
from parsers.oci_spec import parse_spec
from parsers.protobuf_any import ProtobufAny, parse_any

MOBY = "moby"
BUNDLE = b"com.docker/engine.bundle.path"
KINDS = {b"images": 4, b"containers": 4, b"leases": 4, b"sandboxes": 4, b"snapshots": 5}
"""Below a namespace: what is looked for, and how many names lead to one record."""

SCHEMA = frozenset(("containers", "content", "blob", "ingests", "images", "labels", "leases", "sandboxes", "snapshots", "v1"))
"""Names of containerd's own buckets."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")  # containerd v1.6 to v2.2, identifiers/validate.go
_MAX_IDENTIFIER = 76
_CRI_EXTENSION = re.compile(rb"io\.cri-containerd\.(?:container|sandbox)\.metadata|metadata")
_WHOLE_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class OldRecord:
    """A record, how it was found, and whether its bucket is inferred: told by its own content only."""

    record: Record
    how: str
    inferred: bool


def old_records(deleted: Iterable[Deleted]) -> Iterator[OldRecord]:
    """Every record that old keys tell of. Values that are not whole are left out."""
    known: dict[Path, list[Deleted]] = {}
    loose: dict[int, list[Deleted]] = {}
    for each in deleted:
        if each.missing:
            continue
        if each.basis == "page":
            loose.setdefault(each.key.page, []).append(each)
        elif (path := _record_path(each.key)) is not None:
            known.setdefault(path, []).append(each)
    for path in sorted(known):
        for version in _versions(known.pop(path)):  # what was put together is large, and not needed any more
            yield from _parsed(version, inferred=False)
    for number in sorted(loose):
        placed = _placed(loose.pop(number))
        if placed is not None:
            yield from _parsed(placed, inferred=True)


def _record_path(key: Key) -> Path | None:
    """The path of the record that a key is part of, its own bucket included."""
    path = (*key.bucket, key.key) if key.value is None else key.bucket
    kind = 2 if path[:1] == (ROOT,) else 1
    depth = KINDS.get(path[kind], 0) - (2 - kind) if len(path) > kind else 0
    return path[:depth] if depth and len(path) >= depth else None


def _versions(found: Sequence[Deleted]) -> Iterator[list[Deleted]]:
    """All keys as one version where no two of them disagree, else those of each page and state."""
    values: dict[tuple[Path, bytes], set[bytes]] = {}
    for each in found:
        if each.key.value is not None:
            values.setdefault((each.key.bucket, each.key.key), set()).add(each.key.value)
    if all(len(different) == 1 for different in values.values()):
        yield list(found)
        return
    parts: dict[tuple[str, int], list[Deleted]] = {}
    for each in found:
        parts.setdefault((each.state, each.key.page), []).append(each)
    yield from parts.values()


def _parsed(version: Sequence[Deleted], inferred: bool) -> Iterator[OldRecord]:
    """The records in some keys; a key that stands in two pages counts once."""
    keys: dict[tuple[Path, bytes], Key] = {}
    for each in version:
        keys.setdefault((each.key.bucket, each.key.key), each.key)
    states = {each.state for each in version}
    how = "previous tree" if states == {"previous"} else "carved page" if states == {"carved"} else "stale page"
    in_order = sorted(keys.values(), key=lambda key: ((*key.bucket, key.key), key.value is not None))
    for record in parse_records(in_order):
        if not isinstance(record, Container | Sandbox) or _is_a_container(record):
            yield OldRecord(record, how, inferred)


def _is_a_container(record: Container | Sandbox) -> bool:
    """Whether a record has what a container's has, or at least a name that may be one's.

    An old page of containers may point to a page that is of other buckets by now: their names are no ids.
    """
    if not _IDENTIFIER.fullmatch(record.id) or len(record.id) > _MAX_IDENTIFIER:
        return False
    own = isinstance(record, Sandbox) or record.image or record.snapshot_key or record.runtime
    return bool(own or record.spec is not None or record.extensions or record.id not in SCHEMA)


def _placed(page: Sequence[Deleted]) -> list[Deleted] | None:
    """The keys of a page with an unknown bucket, put below the container that its content tells of; None where none does."""
    values = {each.key.key: each.key.value for each in page if each.key.bucket == () and each.key.value is not None}
    inside = {each.key.key: each.key.value for each in page if each.key.bucket and each.key.value is not None}
    names = _by_spec(values) or _by_metadata({**inside, **values}) or _by_snapshot(values, inside)
    if names is None:
        return None
    path: Path = (ROOT, names[0].encode(), b"containers", names[1].encode())
    if not {b"spec", b"snapshotKey"} & values.keys():
        path = (*path, b"extensions") if all(_CRI_EXTENSION.fullmatch(key) for key in values) and values else path
    return [replace(each, key=each.key._replace(bucket=(*path, *each.key.bucket))) for each in page]


def _by_spec(values: dict[bytes, bytes]) -> tuple[str, str] | None:
    payload = _any(values.get(b"spec"))
    if payload is None or "runtime-spec/" not in payload.type_url:
        return None
    try:
        own = identity_of(parse_spec(payload.value))
    except FormatError:  # then it tells nothing
        return None
    return ((MOBY if own.engine == "docker" else own.namespace) or "", own.id) if own is not None else None


def _by_metadata(values: dict[bytes, bytes]) -> tuple[str, str] | None:
    for key, value in sorted(values.items()):
        payload = _any(value) if _CRI_EXTENSION.fullmatch(key) else None
        try:
            metadata = parse_metadata(payload.value) if payload is not None else None
        except FormatError:  # then it tells nothing
            continue
        if metadata is not None and metadata.id is not None and _WHOLE_ID.fullmatch(metadata.id.encode("utf-8", "replace")):
            return KUBERNETES, metadata.id
    return None


def _by_snapshot(values: dict[bytes, bytes], inside: dict[bytes, bytes]) -> tuple[str, str] | None:
    """The first half of a container's record: it names its snapshot, Docker's its bundle."""
    if not {b"createdat", b"image"} <= values.keys():
        return None
    bundle = inside.get(BUNDLE, b"").rpartition(b"/")[2]
    if _WHOLE_ID.fullmatch(bundle):
        return MOBY, bundle.decode()
    own = values.get(b"snapshotKey", b"")
    if _WHOLE_ID.fullmatch(own) and any(name.startswith(b"io.kubernetes.") for name in inside):
        return KUBERNETES, own.decode()
    return None


def _any(value: bytes | None) -> ProtobufAny | None:
    try:
        return parse_any(value) if value else None
    except FormatError:  # then it is something else
        return None
