"""What containerd's CRI plugin keeps of Kubernetes' containers and sandboxes, as JSON.

Source of the fields: containerd v1.2 to v2.2, internal/cri/store/{container,sandbox}/{metadata,status}.go (pkg/cri/store, and
containerd/cri before 1.5); k8s.io/cri-api pkg/apis/runtime/v1/api.pb.go, whose JSON names are these.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import Fields, parse_object


@dataclass(frozen=True, slots=True)
class CriMount:
    """A mount that the kubelet asked for."""

    container_path: str
    host_path: str | None
    readonly: bool


@dataclass(frozen=True, slots=True)
class CriMetadata:
    """A container's or a sandbox's metadata.

    name: `<container>_<pod>_<namespace>_<uid>_<attempt>`; short_name: the container's or the pod's own. image_ref: the image
    config's digest. pod_namespace, pod_uid: of a sandbox only. log_path: a sandbox's is a directory. privileged: of a container
    only; a sandbox's configuration has such a flag too, but it says that the pod may have a privileged container.
    """

    id: str | None
    name: str | None
    short_name: str | None
    attempt: int
    sandbox_id: str | None
    image: str | None
    image_ref: str | None
    log_path: str | None
    pod_namespace: str | None
    pod_uid: str | None
    hostname: str | None
    ip: str | None
    privileged: bool | None
    labels: dict[str, str]
    annotations: dict[str, str]
    mounts: tuple[CriMount, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CriStatus:
    """A container's status file."""

    pid: int | None
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    exit_code: int | None
    reason: str | None
    message: str | None
    removing: bool
    unknown: bool
    problems: tuple[str, ...]

    @property
    def state(self) -> str | None:
        """As Status.State: the last step that has a time. What the plugin itself did not know is None."""
        if self.unknown:
            return None
        if self.finished_ns is not None:
            return "exited"
        if self.started_ns is not None:
            return "running"
        return "created" if self.created_ns is not None else None


def parse_metadata(data: bytes, source: str = "") -> CriMetadata:
    """A container's or a sandbox's Metadata, with the version around it. Raises FormatError where it is no JSON object."""
    top = parse_object(data, source)
    metadata = top.fields("Metadata") if "Metadata" in top else top
    config = metadata.fields("Config")
    about, security = config.fields("metadata"), config.fields("linux").fields("security_context")
    sandbox_id = metadata.text("SandboxID") or None
    log_path = metadata.text("LogPath") or config.text("log_directory") or None
    return CriMetadata(
        id=metadata.text("ID") or None,
        name=metadata.text("Name") or None,
        short_name=about.text("name") or None,
        attempt=about.integer("attempt") or 0,
        sandbox_id=sandbox_id,
        image=config.fields("image").text("image") or None,
        image_ref=metadata.text("ImageRef") or None,
        log_path=log_path,
        pod_namespace=about.text("namespace") or None,
        pod_uid=about.text("uid") or None,
        hostname=config.text("hostname") or None,
        ip=metadata.text("IP") or None,
        privileged=bool(security.flag("privileged")) if config and sandbox_id is not None else None,
        labels=config.text_map("labels") or {},
        annotations=config.text_map("annotations") or {},
        mounts=tuple(_mount(mount) for mount in config.items("mounts")),
        problems=tuple(top.problems),
    )


def parse_status(data: bytes, source: str = "") -> CriStatus:
    """A status file. Raises FormatError where it is no JSON object."""
    top = parse_object(data, source)
    return CriStatus(
        pid=top.integer("Pid") or None,
        created_ns=top.integer("CreatedAt") or None,
        started_ns=top.integer("StartedAt") or None,
        finished_ns=top.integer("FinishedAt") or None,
        exit_code=top.integer("ExitCode"),
        reason=top.text("Reason") or None,
        message=top.text("Message") or None,
        removing=bool(top.flag("Removing")),
        unknown=bool(top.flag("Unknown")),
        problems=tuple(top.problems),
    )


def _mount(mount: Fields) -> CriMount:
    return CriMount(mount.text("container_path") or "", mount.text("host_path") or None, bool(mount.flag("readonly")))
