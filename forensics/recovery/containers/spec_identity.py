"""Whose OCI runtime spec it is: what a spec itself tells of the container that it was made for.

Sources: moby v20 to v29 daemon/oci_linux.go (paths of the files that are mounted, cgroup), containerd v1.6 to v2.2
internal/cri/annotations and cmd/ctr (cgroup path `/<namespace>/<id>`), podman v4 to v5 libpod/container_internal_common.go,
cri-o v1.24 internal/annotations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers.oci_spec import OciSpec

DOCKER, PODMAN, CRIO, CONTAINERD = "docker", "podman", "crio", "containerd"
KUBERNETES = "k8s.io"

_DOCKER_FILE = re.compile(r"/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf|mounts/|secrets|config\.v2\.json)")
_DOCKER_ROOT = re.compile(r"/rootfs/[\w-]+/([0-9a-f]{64})(?:/|$)")
_DOCKER_CGROUP = re.compile(r"(?:/docker/|:docker:|/docker-)([0-9a-f]{64})(?:\.scope)?$")
_PODMAN_FILE = re.compile(r"/\w+-containers/([0-9a-f]{64})/userdata/")
_PODMAN_CGROUP = re.compile(r"(?:libpod-|:libpod:)([0-9a-f]{64})(?:\.scope)?$")
_CRI_CGROUP = re.compile(r"(?:[:/]|cri-containerd-)([0-9a-f]{64})(?:\.scope)?$")
_CTR_CGROUP = re.compile(r"/([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)")
_CRI = "io.kubernetes.cri."
_CRIO_ID = "io.kubernetes.cri-o.ContainerID"
_LIBPOD = "io.container.manager"


@dataclass(frozen=True, slots=True)
class Identity:
    """A container's id, and the engine and containerd's namespace that it belongs to."""

    engine: str
    namespace: str | None
    id: str


def identity_of(spec: OciSpec) -> Identity | None:
    """The container that a spec belongs to; None where it does not tell, or where what tells disagrees."""
    found = {each for each in (_docker(spec), _podman(spec), _kubernetes(spec)) if each is not None}
    if not found:
        match = _CTR_CGROUP.fullmatch(spec.cgroups_path or "")
        return Identity(CONTAINERD, match[1], match[2]) if match is not None else None
    return found.pop() if len(found) == 1 else None


def layer_directory(spec: OciSpec) -> str | None:
    """The directory of the container's own layer, `overlay2/<name>`, where the spec's root tells it."""
    match = re.search(r"/((?:overlay2|fuse-overlayfs|overlay)/[0-9a-f]{64})/(?:merged|diff)$", spec.root or "")
    return match[1] if match is not None else None


def _docker(spec: OciSpec) -> Identity | None:
    ids = {match[1] for mount in spec.mounts if (match := _DOCKER_FILE.search(mount.source or ""))}
    ids |= {match[1] for match in (_DOCKER_ROOT.search(spec.root or ""), _DOCKER_CGROUP.search(spec.cgroups_path or "")) if match}
    return Identity(DOCKER, None, ids.pop()) if len(ids) == 1 else None


def _podman(spec: OciSpec) -> Identity | None:
    crio = spec.annotations.get(_CRIO_ID)
    if crio:
        return Identity(CRIO, None, crio)
    ids = {match[1] for mount in spec.mounts if (match := _PODMAN_FILE.search(mount.source or ""))}
    cgroup = _PODMAN_CGROUP.search(spec.cgroups_path or "")
    ids |= {cgroup[1]} if cgroup is not None else set()
    told = spec.annotations.get(_LIBPOD) == "libpod" or cgroup is not None
    return Identity(PODMAN, None, ids.pop()) if len(ids) == 1 and told else None


def _kubernetes(spec: OciSpec) -> Identity | None:
    kind = spec.annotations.get(f"{_CRI}container-type")
    if kind is None:
        return None
    if kind == "sandbox":
        own = spec.annotations.get(f"{_CRI}sandbox-id")
        return Identity(CONTAINERD, KUBERNETES, own) if own else None
    match = _CRI_CGROUP.search(spec.cgroups_path or "")
    return Identity(CONTAINERD, KUBERNETES, match[1]) if match is not None else None
