"""The containers of a data-root: containers/<id>/config.v2.json and hostconfig.json, and what else tells of a container.

A container of which only a directory or a layerdb entry is left is still a record, with what is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.records import Container, Mount
from forensics.stores.docker.claims import Claims
from forensics.stores.docker.images import StoredImage, top_chain
from forensics.stores.docker.layerdb import LayerDb
from forensics.stores.docker.layers import layer_key
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_container import ContainerConfig, HostConfig, MountPoint, parse_config, parse_hostconfig
from parsers.errors import FormatError

MAX_JSON = 4 << 20
MAX_TEXT = 1 << 20
MAX_HOSTNAME = 255
CONFIGS = (b"config.v2.json", b"config.json")  # the second: Docker before 1.10
TEXTS = (b"hosts", b"resolv.conf")
UNFINISHED = b".tmp-config.v2.json"  # left over by a crash before it was renamed

_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredContainer:
    """What a container's directory holds. config, host: None where missing or damaged; the texts as they stand there."""

    container_id: str
    place: Place
    config_place: Place | None
    config: ContainerConfig | None
    config_text: str | None
    host: HostConfig | None
    host_text: str | None
    hostname: str | None
    log_driver: str | None
    log_name: str | None


def read_containers(reader: StoreReader, containers: Place | None) -> dict[str, StoredContainer]:
    """The containers that have a directory, by id."""
    places = [place for place in reader.children(containers, "d?") if _ID.fullmatch(place.name)]
    return {place.name.decode(): _read_container(reader, place) for place in places}


def images_of(stored: Mapping[str, StoredContainer], images: Mapping[str, StoredImage]) -> dict[str, str]:
    """The chain id of each container's image, where its config names an image that is there."""
    chains = {}
    for cid, container in stored.items():
        image = images.get(container.config.image or "") if container.config is not None else None
        chain = top_chain(image) if image is not None else None
        if chain is not None:
            chains[cid] = chain
    return chains


def docker_containers(
    reader: StoreReader,
    host_root: str,
    stored: Mapping[str, StoredContainer],
    layers: Sequence[tuple[str, LayerDb, Claims]],
    images: Mapping[str, StoredImage],
    names: Mapping[str, str],
) -> tuple[Container, ...]:
    """The records of all containers.

    host_root: the data-root's path on the host. layers: each driver's name, layerdb and claims. names: what other sources call a
    container.
    """
    by_chain: dict[str | None, list[str]] = {}
    for image in images.values():
        by_chain.setdefault(top_chain(image), []).append(image.image_id)
    own = {cid: layer_key(driver, name) for driver, _, claims in layers for cid, name in claims.own.items()}
    image_of = {cid: by_chain.get(chain, []) for _, _, claims in layers for cid, chain in claims.image.items()}
    mounts = {cid: mount.place for _, db, _ in layers for cid, mount in db.mounts.items()}
    records = []
    for cid in sorted({*stored, *mounts}):
        candidates = image_of.get(cid, [])
        image_id = candidates[0] if len(candidates) == 1 else None
        container = stored.get(cid)
        if container is None:
            reader.gap("container", f"containers/{cid} is gone; only its layers are known", mounts[cid])
            source = reader.provenance(mounts[cid])
            records.append(Container("docker", None, cid, names.get(cid), image_id=image_id, layer=own.get(cid), source=source))
        else:
            records.append(_record(reader, host_root, container, own.get(cid), image_id, names.get(cid)))
    return tuple(records)


def config_record(host_root: str, container_id: str, config: ContainerConfig | None, host: HostConfig | None) -> Container:
    """What a container's two files tell of it. host_root: the data-root's path on the host."""
    state = config.state if config is not None else None
    return Container(
        engine="docker",
        namespace=None,
        container_id=container_id,
        name=config.name if config is not None else None,
        image=config.image_name if config is not None else None,
        image_id=config.image if config is not None else None,
        state=state.name if state is not None else None,
        created_ns=config.created_ns if config is not None else None,
        started_ns=state.started_ns if state is not None else None,
        finished_ns=state.finished_ns if state is not None else None,
        exit_code=state.exit_code if state is not None else None,
        pid=state.pid if state is not None else None,
        command=(config.path, *config.args) if config is not None and config.path is not None else None,
        env=config.env if config is not None else None,
        labels=config.labels if config is not None else None,
        privileged=host.privileged if host is not None else None,
        restart_count=config.restart_count if config is not None else None,
        restart_policy=host.restart_policy if host is not None else None,
        error=state.error if state is not None else None,
        oom_killed=state.oom_killed if state is not None else None,
        hostname=config.hostname if config is not None else None,
        user=config.user if config is not None else None,
        working_dir=config.working_dir if config is not None else None,
        log_path=config.log_path if config is not None else None,
        log_driver=host.log_driver if host is not None else None,
        mounts=_mounts(host_root, config, host),
    )


