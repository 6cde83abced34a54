"""Removed containers that other programs of the host still name: the kubelet, CNI's plugins, nerdctl, units of systemd.

/var/log/containers/<pod>_<namespace>_<container>-<id>.log          links of the kubelet
/var/log/pods/<namespace>_<pod>_<uid>/<container>/<n>.log           links, too, where Docker runs the pods
/var/lib/cni/networks/<network>/<address>                           text: CNI's id, a line break, the interface
/var/lib/cni/{results,cache/results}/<network>-<id>-<interface>     what CNI answered
/var/lib/{dockershim,cri-dockerd}/sandbox/<id>                      pods' sandboxes
/var/lib/kubelet/cpu_manager_state
/var/lib/nerdctl/<address>/{containers/<namespace>/<id>/,etchosts/<namespace>/<id>/,names/<namespace>/<name>}, users' too
/etc/systemd/system/*.service                                       `podman start <id>`

Source: kubernetes v1.20 pkg/kubelet/kuberuntime/legacy.go; containernetworking plugins v1.1 to v1.6, ipam/host-local/backend;
podman v4.0 pkg/systemd/generate; see parsers/cni.py, parsers/kubelet.py and stores/containerd/nerdctl.py for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forensics.records import Container
from forensics.recovery.clues import CERTAIN, POSSIBLE, Clue
from forensics.recovery.limits import Limits
from forensics.stores.containerd.nerdctl import nerdctl_directories
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.cni import parse_cached_result
from parsers.kubelet import parse_cpu_manager_state, parse_sandbox_checkpoint

LINKS, PODS = b"/var/log/containers", b"/var/log/pods"
NETWORKS, RESULTS = b"/var/lib/cni/networks", (b"/var/lib/cni/results", b"/var/lib/cni/cache/results")
SANDBOXES = (b"/var/lib/dockershim/sandbox", b"/var/lib/cri-dockerd/sandbox")
CPU_STATE = b"/var/lib/kubelet/cpu_manager_state"
UNITS = (b"/etc/systemd/system", b"/usr/lib/systemd/system", b"/lib/systemd/system")
MAX_FILES = 20_000  # of one directory
MAX_TEXT = 1 << 16
MAX_JSON = 1 << 20

_ID = re.compile(rb"[0-9a-f]{64}")
LINK = re.compile(rb"(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9.-]+)_(?P<container>[a-z0-9.-]+)-(?P<id>[0-9a-f]{64})\.log")
_POD = re.compile(rb"(?P<namespace>[a-z0-9.-]+)_(?P<pod>[a-z0-9.-]+)_[0-9a-f-]{32,36}")
_DOCKER_LOG = re.compile(rb"/containers/([0-9a-f]{64})/\1-json\.log")
_CNI_ID = re.compile(r"(?:(?P<namespace>[A-Za-z0-9][\w.-]*)-)?(?P<id>[0-9a-f]{64})")
_ADDRESS = re.compile(rb"[0-9a-f:.]+(?:%\w+)?|[0-9a-f_]+")
_PODMAN_START = re.compile(rb"^Exec(?:Start|Stop|StopPost)=\S*podman\b.*?\s([0-9a-f]{64})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class _Host:
    """One host's tree. runtime: the engine that runs its pods, as far as its stores tell."""

    reader: StoreReader
    tree: HostTree
    runtime: str
    limits: Limits

    def children(self, path: bytes, kinds: str) -> Iterator[Place]:
        """What is in a directory that is known by its path."""
        place = resolve_or_none(self.tree, path)
        return self.below(place, kinds) if place is not None else iter(())

    def below(self, place: Place, kinds: str) -> Iterator[Place]:
        """What is in a directory."""
        found = self.reader.children(place, kinds)
        return self.limits.first(found, MAX_FILES, "names in a directory of the host's", place.partition, readable(place.path))

    def clue(
        self,
        place: Place,
        own: str,
        kind: str,
        what: str,
        confidence: str = POSSIBLE,
        engine: str | None = None,
        **told: str | None,
    ) -> Clue[Container]:
        """A clue to a container of the kubelet's runtime, or of another engine."""
        engine = engine or self.runtime
        namespace = told.pop("namespace", "k8s.io" if engine == "containerd" else None)
        source = self.reader.provenance(place, what)
        return Clue(Container(engine, namespace, own, told.get("name"), pod=told.get("pod"), source=source), confidence, kind)


def runtime_of(engines: Sequence[str]) -> str:
    """Which of the engines runs a kubelet's pods."""
    return next((each for each in ("containerd", "crio", "docker") if each in engines), "containerd")


def host_clues(trees: Sequence[HostTree], engines: Sequence[str], limits: Limits | None = None) -> Iterator[Clue[Container]]:
    """All that is named on the hosts; most of them are there still, and their clues are for nothing. engines: of the stores."""
    runtime = runtime_of(engines)
    podman = "podman" if "podman" in engines or "containerd" not in engines else "containerd"
    limits = limits or Limits()
    for tree in trees:
        host = _Host(StoreReader(), tree, runtime, limits)  # its gaps are nobody's: nothing of a live container is read here
        yield from _kubelet_links(host)
        yield from _kubelet_files(host)
        yield from _networks(host, podman)
        yield from _nerdctl(host)
        yield from _units(host)


