"""A Docker container's config.v2.json and hostconfig.json (config.json before Docker 1.10).

Source of the fields: moby v1.7 to v29: container/container.go, container/state.go, volume/mounts/mounts.go,
api/types/container/hostconfig.go, api/types/network/endpoint.go. Text fields that are empty say nothing and are None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object

_NAME = re.compile(rb'"Name":"/([a-zA-Z0-9][a-zA-Z0-9_.-]*)"')  # no other field of this name begins with a slash
_IMAGE = re.compile(rb'"Image":"(sha256:[0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class State:
    """Its State object. StartedAt and FinishedAt are of the last run only."""

    running: bool | None
    paused: bool | None
    restarting: bool | None
    removal_in_progress: bool | None
    dead: bool | None
    oom_killed: bool | None
    pid: int | None
    exit_code: int | None
    error: str | None
    started_ns: int | None
    finished_ns: int | None

    @property
    def name(self) -> str:
        """What `docker ps` calls it, with the precedence of State.StateString."""
        if self.running:
            return "paused" if self.paused else "restarting" if self.restarting else "running"
        if self.removal_in_progress:
            return "removing"
        if self.dead:
            return "dead"
        return "created" if self.started_ns is None else "exited"


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One of MountPoints. type: bind, volume, tmpfs ...; source: None where the volume's name tells it; mode: as in `:ro,z`.

    tmpfs: the options that a tmpfs was given, as mount(8) takes them.
    """

    type: str
    source: str | None
    destination: str
    name: str | None
    driver: str | None
    mode: str | None
    rw: bool | None
    propagation: str | None
    tmpfs: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """One of NetworkSettings.Networks. The ids are None before the first start."""

    network: str
    network_id: str | None
    endpoint_id: str | None
    address: str | None
    mac: str | None


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """config.v2.json.

    image: the image's id; image_name: what the user called it. mount_points: None where the file does not tell. problems: what of
    it could not be read.
    """

    id: str | None
    name: str | None
    created_ns: int | None
    state: State | None
    path: str | None
    args: tuple[str, ...]
    image: str | None
    image_name: str | None
    driver: str | None
    env: tuple[str, ...] | None
    labels: dict[str, str] | None
    hostname: str | None
    user: str | None
    working_dir: str | None
    restart_count: int | None
    log_path: str | None
    hostname_path: str | None
    hosts_path: str | None
    resolv_conf_path: str | None
    sandbox_id: str | None
    mount_points: tuple[MountPoint, ...] | None
    networks: tuple[Attachment, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostConfig:
    """hostconfig.json. privileged: None in the empty one that stands there while a container is being created.

    mounts: what Binds and Mounts ask for; tmpfs: options by destination.
    """

    privileged: bool | None
    restart_policy: str | None
    auto_remove: bool | None
    network_mode: str | None
    userns_mode: str | None
    log_driver: str | None
    mounts: tuple[MountPoint, ...]
    tmpfs: dict[str, str]
    problems: tuple[str, ...]


def parse_config(data: bytes, source: str = "") -> ContainerConfig:
    """Raises FormatError where the document is no JSON object, and no name can be found in what is left of it."""
    name = image = None
    try:
        top = parse_object(data, source)
    except FormatError as error:
        if not _NAME.search(data):
            raise
        top = Fields({})
        top.problem(f"{error.what}; only what can be found in it is read")
    if top.problems:
        name, image = _found(_NAME, data), _found(_IMAGE, data)
    config, network = top.fields("Config"), top.fields("NetworkSettings")
    state = top.fields("State")
    return ContainerConfig(
        id=top.text("ID") or None,
        name=(top.text("Name") or "").removeprefix("/") or name,
        created_ns=top.time("Created"),
        state=_state(state) if state else None,
        path=top.text("Path") or None,
        args=top.texts("Args") or (),
        image=top.text("Image") or image,
        image_name=config.text("Image") or None,
        driver=top.text("Driver") or None,
        env=config.texts("Env") or () if config else None,
        labels=config.text_map("Labels") or {} if config else None,
        hostname=config.text("Hostname") or None,
        user=config.text("User") or None,
        working_dir=config.text("WorkingDir") or None,
        restart_count=top.integer("RestartCount"),
        log_path=top.text("LogPath") or None,
        hostname_path=top.text("HostnamePath") or None,
        hosts_path=top.text("HostsPath") or None,
        resolv_conf_path=top.text("ResolvConfPath") or None,
        sandbox_id=network.text("SandboxID") or None,
        mount_points=_mount_points(top) if "MountPoints" in top or "Volumes" in top else None,
        networks=tuple(_attachment(key, settings) for key, settings in network.each("Networks")),
        problems=tuple(top.problems),
    )


def parse_hostconfig(data: bytes, source: str = "") -> HostConfig:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    policy = top.fields("RestartPolicy")
    name, most = policy.text("Name") or None, policy.integer("MaximumRetryCount")
    binds = (_bind(spec) for spec in top.texts("Binds") or ())
    log_driver, network_mode = top.fields("LogConfig").text("Type") or None, top.text("NetworkMode") or None
    # daemon/create.go: `docker create` writes an empty one before it writes what was asked for
    first = "LogConfig" in top and log_driver is None and network_mode is None
    return HostConfig(
        privileged=None if first else top.flag("Privileged"),
        restart_policy=f"{name}:{most}" if name == "on-failure" and most else name,
        auto_remove=top.flag("AutoRemove"),
        network_mode=network_mode,
        userns_mode=top.text("UsernsMode") or None,
        log_driver=log_driver,
        mounts=(*(bind for bind in binds if bind is not None), *(_asked(mount) for mount in top.items("Mounts"))),
        tmpfs=top.text_map("Tmpfs") or {},
        problems=tuple(top.problems),
    )


def _found(pattern: re.Pattern[bytes], data: bytes) -> str | None:
    match = pattern.search(data)
    return match[1].decode("ascii") if match is not None else None


def _state(state: Fields) -> State:
    return State(
        running=state.flag("Running"),
        paused=state.flag("Paused"),
        restarting=state.flag("Restarting"),
        removal_in_progress=state.flag("RemovalInProgress"),
        dead=state.flag("Dead"),
        oom_killed=state.flag("OOMKilled"),
        pid=state.integer("Pid") or None,
        exit_code=state.integer("ExitCode"),
        error=state.text("Error") or None,
        started_ns=state.time("StartedAt"),
        finished_ns=state.time("FinishedAt"),
    )


def _mount_point(destination: str, point: Fields) -> MountPoint:
    name = point.text("Name") or None
    return MountPoint(
        type=point.text("Type") or ("volume" if name else "bind"),  # Docker before 1.13 did not write it
        source=point.text("Source") or None,
        destination=point.text("Destination") or destination,
        name=name,
        driver=point.text("Driver") or None,
        mode=point.text("Relabel") or None,  # the field Mode is written under this name
        rw=point.flag("RW"),
        propagation=point.text("Propagation") or None,
        tmpfs=_tmpfs(point.fields("Spec")),
    )


def _tmpfs(mount: Fields) -> str | None:
    """The TmpfsOptions of a mount as moby's volume/mounts/linux_parser.go gives them to the kernel."""
    options = mount.fields("TmpfsOptions")
    size, mode = options.integer("SizeBytes"), options.integer("Mode")
    told = [f"mode={mode:o}"] if mode else []
    told += [f"size={size}"] if size else []
    return ",".join(told) or None


def _mount_points(top: Fields) -> tuple[MountPoint, ...]:
    return (*(_mount_point(key, point) for key, point in top.each("MountPoints")), *_old_volumes(top))


def _old_volumes(top: Fields) -> tuple[MountPoint, ...]:
    """Docker before 1.8 wrote the host's path by destination, and beside it what is writable."""
    known, writable = top.fields("MountPoints"), top.fields("VolumesRW")
    return tuple(
        MountPoint("bind", source or None, destination, None, None, None, writable.flag(destination), None)
        for destination, source in sorted((top.text_map("Volumes") or {}).items())
        if destination not in known
    )


def _attachment(network: str, settings: Fields) -> Attachment:
    return Attachment(
        network=network,
        network_id=settings.text("NetworkID") or None,
        endpoint_id=settings.text("EndpointID") or None,
        address=settings.text("IPAddress") or settings.text("GlobalIPv6Address") or None,
        mac=settings.text("MacAddress") or None,
    )


def _bind(spec: str) -> MountPoint | None:
    """`[source:]destination[:mode]`, volume/mounts/linux_parser.go."""
    parts = spec.split(":")
    if len(parts) == 1:
        source, destination, mode = "", parts[0], None
    else:
        source, destination, mode = parts[0], parts[1], ":".join(parts[2:]) or None
    if not destination.startswith("/"):
        return None
    writable = "ro" not in (mode or "").split(",")
    if source.startswith("/"):
        return MountPoint("bind", source, destination, None, None, mode, writable, None)
    return MountPoint("volume", None, destination, source or None, None, mode, writable, None)


def _asked(mount: Fields) -> MountPoint:
    kind, source = mount.text("Type") or "bind", mount.text("Source") or None
    return MountPoint(
        type=kind,
        source=source if kind == "bind" else None,
        destination=mount.text("Target") or "",
        name=source if kind == "volume" else None,
        driver=None,
        mode=None,
        rw=not mount.flag("ReadOnly"),
        propagation=None,
        tmpfs=_tmpfs(mount),
    )
