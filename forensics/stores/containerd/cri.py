"""Kubernetes' side of a container: the CRI plugin's metadata and status files, and what a person calls its pod.

<root>/io.containerd.grpc.v1.cri/containers/<id>/status
"""

from __future__ import annotations

from collections.abc import Mapping

from forensics.stores.reading import Place, StoreReader
from parsers.containerd_meta import Container, Sandbox
from parsers.cri import CriMetadata, CriStatus, parse_metadata, parse_status
from parsers.errors import FormatError
from parsers.oci_spec import OciSpec
from parsers.protobuf_any import ProtobufAny

DIRECTORIES = (b"io.containerd.grpc.v1.cri", b"io.containerd.cri.v1.runtime")
MAX_STATUS = 1 << 20
METADATA = ("io.cri-containerd.container.metadata", "io.cri-containerd.sandbox.metadata", "metadata")
KIND, POD_NAME, POD_NAMESPACE = "io.cri-containerd.kind", "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"
CONTAINER_NAME, RESTARTS = "io.kubernetes.container.name", "io.kubernetes.container.restartCount"
SANDBOX_NAME, SANDBOX_NAMESPACE = "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace"


def read_statuses(reader: StoreReader, root: Place) -> dict[str, CriStatus]:
    """The status files, by container id."""
    statuses = {}
    for name in DIRECTORIES:
        for directory in reader.children(reader.child(root, name, b"containers"), "d"):
            place = reader.child(directory, b"status")
            status = reader.load(place, "CRI status", parse_status, MAX_STATUS)
            if status is not None:
                reader.tell("CRI status", status.problems, place)
                statuses[directory.name.decode("utf-8", "replace")] = status
    return statuses


def metadata_of(reader: StoreReader, record: Container | Sandbox, place: Place | None) -> CriMetadata | None:
    """The CRI plugin's metadata in a record's extensions, None where it is no container of Kubernetes'."""
    payload = _payload(record)
    if payload is None:
        return None
    try:
        metadata = parse_metadata(payload.value)
    except FormatError as error:
        reader.gap("CRI metadata", f"{record.id}: {error}", place, record.offset)
        return None
    for problem in metadata.problems:
        reader.gap("CRI metadata", f"{record.id}: {problem}", place, record.offset)
    return metadata


def metadata_text(record: Container | Sandbox) -> str | None:
    """The same as it stands there: what the kubelet asked for."""
    payload = _payload(record)
    return payload.value.decode("utf-8", "replace") if payload is not None else None


def _payload(record: Container | Sandbox) -> ProtobufAny | None:
    return next((record.extensions[name] for name in METADATA if name in record.extensions), None)


def pod_of(labels: Mapping[str, str], metadata: CriMetadata | None, spec: OciSpec | None) -> str | None:
    """`namespace/name` of the pod that a container belongs to, or is the sandbox of."""
    annotations = spec.annotations if spec is not None else {}
    own = metadata.labels if metadata is not None else {}
    for found, name, namespace in (
        (labels, POD_NAME, POD_NAMESPACE),
        (own, POD_NAME, POD_NAMESPACE),
        (annotations, SANDBOX_NAME, SANDBOX_NAMESPACE),
    ):
        if found.get(name) and found.get(namespace):
            return f"{found[namespace]}/{found[name]}"
    if metadata is not None and metadata.pod_namespace and metadata.short_name:
        return f"{metadata.pod_namespace}/{metadata.short_name}"
    return None


def restarts_of(metadata: CriMetadata | None) -> int | None:
    """How often the kubelet had restarted the container."""
    if metadata is None:
        return None
    return small_number(metadata.annotations.get(RESTARTS, ""), metadata.attempt)


def small_number(text: str, otherwise: int | None) -> int | None:
    """A count in decimal; `otherwise` where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise
