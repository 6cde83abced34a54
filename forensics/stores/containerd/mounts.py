"""A container's mounts, out of its spec: what a person asked for, and what engines mount into every container (type `engine`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from forensics.records import Mount
from forensics.stores.containerd.cri import DIRECTORIES
from parsers.errors import FormatError
from parsers.nerdctl import MOUNTS, NerdctlMount, parse_mounts
from parsers.oci_spec import OciSpec, SpecMount

KERNEL = frozenset(("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"))
OWN_TMPFS = frozenset(("/dev", "/dev/shm", "/run"))  # of containerd's default spec, oci/spec.go defaultMounts
OWN_FILES = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/run/secrets", "/etc/localtime"))

_KUBELET = re.compile(r"/pods/[^/]+/(?:volumes/(?P<plugin>[^/]+)/(?P<volume>[^/]+)|volume-subpaths/(?P<subpath>[^/]+)/)")
_NERDCTL = re.compile(r"/(?:containers|etchosts)/[^/]+/[0-9a-f]{64}/")
_CRI = tuple(name.decode() + "/sandboxes/" for name in DIRECTORIES)


def spec_mounts(spec: OciSpec | None, labels: Mapping[str, str]) -> tuple[Mount, ...]:
    """The mounts in order of their destination, the engine's own ones last."""
    if spec is None:
        return ()
    asked = _asked(labels)
    mounts = [_mount(mount, asked.get(mount.destination)) for mount in spec.mounts]
    return tuple(sorted(mounts, key=lambda mount: (mount.type == "engine", mount.destination)))


def with_own_files(mounts: Sequence[Mount], container_id: str) -> tuple[Mount, ...]:
    """The mounts of Docker's and Podman's containers: files in a container's own directory are the engine's."""
    own = re.compile(rf"[/-]containers/{re.escape(container_id)}/")  # Podman's: overlay-containers, vfs-containers
    return tuple(replace(mount, type="engine") if own.search(mount.source or "") else mount for mount in mounts)


def kubelet_volume(source: str) -> tuple[str, str] | None:
    """The volume and the plugin of a path in a kubelet's pod directory; None where it is in no volume."""
    match = _KUBELET.search(source)
    if match is None:
        return None
    if match["volume"] is None:
        return match["subpath"], "subpath"
    return match["volume"], match["plugin"].replace("~", "/")


def _mount(mount: SpecMount, asked: NerdctlMount | None) -> Mount:
    options = ",".join(mount.options) or None
    if asked is not None and asked.type != "bind":
        return Mount(asked.type, asked.source or mount.source, mount.destination, mount.rw, asked.name, asked.driver, options)
    if _is_engines(mount):
        return Mount("engine", mount.source, mount.destination, mount.rw, driver=mount.type, options=options)
    if not mount.is_bind:
        return Mount(mount.type or "unknown", mount.source, mount.destination, mount.rw, options=options)
    volume = kubelet_volume(mount.source or "")
    name, driver = volume if volume is not None else (None, None)
    return Mount("bind", mount.source, mount.destination, mount.rw, name, driver, options)


def _is_engines(mount: SpecMount) -> bool:
    if mount.is_bind:
        source = mount.source or ""
        return any(part in source for part in _CRI) or (mount.destination in OWN_FILES and bool(_NERDCTL.search(source)))
    return mount.type in KERNEL or (mount.type == "tmpfs" and mount.destination in OWN_TMPFS)


def _asked(labels: Mapping[str, str]) -> dict[str, NerdctlMount]:
    if MOUNTS not in labels:
        return {}
    try:
        return {mount.destination: mount for mount in parse_mounts(labels[MOUNTS])}
    except FormatError:
        return {}  # the spec has them all; the label only names them
