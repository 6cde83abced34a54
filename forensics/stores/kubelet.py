"""What a kubelet has on the disk: its pods' volumes, and the manifests of its static pods.

<root>/pods/<uid>/{volumes/<plugin with / as ~>/<volume>,containers/<name>,etc-hosts}
<manifests>/*.yaml

Where they are, its command line and its config may say.

Source: kubernetes v1.20 to v1.34, pkg/kubelet/kubelet_getters.go, pkg/kubelet/config/{defaults,file_linux}.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.records import Artefact, Container, Store, StoreContents, Volume
from forensics.stores.host_tree import HostTree, host_trees, resolve_or_none
from forensics.stores.rancher import data_directories
from forensics.stores.reading import Place, StoreReader
from forensics.stores.services import option_lines, service_commands
from forensics.stores.shape import directories_with
from forensics.survey import Survey
from forensics.text import readable
from parsers.kubelet import PROGRAM, KubeletOptions, kubelet_options, static_pod_path
from parsers.systemd_unit import split_words

ROOTS = (b"/var/lib/kubelet", b"/var/snap/microk8s/common/var/lib/kubelet", b"/var/lib/rancher/k3s/agent/kubelet",
         b"/var/lib/k0s/kubelet")  # fmt: skip
MANIFESTS = (b"/etc/kubernetes/manifests", b"/etc/kubelet.d")
CONFIGS = (
    b"/etc/kubernetes/kubelet-config.yaml",
    b"/etc/kubernetes/kubelet/kubelet-config.json",
    b"/etc/kubernetes/kubelet/config.json",
)
OPTION_FILES = (b"/var/lib/kubelet/kubeadm-flags.env", b"/etc/default/kubelet", b"/etc/sysconfig/kubelet", b"/etc/conf.d/kubelet")
MICROK8S = b"/var/snap/microk8s/current/args/kubelet"
OWN_DIRECTORIES = frozenset((b"plugins", b"plugins_registry", b"pod-resources", b"device-plugins", b"checkpoints"))
POD_UID = "io.kubernetes.pod.uid"
MAX_MANIFEST = 1 << 20
MAX_FILES = 100

_IMAGE = re.compile(r"^[ \t-]*[\"']?image[\"']?[ \t]*:[ \t]*[\"']?([^\s\"',]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KubeletRoot:
    """A kubelet's directory, None where only static pods are known. manifests: directories of static pods."""

    partition: int
    place: Place | None
    host_path: bytes | None
    manifests: tuple[Place, ...]


def find_kubelets(survey: Survey, reader: StoreReader) -> tuple[KubeletRoot, ...]:
    """Every kubelet of the hosts on the disk, and directories that look like one's."""
    roots: dict[tuple[int, int], KubeletRoot] = {}
    trees = host_trees(survey)
    for tree in trees:
        told = _command_lines(reader, tree)
        own = dict.fromkeys([*(each.root.encode() for each in told if each.root is not None), *ROOTS])
        places = [(path, place) for path in own if (place := resolve_or_none(tree, path)) is not None]
        places = [(path, place) for path, place in places if reader.child(place, b"pods") is not None]
        manifests = _manifests(reader, tree, [path for path, _ in places], told)
        if manifests and not places:
            roots[manifests[0].partition, 0] = KubeletRoot(manifests[0].partition, None, None, manifests)
        for path, place in places:
            roots.setdefault((place.partition, place.inode), KubeletRoot(place.partition, place, path, manifests))
            manifests = ()
    for partition in survey.partitions:
        if partition.filesystem is not None:
            for place in directories_with(partition.volume.number, partition.filesystem, b"pods".__eq__, _has_shape):
                on_host = next((found for tree in trees if (found := tree.host_path(place)) is not None), None)
                roots.setdefault((place.partition, place.inode), KubeletRoot(place.partition, place, on_host, ()))
    return tuple(roots[key] for key in sorted(roots))


def read_kubelet(root: KubeletRoot, containers: Sequence[Container]) -> StoreContents:
    """The volumes and static pods of a kubelet. containers: of every engine, for what uses the volumes."""
    reader = StoreReader()
    path = readable(root.host_path) if root.host_path is not None else readable(root.place.path) if root.place else ""
    pods = reader.children(reader.child(root.place, b"pods") if root.place is not None else None, "d")
    names = {each.labels[POD_UID]: each.pod for each in containers if each.labels and POD_UID in each.labels and each.pod}
    volumes = tuple(volume for pod in pods for volume in _volumes(reader, f"{path}/pods", pod, containers))
    artefacts = (*(_pod(reader, f"{path}/pods", pod, names) for pod in pods), *_static_pods(reader, root))
    return StoreContents(
        store=Store(
            key=f"kubernetes:p{root.partition}:{path}",
            engine="kubernetes",
            root=path,
            driver=None,
            version=None,
            partition=root.partition,
        ),
        volumes=volumes,
        artefacts=artefacts,
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )


