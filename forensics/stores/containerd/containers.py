"""Containers of meta.db as records: their spec, and what the CRI plugin or nerdctl says of their state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from forensics.records import Container
from forensics.stores.containerd.cri import CONTAINER_NAME, metadata_of, metadata_text, pod_of, restarts_of, small_number
from forensics.stores.containerd.images import ImageIndex, StoredImage
from forensics.stores.containerd.layers import SnapshotLayer, SnapshotLayers
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.mounts import spec_mounts
from forensics.stores.containerd.nerdctl import Nerdctl
from forensics.stores.containerd.snapshotters import Snapshotter
from forensics.stores.containerd.tasks import Tasks
from forensics.stores.reading import Place, StoreReader
from parsers import nerdctl as label
from parsers.containerd_meta import Container as ContainerRecord
from parsers.containerd_meta import Sandbox
from parsers.cri import CriMetadata, CriStatus
from parsers.errors import FormatError
from parsers.oci_spec import OciSpec, parse_spec
from parsers.protobuf_any import ProtobufAny

SPEC = "runtime-spec/"
_HEX_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Context:
    """All that a container is joined with."""

    place: Place
    meta: MetaDb
    images: Mapping[tuple[str, str], StoredImage]
    layers: SnapshotLayers
    snapshotters: Mapping[str, Snapshotter]
    statuses: Mapping[str, CriStatus]
    tasks: Tasks
    nerdctl: Nerdctl

    @cached_property
    def index(self) -> ImageIndex:
        """The images by name, config and top layer."""
        return ImageIndex(self.images.values())


def container_records(reader: StoreReader, context: Context, namespaces: Collection[str]) -> tuple[Container, ...]:
    """The containers of some namespaces, and the sandboxes that have no container."""
    everyone = context.meta.containers
    mine = [at for at, each in enumerate(everyone) if each.namespace in namespaces]
    records = []
    for at in mine:
        records.append(container_record(reader, context, everyone[at]))
        everyone[at] = everyone[at]._replace(spec=None)  # it is in the record now: of tens of thousands, none is kept twice
    used = Counter(name for at in mine if (name := everyone[at].snapshotter) is not None)
    for name in sorted(used.keys() - context.snapshotters.keys()):
        reader.gap(
            "snapshotter", f"the snapshots of {name}, of which {used[name]} containers have one, are missing", context.place
        )
    known = {(each.namespace, each.container_id) for each in records}
    alone = {(each.namespace, each.id): each for each in context.meta.sandboxes if (each.namespace, each.id) not in known}
    records += [sandbox_record(reader, context, each) for each in alone.values() if each.namespace in namespaces]
    if not context.meta.whole:
        records += _without_record(reader, context, namespaces, {(each.namespace, each.container_id) for each in records})
    return tuple(sorted(records, key=lambda each: (each.namespace or "", each.container_id)))


def read_spec(reader: StoreReader, payload: ProtobufAny | None, container_id: str, place: Place, offset: int) -> OciSpec | None:
    """The OCI spec in a record; None where there is none, or where it is damaged."""
    if payload is None or SPEC not in payload.type_url:
        return None
    try:
        spec = parse_spec(payload.value)
    except FormatError as error:
        reader.gap("OCI spec", f"container {container_id}: {error}", place, offset)
        return None
    for problem in spec.problems:
        reader.gap("OCI spec", f"container {container_id}: {problem}", place, offset)
    return spec


def container_record(reader: StoreReader, context: Context, record: ContainerRecord) -> Container:
    """One container as its record tells of it, joined with all else."""
    place, labels = context.place, record.labels
    payload = record.spec or _bundled_spec(reader, context, record)
    spec = read_spec(reader, payload, record.id, place, record.offset)
    metadata = metadata_of(reader, record, place)
    status = context.statuses.get(record.id)
    own = context.layers.by_key.get((record.namespace, record.snapshotter or "", record.snapshot_key or ""))
    if own is None and record.snapshot_key is not None and record.snapshotter in context.snapshotters:
        reader.gap("snapshot", f"container {record.id}: its snapshot {record.snapshot_key} is missing", place, record.offset)
    lifecycle = context.nerdctl.lifecycle(record.namespace, record.id)
    log_path, log_driver = context.nerdctl.log(record.namespace, record.id)
    if metadata is not None and metadata.sandbox_id is not None and metadata.log_path is not None:
        log_path, log_driver = metadata.log_path, "cri"
    started = status.started_ns if status is not None else lifecycle.started_ns if lifecycle is not None else None
    exit_code = status.exit_code if status is not None and status.finished_ns is not None else None
    return Container(
        engine="containerd",
        namespace=record.namespace,
        container_id=record.id,
        name=_name(record, metadata, context),
        image=record.image,
        image_id=_image_id(context, record, metadata, own),
        state=status.state if status is not None else _state(context, record, metadata, own),
        created_ns=record.created_ns,
        started_ns=started,
        finished_ns=status.finished_ns if status is not None else None,
        exit_code=exit_code,
        pid=status.pid
        if status is not None and status.finished_ns is None
        else context.tasks.pids.get((record.namespace, record.id)),
        command=spec.args if spec is not None else None,
        env=spec.env if spec is not None else None,
        labels=labels,
        pod=pod_of(labels, metadata, spec),
        privileged=_privileged(spec, metadata),
        restart_count=small_number(labels.get(label.RESTART_COUNT, ""), restarts_of(metadata)),
        restart_policy=labels.get(label.RESTART_POLICY),
        error=_error(status.reason, status.message) if status is not None else None,
        oom_killed=status.reason == "OOMKilled" if status is not None and status.finished_ns is not None else None,
        hostname=(spec.hostname if spec is not None else None)
        or labels.get(label.HOSTNAME)
        or context.nerdctl.hostname(record.namespace, record.id),
        user=spec.user if spec is not None else None,
        working_dir=spec.cwd if spec is not None else None,
        log_path=log_path,
        log_driver=log_driver,
        layer=own.layer.key if own is not None else None,
        mounts=spec_mounts(spec, labels),
        config=payload.value.decode("utf-8", "replace") if payload is not None and spec is not None else None,
        hostconfig=metadata_text(record),
        source=context.meta.provenance(record.offset),
    )


def _bundled_spec(reader: StoreReader, context: Context, record: ContainerRecord) -> ProtobufAny | None:
    """The spec that its running task was given, for a record whose own is lost."""
    data = context.tasks.spec(reader, record.namespace, record.id)
    return ProtobufAny(SPEC, data) if data is not None else None


def sandbox_record(reader: StoreReader, context: Context, record: Sandbox) -> Container:
    """A sandbox whose controller is no container of containerd's."""
    spec = read_spec(reader, record.spec, record.id, context.place, record.offset)
    metadata = metadata_of(reader, record, context.place)
    return Container(
        engine="containerd",
        namespace=record.namespace,
        container_id=record.id,
        name=(metadata.short_name if metadata is not None else None) or record.labels.get("name"),
        created_ns=record.created_ns,
        labels={**(metadata.labels if metadata is not None else {}), **record.labels},
        pod=pod_of(record.labels, metadata, spec),
        privileged=spec.privileged if spec is not None else None,
        mounts=spec_mounts(spec, record.labels),
        config=record.spec.value.decode("utf-8", "replace") if record.spec is not None and spec is not None else None,
        hostconfig=metadata_text(record),
        source=context.meta.provenance(record.offset),
    )