def _kubelet_links(host: _Host) -> Iterator[Clue[Container]]:
    for link in host.children(LINKS, "l"):
        if match := LINK.fullmatch(link.name):
            container, pod, namespace = (match[name].decode() for name in ("container", "pod", "namespace"))
            what = "link of the kubelet"
            yield host.clue(link, match["id"].decode(), "kubelet", what, CERTAIN, name=container, pod=f"{namespace}/{pod}")
    for pod_directory in host.children(PODS, "d"):
        match = _POD.fullmatch(pod_directory.name)
        for directory in host.reader.children(pod_directory, "d") if match else ():
            for link in host.reader.children(directory, "l"):
                target = _DOCKER_LOG.search(host.reader.target(link) or b"")
                if target is not None and match is not None:
                    told = {"name": readable(directory.name), "pod": f"{match['namespace'].decode()}/{match['pod'].decode()}"}
                    what = "link of the kubelet to its log"
                    yield host.clue(link, target[1].decode(), "kubelet", what, CERTAIN, "docker", **told)


def _kubelet_files(host: _Host) -> Iterator[Clue[Container]]:
    for top in SANDBOXES:
        for file in host.children(top, "f"):
            told = host.reader.load(file, "sandbox", parse_sandbox_checkpoint, MAX_JSON) if _ID.fullmatch(file.name) else None
            if told is not None:
                pod = f"{told.namespace}/{told.name}" if told.namespace and told.name else None
                yield host.clue(file, file.name.decode(), "kubelet", "checkpoint of a sandbox", CERTAIN, "docker", pod=pod)
    state = resolve_or_none(host.tree, CPU_STATE)
    for own in host.reader.load(state, "cpu_manager_state", parse_cpu_manager_state, MAX_JSON) or ():
        if state is not None:
            yield host.clue(state, own, "kubelet", "state of the kubelet's CPU manager")


def _networks(host: _Host, otherwise: str) -> Iterator[Clue[Container]]:
    """otherwise: the engine where CNI's id does not tell it; nerdctl's begins with the namespace."""
    for network in host.children(NETWORKS, "d"):
        for file in host.below(network, "f"):
            text = host.reader.load(file, "CNI address", bytes, MAX_TEXT) if _ADDRESS.fullmatch(file.name) else None
            match = _CNI_ID.fullmatch((text or b"").split(b"\n")[0].strip().decode("ascii", "replace"))
            if match is not None:
                yield _of_cni(host, file, match, None, otherwise, "address that CNI gave to it")
    for top in RESULTS:
        for file in host.children(top, "f"):
            cached = host.reader.load(file, "CNI result", parse_cached_result, MAX_JSON)
            match = _CNI_ID.fullmatch(cached.container_id or "") if cached is not None else None
            if match is not None and cached is not None:
                yield _of_cni(host, file, match, cached.pod, otherwise, "result that CNI kept of it")


def _of_cni(host: _Host, file: Place, match: re.Match[str], pod: str | None, otherwise: str, what: str) -> Clue[Container]:
    if match["namespace"] is not None:
        return host.clue(file, match["id"], "cni", what, POSSIBLE, "containerd", namespace=match["namespace"])
    return host.clue(file, match["id"], "cni", what, POSSIBLE, None if pod else otherwise, pod=pod)


def _nerdctl(host: _Host) -> Iterator[Clue[Container]]:
    for store in nerdctl_directories(host.reader, host.tree):
        for part, what in ((b"containers", "nerdctl's directory"), (b"etchosts", "directory of its hosts file")):
            for namespace in host.reader.children(host.reader.child(store, part), "d"):
                for directory in host.below(namespace, "d"):
                    if _ID.fullmatch(directory.name):
                        told = {"namespace": readable(namespace.name)}
                        yield host.clue(directory, directory.name.decode(), "file", what, CERTAIN, "containerd", **told)
        for namespace in host.reader.children(host.reader.child(store, b"names"), "d"):
            for file in host.below(namespace, "f"):
                text = host.reader.load(file, "nerdctl's name", bytes, MAX_TEXT) or b""
                if _ID.fullmatch(text.strip()):
                    told = {"namespace": readable(namespace.name), "name": readable(file.name)}
                    yield host.clue(file, text.strip().decode(), "file", "nerdctl's name", CERTAIN, "containerd", **told)


def _units(host: _Host) -> Iterator[Clue[Container]]:
    for top in UNITS:
        for file in host.children(top, "f"):
            text = host.reader.load(file, "unit", bytes, MAX_TEXT) if file.name.endswith(b".service") else None
            for own in sorted(set(_PODMAN_START.findall(text or b""))):
                yield host.clue(file, own.decode(), "unit", "unit of systemd that starts or stops it", POSSIBLE, "podman")
