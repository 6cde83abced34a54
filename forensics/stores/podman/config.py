"""Where a host's Podman and CRI-O keep their storage: storage.conf and containers.conf of the system and of each user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forensics.stores.host_tree import MAX_PATH, HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.users import User, users
from forensics.text import readable
from parsers.storage_conf import EngineConf, StorageConf, parse_containers_conf, parse_storage_conf

MAX_FILE = 256 << 10
MAX_DROP_INS = 100  # of a directory
SYSTEM_ROOT = b"/var/lib/containers/storage"
SYSTEM_CONFS = (b"/etc/containers/storage.conf", b"/usr/share/containers/storage.conf")
CONF_DIRS = (b"/usr/share/containers/storage", b"/etc/containers/storage")
ROOT_DROP_INS = tuple(top + end for top in CONF_DIRS for end in (b".conf.d", b".rootful.conf.d"))
USER_DROP_INS = tuple(top + end for top in CONF_DIRS for end in (b".conf.d", b".rootless.conf.d"))
SYSTEM_RUN_ROOT = b"/run/containers/storage"
HOME_ROOT = b".local/share/containers/storage"
HOME_CONF = b".config/containers/storage.conf"
HOME_DROP_INS = b".config/containers/storage.conf.d"
ENGINE_CONFS = (b"/usr/share/containers/containers.conf", b"/etc/containers/containers.conf")
ENGINE_DROP_INS = (b"/usr/share/containers/containers.conf.d", b"/etc/containers/containers.conf.d")
HOME_ENGINE_CONF = b".config/containers/containers.conf"
HOME_ENGINE_DROP_INS = b".config/containers/containers.conf.d"
NETWORK_DIRS = (b"/etc/containers/networks", b"/etc/cni/net.d")


@dataclass(frozen=True, slots=True)
class Configured:
    """A graphroot that a configuration or a default tells of. conf: what is in force there. home: of the user whose it is.

    stores: other graphroots whose layers may be used. databases: where db.sql or bolt_state.db may be, beside the graphroot
    itself. volumes: where named volumes are, if elsewhere. networks: directories with the networks' files. run_root: where a
    running host keeps what is not to outlive it.
    """

    root: bytes
    how: str
    conf: StorageConf | None = None
    home: bytes | None = None
    stores: tuple[bytes, ...] = ()
    databases: tuple[bytes, ...] = ()
    volumes: bytes | None = None
    networks: tuple[bytes, ...] = ()
    run_root: bytes | None = None


def configured_storage(reader: StoreReader, tree: HostTree) -> Iterator[Configured]:
    """Every graphroot that a host's users may have; one that was never made is among them. The system's comes first."""
    system, how = _first_conf(reader, tree, SYSTEM_CONFS)
    system, how = _with_drop_ins(system, how, _drop_ins(reader, tree, ROOT_DROP_INS))
    of_users = list(_drop_ins(reader, tree, USER_DROP_INS))
    engine = list(_engine_confs(reader, tree, ENGINE_CONFS, ENGINE_DROP_INS))
    root = system.graph_root.encode() if system is not None and system.graph_root else SYSTEM_ROOT
    yield _configured(root, how if root != SYSTEM_ROOT else "default", system, None, engine)
    if root != SYSTEM_ROOT:
        yield _configured(SYSTEM_ROOT, "default", system, None, engine)
    for user in users(reader, tree):
        own, how = _first_conf(reader, tree, (user.home + b"/" + HOME_CONF,))
        directories = [top + b".rootless.conf.d/" + user.uid for top in CONF_DIRS if user.uid is not None]
        mine_alone = _drop_ins(reader, tree, (*directories, user.home + b"/" + HOME_DROP_INS))
        own, how = _with_drop_ins(own, how, (*of_users, *mine_alone))
        mine = (user.home + b"/" + HOME_ENGINE_CONF,)
        told = [*engine, *_engine_confs(reader, tree, mine, (user.home + b"/" + HOME_ENGINE_DROP_INS,))]
        path = own.graph_root or own.rootless_path if own is not None else None
        if path is None and system is not None:
            path, how = system.rootless_path, "rootless_storage_path"
        if path is not None:
            yield _configured(_expand(path, user), how, own or system, user.home, told)
        yield _configured(user.home + b"/" + HOME_ROOT, "rootless", own or system, user.home, told)


def _configured(root: bytes, how: str, conf: StorageConf | None, home: bytes | None, engine: list[EngineConf]) -> Configured:
    stores = (*([conf.image_store] if conf.image_store else ()), *conf.additional_stores) if conf is not None else ()
    static = [each.static_dir.encode() for each in engine if each.static_dir]
    volumes = [each.volume_path.encode() for each in engine if each.volume_path]
    networks = [each.network_dir.encode() for each in engine if each.network_dir]
    run_root = conf.run_root.encode() if conf is not None and conf.run_root else SYSTEM_RUN_ROOT if home is None else None
    return Configured(
        root=b"/" + b"/".join(part for part in root.split(b"/") if part),
        how=how,
        conf=conf,
        home=home,
        stores=tuple(path.encode() for path in stores if path.startswith("/")),
        databases=(*static[-1:], *([run_root] if run_root is not None else ())),
        volumes=volumes[-1] if volumes else None,
        networks=(*networks[-1:], *(NETWORK_DIRS if home is None else ())),
        run_root=run_root,
    )


def _first_conf(reader: StoreReader, tree: HostTree, paths: tuple[bytes, ...]) -> tuple[StorageConf | None, str]:
    """The first storage.conf there is: it stands instead of the others."""
    for path in paths:
        conf = reader.load(resolve_or_none(tree, path), "storage.conf", parse_storage_conf, MAX_FILE)
        if conf is not None:
            return conf, readable(path)
    return None, "default"


def _with_drop_ins(
    conf: StorageConf | None, how: str, drop_ins: Iterable[tuple[StorageConf, str]]
) -> tuple[StorageConf | None, str]:
    """A storage.conf with what drop-ins say otherwise, the last one above all."""
    for more, path in drop_ins:
        conf, how = more if conf is None else more.over(conf), path
    return conf, how


def _drop_ins(reader: StoreReader, tree: HostTree, directories: tuple[bytes, ...]) -> Iterator[tuple[StorageConf, str]]:
    """The files in these directories, and their paths. Podman 5.8 reads such."""
    for place in _conf_files(reader, tree, directories):
        conf = reader.load(place, "storage.conf", parse_storage_conf, MAX_FILE)
        if conf is not None:
            yield conf, readable(place.path)


def _conf_files(reader: StoreReader, tree: HostTree, directories: tuple[bytes, ...]) -> Iterator[Place]:
    for directory in directories:
        top = resolve_or_none(tree, directory)
        yield from (place for place in reader.children(top, "f", MAX_DROP_INS) if place.name.endswith(b".conf"))


def _engine_confs(
    reader: StoreReader, tree: HostTree, paths: tuple[bytes, ...], directories: tuple[bytes, ...]
) -> Iterator[EngineConf]:
    """Every containers.conf there is, the one that counts most last."""
    for path in paths:
        conf = reader.load(resolve_or_none(tree, path), "containers.conf", parse_containers_conf, MAX_FILE)
        if conf is not None:
            yield conf
    for place in _conf_files(reader, tree, directories):
        conf = reader.load(place, "containers.conf", parse_containers_conf, MAX_FILE)
        if conf is not None:
            yield conf


def _expand(path: str, user: User) -> bytes:
    """rootless_storage_path's $HOME, $USER and $UID."""
    raw = path.encode()[:MAX_PATH]
    for name, value in ((b"HOME", user.home), (b"USER", user.name), (b"UID", user.uid)):
        if value is not None:
            raw = raw.replace(b"${" + name + b"}", value).replace(b"$" + name, value)
    return raw