def _without_record(
    reader: StoreReader, context: Context, namespaces: Collection[str], known: Collection[tuple[str | None, str]]
) -> list[Container]:
    """Containers whose records are lost with a part of meta.db: their snapshots bear their ids."""
    found = []
    for (namespace, _, key), own in sorted(context.layers.by_key.items()):
        if namespace not in namespaces or own.layer.kind != "container" or (namespace, key) in known:
            continue
        status = context.statuses.get(key)
        reader.gap("container", f"{key}: its record in meta.db is lost; only its layer is known", context.place)
        found.append(
            Container(
                engine="containerd",
                namespace=namespace,
                container_id=key,
                name=context.nerdctl.name(namespace, key) or (key if not _HEX_ID.fullmatch(key) else None),
                state=status.state if status is not None else None,
                created_ns=own.stored.created_ns if own.stored is not None else None,
                started_ns=status.started_ns if status is not None else None,
                finished_ns=status.finished_ns if status is not None else None,
                exit_code=status.exit_code if status is not None and status.finished_ns is not None else None,
                layer=own.layer.key,
                source=own.layer.source,
            )
        )
    return found


def _name(record: ContainerRecord, metadata: CriMetadata | None, context: Context) -> str | None:
    """What its engine's own command calls it: crictl, nerdctl, and for ctr, which knows no names, its id."""
    told = record.labels.get(CONTAINER_NAME) or record.labels.get(label.NAME)
    told = told or (metadata.short_name if metadata is not None else None) or context.nerdctl.name(record.namespace, record.id)
    return told or (record.id if not _HEX_ID.fullmatch(record.id) else None)


def _image_id(context: Context, record: ContainerRecord, metadata: CriMetadata | None, own: SnapshotLayer | None) -> str | None:
    """The image by its config's digest, else by its layers; a name may have moved to another image since."""
    ref = metadata.image_ref if metadata is not None else None
    by_config = context.index.by_config.get((record.namespace, ref or ""), [])
    if by_config:
        return by_config[0]
    named = context.index.by_name.get((record.namespace, record.image or ""), [])
    base = own.layer.parent if own is not None else None
    for image in named:
        if base is None or not image.chain or image.chain[-1] == base:
            return image.digest
    fitting = context.index.by_top.get((record.namespace, base or ""), [])
    return fitting[0] if len(fitting) == 1 else ref


def _state(context: Context, record: ContainerRecord, metadata: CriMetadata | None, own: SnapshotLayer | None) -> str | None:
    """What is known without a status: a task was there, or the container's layer was never mounted, so that it never ran.

    containerd removes the task's directory with the task; Docker and the CRI plugin do so as soon as the process has ended.
    """
    if (record.namespace, record.id) in context.tasks.bundles:
        return "running"
    if metadata is not None and metadata.sandbox_id is None:
        return "exited"  # a sandbox is made by starting it
    if own is None or own.stored is None or own.stored.parent is None or own.stored.kind != "active":
        return None
    snapshotter = context.snapshotters[own.snapshotter]
    directory = snapshotter.directories.get(str(own.stored.id))
    if not snapshotter.stacked or directory is None:
        return None
    fs = directory.place.fs
    try:
        work = fs.find(directory.place.inode, b"work")
        never = work is not None and not fs.entries(work)  # the kernel makes work/work at the first mount
    except FormatError:
        return None  # told where the filesystem's problems are
    return "created" if never else None


def _privileged(spec: OciSpec | None, metadata: CriMetadata | None) -> bool | None:
    if metadata is not None and metadata.privileged is not None:
        return metadata.privileged
    return spec.privileged if spec is not None else None


def _error(reason: str | None, message: str | None) -> str | None:
    if message is None and reason in (None, "Completed", "Error"):
        return None
    return ": ".join(text for text in (reason, message) if text)
