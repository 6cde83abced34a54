"""libpod's records of containers, pods and volumes: JSON in db.sql or bolt_state.db.

Source of the fields: podman v2 to v5: libpod/container_config.go, container.go (ContainerState), pod.go, volume.go,
define/containerstate.go; containers/common, libnetwork/types/network.go. Go leaves a field out where it is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import Fields, parse_object
from parsers.oci_spec import OciSpec, parse_spec_fields

STATES = {
    0: "unknown",
    1: "created",
    2: "initialized",
    3: "running",
    4: "stopped",
    5: "paused",
    6: "exited",
    7: "removing",
    8: "stopping",
}
"""What `podman inspect` calls each state."""


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """One of namedVolumes."""

    name: str
    destination: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OtherVolume:
    """One of overlayVolumes or imageVolumes. kind: overlay or image; source: a path, or a container image."""

    kind: str
    source: str | None
    destination: str
    rw: bool
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LibpodContainer:
    """A container's config. command: what followed the image's name; spec: as it was made, before the first start added to it.

    rootfs: the directory on the host that it had instead of an image; rootfs_overlay: it wrote elsewhere. uts_of: the id of the
    container whose host name it has.
    user_volumes: the destinations of mounts that the user asked for. create_command: the argv that made it.
    """

    id: str | None
    name: str | None
    pod_id: str | None
    created_ns: int | None
    create_command: tuple[str, ...] | None
    image_id: str | None
    image_name: str | None
    rootfs: str | None
    rootfs_overlay: bool
    spec: OciSpec | None
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    user: str | None
    labels: dict[str, str]
    privileged: bool | None
    restart_policy: str
    log_path: str | None
    log_driver: str | None
    static_dir: str | None
    infra: bool
    user_volumes: tuple[str, ...]
    named_volumes: tuple[NamedVolume, ...]
    other_volumes: tuple[OtherVolume, ...]
    secrets: tuple[str, ...]
    networks: tuple[str, ...]
    uts_of: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of a container in a network, while it ran."""

    network: str
    interface: str
    address: str | None
    mac: str | None


