"""Quadlets: files from which systemd makes units that start Podman's containers, at every start of the host or of a session.

Source: podman v4.4 to v5.8, podman-systemd.unit(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from forensics.records import Artefact
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.users import users
from forensics.text import readable
from parsers.systemd_unit import in_force, parse_unit

SYSTEM = (b"/etc/containers/systemd", b"/usr/share/containers/systemd")
OF_USERS = b"users"
HOME = b".config/containers/systemd"
SECTIONS = {
    b".container": "Container",
    b".pod": "Pod",
    b".kube": "Kube",
    b".volume": "Volume",
    b".network": "Network",
    b".image": "Image",
    b".build": "Build",
}
TOLD = ("ContainerName", "PodName", "Image", "ImageTag", "Exec", "Entrypoint", "Pod", "Network", "Volume", "Yaml", "File", "User",
        "PublishPort", "AddCapability", "AddDevice", "PodmanArgs", "GlobalArgs")  # fmt: skip
MAX_FILE = 64 << 10
MAX_FILES = 10_000
MAX_DEPTH = 8
MAX_TEXT = 4096


def quadlets(reader: StoreReader, engine: str, tree: HostTree, uid: int) -> Iterator[Artefact]:
    """Those of one user, 0 for the system's, each with what it starts; variables are left out, which may be secrets."""
    directories = [*SYSTEM] if uid == 0 else []
    if uid:
        own = b"%d" % uid
        directories += [path for top in SYSTEM for path in (top + b"/" + OF_USERS, top + b"/" + OF_USERS + b"/" + own)]
        directories += [user.home + b"/" + HOME for user in users(reader, tree) if user.uid == own]
    for path in directories:
        top = resolve_or_none(tree, path)
        for place in _files(reader, top, below=not path.endswith(OF_USERS)):
            settings = reader.load(place, "quadlet", parse_unit, MAX_FILE)
            section = SECTIONS[_end(place.name)]
            if settings is None:
                continue
            told = {name: ", ".join(in_force(settings, section, name))[:MAX_TEXT] for name in TOLD}
            told["WantedBy"] = " ".join(in_force(settings, "Install", "WantedBy"))[:MAX_TEXT]
            inode = reader.inode(place)
            yield Artefact(
                engine,
                "quadlet",
                readable(place.name),
                path=readable(place.path),
                time_ns=inode.mtime_ns if inode is not None else None,
                details={name: value for name, value in told.items() if value},
                source=reader.provenance(place),
            )


def _files(reader: StoreReader, top: Place | None, below: bool) -> list[Place]:
    """The quadlets in a directory and, where below is set, in those in it; what is for users only is none of the system's."""
    found: list[Place] = []
    pending = [(top, 0)]
    seen: set[tuple[int, int]] = set()
    while pending:
        directory, depth = pending.pop()
        for place in reader.children(directory, "fd"):
            if reader.type(place) == "f":
                found += [place] if _end(place.name) in SECTIONS else []
            elif below and depth < MAX_DEPTH and (depth or place.name != OF_USERS) and (place.partition, place.inode) not in seen:
                seen.add((place.partition, place.inode))
                pending.append((place, depth + 1))
    found.sort(key=lambda place: place.path)
    if len(found) > MAX_FILES:
        reader.gap("quadlet", f"{len(found):,} in a directory; only the first {MAX_FILES:,} were read", top)
    return found[:MAX_FILES]


def _end(name: bytes) -> bytes:
    return name[name.rfind(b".") :] if b"." in name else b""
