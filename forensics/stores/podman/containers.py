"""The containers of a graphroot: containers.json, joined with libpod's database, and with what lies in each one's userdata.

Podman's are in libpod's database; CRI-O's have its metadata; what has neither is a working container of Buildah.
"""

from __future__ import annotations

from collections.abc import Sequence

from forensics.records import Container, Mount
from forensics.stores.podman.crio import crio_container, is_crio
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.libpod import Libpod, Told
from forensics.stores.reading import StoreReader
from parsers.container_storage import ContainerRecord
from parsers.libpod import LibpodContainer
from parsers.oci_spec import OciSpec, SpecMount

PRIVILEGED = "io.podman.annotations.privileged"
SHORT_ID = 12
SYSTEM_MOUNTS = ("/proc", "/dev", "/sys")


def storage_containers(
    reader: StoreReader, known: Sequence[KnownContainer], libpod: Libpod, volumes_root: str
) -> tuple[Container, ...]:
    """The records of all containers. volumes_root: on the host."""
    return tuple(_container(reader, each, libpod, volumes_root) for each in known)


def _container(reader: StoreReader, known: KnownContainer, libpod: Libpod, volumes_root: str) -> Container:
    if known.told is not None:
        return _libpod_container(known, known.told, libpod, volumes_root)
    if is_crio(known):
        return crio_container(reader, known)
    return _bare_container(known, libpod)


def _bare_container(known: KnownContainer, libpod: Libpod) -> Container:
    """A container that libpod's database does not tell of: Buildah's, or one whose record there is lost."""
    record, spec = known.record, known.data.spec
    metadata = record.metadata if record is not None else None
    return Container(
        engine="buildah" if known.data.buildah and metadata is None else "podman",
        namespace=None,
        container_id=known.container_id,
        name=record.names[0] if record is not None and record.names else metadata.name if metadata is not None else None,
        image=metadata.image_name if metadata is not None else known.data.buildah_image,
        image_id=record.image if record is not None else None,
        created_ns=record.created_ns if record is not None else None,
        exit_code=libpod.exit_codes.get(known.container_id),
        command=spec.args if spec is not None else None,
        env=spec.env if spec is not None else None,
        privileged=_privileged(None, spec),
        hostname=spec.hostname if spec is not None else None,
        user=spec.user if spec is not None else None,
        working_dir=spec.cwd if spec is not None else None,
        layer=known.layer_key,
        mounts=_engine_mounts(spec, set()),
        config=known.data.spec_text,
        source=known.source,
    )


def _libpod_container(known: KnownContainer, told: Told, libpod: Libpod, volumes_root: str) -> Container:
    config, state, record = told.config, told.state, known.record
    made = config.spec if config is not None else None
    ran = known.data.spec if state is None or state.config_path is not None else None
    spec = ran or made
    name = config.name if config is not None else None
    pod = libpod.pods.get(config.pod_id) if config is not None and config.pod_id is not None else None
    code = libpod.exit_codes.get(known.container_id)
    return Container(
        engine="podman",
        namespace=None,
        container_id=known.container_id,
        name=name or (record.names[0] if record is not None and record.names else None),
        image=config.image_name or config.rootfs if config is not None else _image_name(record),
        image_id=(config.image_id if config is not None else None) or (record.image if record is not None else None),
        state=state.name if state is not None else None,
        created_ns=(config.created_ns if config is not None else None) or (record.created_ns if record is not None else None),
        started_ns=state.started_ns if state is not None else None,
        finished_ns=state.finished_ns if state is not None else None,
        exit_code=state.exit_code if state is not None else code,
        pid=state.pid if state is not None else None,
        command=(made.args if made is not None else None) or (spec.args if spec is not None else None),
        env=spec.env if spec is not None else None,
        labels=config.labels if config is not None else None,
        pod=pod[0].name if pod is not None else None,
        privileged=_privileged(config, spec),
        restart_count=state.restart_count if state is not None else None,
        restart_policy=config.restart_policy if config is not None else None,
        error=state.error if state is not None else None,
        oom_killed=state.oom_killed if state is not None else None,
        hostname=_hostname(known.container_id, spec, libpod),
        user=config.user if config is not None else None,
        working_dir=spec.cwd if spec is not None else None,
        log_path=config.log_path if config is not None else None,
        log_driver=config.log_driver if config is not None else None,
        layer=known.layer_key,
        mounts=_mounts(config, spec, libpod, volumes_root) if config is not None else _engine_mounts(spec, set()),
        config=told.config_text,
        source=told.source,
    )