@dataclass(frozen=True, slots=True)
class LibpodState:
    """A container's state. config_path: of the OCI spec that its last start was given."""

    state: int | None
    config_path: str | None
    started_ns: int | None
    finished_ns: int | None
    exit_code: int
    pid: int | None
    error: str | None
    oom_killed: bool
    restart_count: int
    attachments: tuple[Attachment, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """What `podman inspect` calls it."""
        return STATES.get(self.state) if self.state is not None else None


@dataclass(frozen=True, slots=True)
class LibpodPod:
    """A pod's config."""

    id: str | None
    name: str | None
    labels: dict[str, str]
    created_ns: int | None
    create_command: tuple[str, ...] | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LibpodVolume:
    """A volume's config. mount_point: None for a plugin's volume that is not mounted."""

    name: str | None
    driver: str | None
    labels: dict[str, str]
    options: dict[str, str]
    mount_point: str | None
    created_ns: int | None
    anonymous: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """One of secrets.json; its value is elsewhere, with the driver."""

    name: str
    id: str
    driver: str | None
    created_ns: int | None
    path: str | None


def parse_secrets(data: bytes, source: str = "") -> tuple[tuple[Secret, ...], tuple[str, ...]]:
    """secrets.json (containers/common, pkg/secrets), and what of it could not be read. FormatError where it is no JSON object."""
    top = parse_object(data, source)
    found = tuple(
        Secret(
            name=each.text("name") or key,
            id=each.text("id") or key,
            driver=each.text("driver") or None,
            created_ns=each.time("createdAt"),
            path=each.fields("driverOptions").text("path") or None,
        )
        for key, each in top.each("secrets")
    )
    return found, tuple(top.problems)


def parse_container(data: bytes, source: str = "") -> LibpodContainer:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    policy, most = top.text("restart_policy") or "no", top.integer("restart_retries")  # as `podman inspect` tells it
    entrypoint = top.texts("entrypoint")
    return LibpodContainer(
        id=top.text("id") or None,
        name=top.text("name") or None,
        pod_id=top.text("pod") or None,
        created_ns=top.time("createdTime"),
        create_command=top.texts("CreateCommand"),
        image_id=top.text("rootfsImageID") or None,
        image_name=top.text("rootfsImageName") or None,
        rootfs=top.text("rootfs") or None,
        rootfs_overlay=bool(top.flag("rootfs_overlay")),
        spec=parse_spec_fields(top.fields("spec")) if "spec" in top else None,
        command=top.texts("command"),
        entrypoint=entrypoint,
        user=top.text("user") or None,
        labels=top.text_map("labels") or {},
        privileged=top.flag("privileged"),
        restart_policy=f"{policy}:{most}" if policy == "on-failure" and most else policy,
        log_path=top.text("logPath") or None,
        log_driver=top.text("logDriver") or None,
        static_dir=top.text("staticDir") or None,
        infra=bool(top.flag("pause")),
        user_volumes=top.texts("userVolumes") or (),
        named_volumes=tuple(_named(each) for each in top.items("namedVolumes")),
        other_volumes=(
            *(_other("overlay", each) for each in top.items("overlayVolumes")),
            *(_other("image", each) for each in top.items("ctrImageVolumes")),
        ),
        secrets=tuple(name for each in top.items("secrets") if (name := each.text("Target") or each.text("name"))),
        networks=_networks(top),
        uts_of=top.text("utsNsCtr") or None,
        problems=tuple(top.problems),
    )


@dataclass(frozen=True, slots=True)
class ContainerPart:
    """What is whole in a part of a container's config; what is None may stand in the part that is lost.

    paths: those in the container's own directory, which bears its id.
    """

    id: str | None
    name: str | None
    created_ns: int | None
    image_id: str | None
    image_name: str | None
    args: tuple[str, ...] | None
    env: tuple[str, ...] | None
    cwd: str | None
    log_path: str | None
    log_driver: str | None
    paths: tuple[str, ...]
    problems: tuple[str, ...]


def parse_container_part(data: bytes, source: str = "") -> ContainerPart:
    """A config that is cut off, or of which the beginning is gone, from its next field on, a brace put before it.

    Raises FormatError where not one field is whole.
    """
    top = parse_object(data, source, inside=("spec", "process"))
    process = top.fields("spec").fields("process")
    named = (top.text(name) for name in ("staticDir", "ShmDir", "secretsPath", "logPath", "conmonPidFile"))
    return ContainerPart(
        id=top.text("id") or None,
        name=top.text("name") or None,
        created_ns=top.time("createdTime"),
        image_id=top.text("rootfsImageID") or None,
        image_name=top.text("rootfsImageName") or None,
        args=process.texts("args"),
        env=process.texts("env"),
        cwd=process.text("cwd") or None,
        log_path=top.text("logPath") or None,
        log_driver=top.text("logDriver") or None,
        paths=tuple(path for path in named if path),
        problems=tuple(top.problems),
    )


def parse_state(data: bytes, source: str = "") -> LibpodState:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return LibpodState(
        state=top.integer("state"),
        config_path=top.text("configPath") or None,
        started_ns=top.time("startedTime"),
        finished_ns=top.time("finishedTime"),
        exit_code=top.integer("exitCode") or 0,
        pid=top.integer("pid") or None,
        error=top.text("error") or None,
        oom_killed=bool(top.flag("oomKilled")),
        restart_count=top.integer("restartCount") or 0,
        attachments=tuple(_attachments(top)),
        problems=tuple(top.problems),
    )


def parse_pod(data: bytes, source: str = "") -> LibpodPod:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return LibpodPod(
        id=top.text("id") or None,
        name=top.text("name") or None,
        labels=top.text_map("labels") or {},
        created_ns=top.time("created"),
        create_command=top.texts("CreateCommand"),
        problems=tuple(top.problems),
    )


def parse_volume(data: bytes, source: str = "") -> LibpodVolume:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return LibpodVolume(
        name=top.text("name") or None,
        driver=top.text("volumeDriver") or top.text("driver") or None,
        labels=top.text_map("labels") or {},
        options=top.text_map("volumeOptions") or top.text_map("options") or {},
        mount_point=top.text("mountPoint") or None,
        created_ns=top.time("createdAt"),
        anonymous=bool(top.flag("isAnon")),
        problems=tuple(top.problems),
    )


def _named(volume: Fields) -> NamedVolume:
    return NamedVolume(volume.text("volumeName") or "", volume.text("dest") or "", volume.texts("options") or ())


def _other(kind: str, volume: Fields) -> OtherVolume:
    options = volume.texts("options") or ()
    rw = "ro" not in options if kind == "overlay" else bool(volume.flag("rw"))
    return OtherVolume(kind, volume.text("source") or None, volume.text("dest") or "", rw, options)


def _networks(top: Fields) -> tuple[str, ...]:
    """newNetworks is an object by name since podman 4, networks an array of names before."""
    return top.fields("newNetworks").names() or top.texts("networks") or ()


def _attachments(top: Fields) -> list[Attachment]:
    found = []
    for network, status in top.each("networkStatus"):
        for interface, told in status.each("interfaces"):
            addresses = [each.text("ipnet") for each in told.items("subnets")]
            address = next((each for each in addresses if each), None)
            found.append(Attachment(network, interface, address, told.text("mac_address") or None))
    return found