def _has_shape(names: Mapping[bytes, int]) -> bool:
    return b"pods" in names and len(OWN_DIRECTORIES & names.keys()) > 1


def _command_lines(reader: StoreReader, tree: HostTree) -> list[KubeletOptions]:
    lines = [*service_commands(reader, tree, PROGRAM, "kubelet"), *option_lines(reader, tree, OPTION_FILES, "kubelet's options")]
    arguments = reader.load(resolve_or_none(tree, MICROK8S), "kubelet's arguments", lambda data: data, MAX_MANIFEST)
    words = split_words((arguments or b"").decode("utf-8", "backslashreplace"))
    return [kubelet_options(argv) for argv in (*(words for words, _ in lines), words)]


def _manifests(
    reader: StoreReader, tree: HostTree, kubelets: Sequence[bytes], told: Sequence[KubeletOptions]
) -> tuple[Place, ...]:
    """The directories, or files, of static pods: those of a command line, of every config, and the usual ones."""
    paths = [*MANIFESTS, *(data + b"/agent/pod-manifests" for data in data_directories(reader, tree))]
    paths += [each.manifests.encode() for each in told if each.manifests is not None]
    configs = [each.config.encode() for each in told if each.config is not None]
    configs += [*(kubelet + b"/config.yaml" for kubelet in kubelets), *CONFIGS]
    for config in dict.fromkeys(configs):
        path = reader.load(resolve_or_none(tree, config), "kubelet's config", static_pod_path, MAX_MANIFEST)
        if path is not None:
            paths.append(path)
    places = (resolve_or_none(tree, path) for path in dict.fromkeys(paths))
    return tuple({(place.partition, place.inode): place for place in places if place is not None}.values())


def _volumes(reader: StoreReader, base: str, pod: Place, containers: Sequence[Container]) -> Iterator[Volume]:
    uid = readable(pod.name)
    for plugin in reader.children(reader.child(pod, b"volumes"), "d"):
        for place in reader.children(plugin, "dl"):
            path = f"{base}/{uid}/volumes/{readable(plugin.name)}/{readable(place.name)}"
            used = {
                each.container_id
                for each in containers
                if any(mount.source == path or (mount.source or "").startswith(path + "/") for mount in each.mounts)
            }
            inode = reader.inode(place)
            yield Volume(
                engine="kubernetes",
                name=f"{uid}/{readable(place.name)}",
                driver=readable(plugin.name).replace("~", "/"),
                path=path,
                used_by=tuple(sorted(used)),
                created_ns=inode.crtime_ns if inode is not None else None,
                source=reader.provenance(place),
            )


def _pod(reader: StoreReader, base: str, pod: Place, names: Mapping[str, str]) -> Artefact:
    """A pod's directory: the pod was not deleted yet."""
    uid = readable(pod.name)
    namespace, _, name = names.get(uid, "").partition("/")
    inode = reader.inode(pod)
    containers = [readable(each.name) for each in reader.children(reader.child(pod, b"containers"), "d")]
    details = {"uid": uid, "containers": " ".join(containers)}
    created = inode.crtime_ns if inode is not None else None
    return Artefact(
        "kubernetes", "pod", name or uid, namespace or None, f"{base}/{uid}", created, details, source=reader.provenance(pod)
    )


def _static_pods(reader: StoreReader, root: KubeletRoot) -> Iterator[Artefact]:
    for directory in root.manifests:
        for place in reader.children(directory, "f", MAX_FILES) if reader.type(directory) == "d" else (directory,):
            text = reader.load(place, "static pod", lambda data: data.decode("utf-8", "replace"), MAX_MANIFEST)
            if text is None or place.name.startswith(b"."):
                continue
            inode = reader.inode(place)
            details = {"images": " ".join(dict.fromkeys(_IMAGE.findall(text))), "manifest": text}
            written = inode.mtime_ns if inode is not None else None
            name = readable(place.name)
            source = reader.provenance(place)
            yield Artefact("kubernetes", "static pod", name, None, readable(place.path), written, details, source=source)