def _hostname(own: str, spec: OciSpec | None, libpod: Libpod) -> str | None:
    """What it was given, else the beginning of its id; that of the container whose namespace it shares, else the host's."""
    told = libpod.containers.get(own)
    config = told.config if told is not None else None
    if config is not None and config.uts_of is not None and config.uts_of != own and config.uts_of in libpod.containers:
        other = libpod.containers[config.uts_of].config
        if other is None or other.uts_of is not None:  # libpod joins no namespace of one that has joined another's
            return None
        return _hostname(config.uts_of, other.spec, libpod)
    if spec is None or spec.hostname is not None:
        return spec.hostname if spec is not None else None
    return own[:SHORT_ID] if any(kind == "uts" and not path for kind, path in spec.confinement.namespaces) else None


def _image_name(record: ContainerRecord | None) -> str | None:
    return record.metadata.image_name if record is not None and record.metadata is not None else None


def _privileged(config: LibpodContainer | None, spec: OciSpec | None) -> bool | None:
    """What `podman inspect` calls it: an annotation; the config's own flag says it where there is no spec."""
    if spec is not None:
        return spec.annotations.get(PRIVILEGED, "").upper() == "TRUE"
    return config.privileged if config is not None else None


def _mounts(config: LibpodContainer, spec: OciSpec | None, libpod: Libpod, volumes_root: str) -> tuple[Mount, ...]:
    """What `podman inspect` lists, then tmpfs mounts and secrets, then what the engine mounts by itself (type `engine`)."""
    mounts = []
    for volume in config.named_volumes:
        known = libpod.volumes.get(volume.name)
        source = known[0].mount_point if known is not None else f"{volumes_root}/{volume.name}/_data"
        driver = known[0].driver or "local" if known is not None else None
        mounts.append(
            Mount("volume", source, volume.destination, "ro" not in volume.options, volume.name, driver, _joined(volume.options))
        )
    mounts += [
        Mount(volume.kind, volume.source, volume.destination, volume.rw, options=_joined(volume.options))
        for volume in config.other_volumes
    ]
    taken = {mount.destination for mount in mounts}
    asked = {*config.user_volumes} - taken
    for mount in spec.mounts if spec is not None else ():
        if mount.destination in asked:
            kind = "tmpfs" if mount.type == "tmpfs" else "bind"
            source = None if kind == "tmpfs" else mount.source
            mounts.append(Mount(kind, source, mount.destination, mount.rw, options=_joined(mount.options)))
            taken.add(mount.destination)
    for secret in config.secrets:
        destination = secret if secret.startswith("/") else f"/run/secrets/{secret}"
        mounts.append(Mount("secret", None, destination, False, name=secret.rpartition("/")[2]))
        taken.add(destination)
    return (*mounts, *_engine_mounts(spec, taken))


def _engine_mounts(spec: OciSpec | None, taken: set[str]) -> tuple[Mount, ...]:
    """Files and directories of the host that the engine shows in the container by itself."""
    return tuple(
        Mount("engine", mount.source, mount.destination, mount.rw, options=_joined(mount.options))
        for mount in (spec.mounts if spec is not None else ())
        if mount.is_bind and mount.destination not in taken and not _is_system(mount)
    )


def _is_system(mount: SpecMount) -> bool:
    """A kernel filesystem of the host's, which a container without namespaces of its own is shown."""
    return mount.source is not None and mount.source in SYSTEM_MOUNTS


def _joined(options: Sequence[str]) -> str | None:
    return ",".join(options) or None
