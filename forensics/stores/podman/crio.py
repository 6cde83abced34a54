"""CRI-O's containers: its metadata in containers.json, its annotations in the OCI spec, state.json. It has no database."""

from __future__ import annotations

from forensics.records import Container, Mount
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.userdata import Userdata
from forensics.stores.reading import StoreReader
from parsers.container_storage import ContainerMetadata, ContainerRecord
from parsers.crio import CrioAnnotations, CrioState, parse_annotations
from parsers.oci_spec import OciSpec

POD_NAMESPACE, POD_NAME = "io.kubernetes.pod.namespace", "io.kubernetes.pod.name"
EXITED = "exited"
STATES = {"stopped": EXITED, "creating": "created"}


def is_crio(known: KnownContainer) -> bool:
    """Whether CRI-O made a container."""
    if known.record is not None and known.record.metadata is not None and known.record.metadata.pod_id is not None:
        return True
    return known.data.spec is not None and parse_annotations(known.data.spec.annotations) is not None


def crio_container(reader: StoreReader, known: KnownContainer) -> Container:
    """The record of a container or a sandbox."""
    record, spec, state = known.record, known.data.spec, known.data.state
    metadata = record.metadata if record is not None else None
    told = parse_annotations(spec.annotations) if spec is not None else None
    if told is not None:
        reader.tell("OCI spec", [f"{known.container_id}: {problem}" for problem in told.problems], known.place)
    labels = told.labels if told is not None else None
    # A sandbox has such a flag where a container of its pod may be privileged; its own process is what its spec says.
    is_sandbox = told is not None and told.type == "sandbox"
    privileged = metadata.privileged if metadata is not None and not is_sandbox else None
    created = state.created_ns if state is not None else None
    ended, code, finished = _end(known.data)
    return Container(
        engine="crio",
        namespace=None,
        container_id=known.container_id,
        name=(told.name if told is not None else None) or _name(record),
        image=(told.image if told is not None else None) or (metadata.image_name if metadata is not None else None),
        image_id=(record.image if record is not None else None) or (metadata.image_id if metadata is not None else None),
        state=EXITED if ended else _state(state),
        created_ns=created or (record.created_ns if record is not None else None),
        started_ns=state.started_ns if state is not None else None,
        finished_ns=finished,
        exit_code=code,
        pid=state.pid if state is not None else None,
        command=spec.args if spec is not None else None,
        env=spec.env if spec is not None else None,
        labels=labels,
        pod=_pod(metadata, labels or {}),
        privileged=privileged if privileged is not None else spec.privileged if spec is not None else None,
        restart_count=metadata.attempt or 0 if metadata is not None else None,  # left out where it is zero
        error=state.error if state is not None else None,
        oom_killed=state.oom_killed if state is not None else None,
        hostname=(spec.hostname if spec is not None else None) or (told.hostname if told is not None else None),
        user=spec.user if spec is not None else None,
        working_dir=spec.cwd if spec is not None else None,
        log_path=told.log_path if told is not None else None,
        log_driver="k8s-file" if told is not None and told.log_path is not None else None,
        layer=known.layer_key,
        mounts=_mounts(spec, told),
        config=known.data.spec_text,
        source=known.source,
    )


def _name(record: ContainerRecord | None) -> str | None:
    if record is None:
        return None
    return record.names[0] if record.names else record.metadata.name if record.metadata is not None else None


def _end(data: Userdata) -> tuple[bool, int | None, int | None]:
    """Whether a container ended after CRI-O last wrote its state, as conmon tells it; its exit code, and when it ended."""
    state = data.state
    if state is not None and (state.exit_code is not None or data.exit is None):
        return False, state.exit_code, state.finished_ns
    return (data.exit is not None, *(data.exit or (None, None)))


def _state(state: CrioState | None) -> str | None:
    if state is None or state.status is None:
        return None
    return STATES.get(state.status, state.status)


def _pod(metadata: ContainerMetadata | None, labels: dict[str, str]) -> str | None:
    namespace = labels.get(POD_NAMESPACE) or (metadata.namespace if metadata is not None else None)
    name = labels.get(POD_NAME) or (metadata.metadata_name if metadata is not None and metadata.pod else None)
    if name is None and metadata is not None and metadata.pod_name is not None:
        parts = metadata.pod_name.split("_")  # k8s_<pod>_<namespace>_<uid>_<attempt>
        if len(parts) == 5:
            name, namespace = parts[1], namespace or parts[2]
    return f"{namespace}/{name}" if namespace is not None and name is not None else None


def _mounts(spec: OciSpec | None, told: CrioAnnotations | None) -> tuple[Mount, ...]:
    """The host's files and directories in the container: `bind` where the pod asked for them, else `engine`."""
    asked = set(told.volumes) if told is not None else set()
    return tuple(
        Mount(
            "bind" if mount.destination in asked else "engine",
            mount.source,
            mount.destination,
            mount.rw,
            options=",".join(mount.options) or None,
        )
        for mount in (spec.mounts if spec is not None else ())
        if mount.is_bind
    )