def _record(
    reader: StoreReader, host_root: str, stored: StoredContainer, layer: str | None, image_id: str | None, name: str | None
) -> Container:
    told = config_record(host_root, stored.container_id, stored.config, stored.host)
    log_path = f"{host_root}/containers/{stored.container_id}/{stored.log_name}" if stored.log_name is not None else None
    return replace(
        told,
        name=told.name or name,
        image_id=told.image_id or image_id,
        hostname=told.hostname or stored.hostname,
        log_path=told.log_path or log_path,
        log_driver=told.log_driver or stored.log_driver,
        layer=layer,
        config=stored.config_text,
        hostconfig=stored.host_text,
        source=reader.provenance(stored.config_place or stored.place),
    )


def _mounts(host_root: str, config: ContainerConfig | None, host: HostConfig | None) -> tuple[Mount, ...]:
    """What `docker inspect` lists, then what hostconfig.json alone has, then the engine's own files (type `engine`)."""
    points = config.mount_points if config is not None else None
    if points is None:
        points = host.mounts if host is not None else ()
    mounts = [_mount(host_root, point) for point in sorted(points, key=lambda point: point.destination)]
    taken = {mount.destination for mount in mounts}
    for destination, options in sorted(host.tmpfs.items() if host is not None else ()):
        if destination not in taken:
            mounts.append(Mount("tmpfs", None, destination, "ro" not in options.split(","), options=options or None))
    if config is not None:
        own = (
            ("/etc/hostname", config.hostname_path),
            ("/etc/hosts", config.hosts_path),
            ("/etc/resolv.conf", config.resolv_conf_path),
        )
        mounts += [Mount("engine", path, where, None) for where, path in own if path is not None and where not in taken]
    return tuple(mounts)


def _mount(host_root: str, point: MountPoint) -> Mount:
    source = point.source
    if source is None and point.type == "volume" and point.name is not None and point.driver in (None, "local"):
        source = f"{host_root}/volumes/{point.name}/_data"  # Docker before 23 wrote no path for a volume
    options = ",".join(option for option in (point.mode, point.propagation, point.tmpfs) if option is not None)
    return Mount(point.type, source, point.destination, point.rw, point.name, point.driver, options or None)


def _read_container(reader: StoreReader, place: Place) -> StoredContainer:
    config_place, config, config_text = _read_config(reader, place)
    host_place = reader.child(place, b"hostconfig.json")
    if host_place is None:
        reader.gap("hostconfig.json", "missing", place)
    host, host_text = reader.load(
        host_place, "hostconfig.json", lambda data: (parse_hostconfig(data), data.decode("utf-8", "replace")), MAX_JSON
    ) or (None, None)
    if host is not None:
        reader.tell("hostconfig.json", host.problems, host_place)
    json_log = place.name + b"-json.log"
    log_driver = log_name = None
    if reader.child(place, json_log) is not None:
        log_driver, log_name = "json-file", json_log.decode()
    elif reader.child(place, b"local-logs", b"container.log") is not None:
        log_driver, log_name = "local", "local-logs/container.log"
    return StoredContainer(
        container_id=place.name.decode(),
        place=place,
        config_place=config_place,
        config=config,
        config_text=config_text,
        host=host,
        host_text=host_text,
        hostname=_hostname(reader, place),
        log_driver=log_driver,
        log_name=log_name,
    )


def _read_config(reader: StoreReader, place: Place) -> tuple[Place | None, ContainerConfig | None, str | None]:
    found = [child for child in (reader.child(place, name) for name in CONFIGS) if child is not None]
    if not found:
        reader.gap("config.v2.json", "missing", place)
    unfinished = [child for child in reader.children(place, "f") if child.name.startswith(UNFINISHED)]
    for candidate in (*found[:1], *sorted(unfinished, key=lambda child: _written(reader, child), reverse=True)):
        artefact = readable(candidate.name)
        loaded = reader.load(candidate, artefact, lambda data: (parse_config(data), data.decode("utf-8", "replace")), MAX_JSON)
        if loaded is None:
            continue
        config, text = loaded
        reader.tell(artefact, config.problems, candidate)
        if config.id is not None and config.id.encode() != place.name:
            reader.gap(artefact, f"its ID is {config.id}, which is not its directory's name", candidate)
        if candidate in unfinished:
            reader.gap("config.v2.json", "read from what a write that was cut off left", candidate)
        return candidate, config, text
    return None, None, None


def _hostname(reader: StoreReader, place: Place) -> str | None:
    """What hostname says; the other texts of the network are only looked at, so that a damaged one is told."""
    for name in TEXTS:
        reader.load(reader.child(place, name), readable(name), _parse_text, MAX_TEXT)
    return reader.load(reader.child(place, b"hostname"), "hostname", _parse_hostname, MAX_TEXT)


def _parse_hostname(data: bytes) -> str:
    text = _parse_text(data).strip()
    if not text:
        raise FormatError("empty: what was written to it never reached the disk, or somebody emptied it", offset=0)
    if not text.isprintable() or len(text) > MAX_HOSTNAME:  # Docker takes letters of any script
        raise FormatError(f"{data[:80]!r} is no host name", offset=0)
    return text


def _parse_text(data: bytes) -> str:
    if b"\0" in data:
        raise FormatError("a zero byte in a text", offset=data.index(b"\0"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("no text", offset=error.start) from error


def _written(reader: StoreReader, place: Place) -> int:
    inode = reader.inode(place)
    return (inode.mtime_ns or 0) if inode is not None else 0
