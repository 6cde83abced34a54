"""Removed containers and images in deleted files: their paths tell what they were, and that they were the host's.

A file below a layer's directory was a container's own, whatever its name; what is carved from its blocks is no evidence either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from forensics.filesystem import Filesystem
from forensics.filesystems.bulk.reading import Numbers
from forensics.records import Container, ContainerImage, Provenance
from forensics.recovery.carving.carved import spec_record, storage_container
from forensics.recovery.carving.carved_images import image_record
from forensics.recovery.clues import BY_DIRECTORY, CERTAIN, CREATED, POSSIBLE, RANK, STARTED, Clue
from forensics.recovery.containers.container_directories import TASK, log_driver, lost_contents, own_directory, removed_ns
from forensics.recovery.containers.containerd import NO_CONTAINERS
from forensics.recovery.containers.old_records import MOBY
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.small_files import LIMIT, small_content
from forensics.recovery.limits import Limits
from forensics.stores.docker.containers import config_record
from forensics.text import readable
from parsers.container_storage import parse_containers
from parsers.cri import parse_status
from parsers.docker_container import parse_config, parse_hostconfig
from parsers.docker_image import parse_image_config, parse_repositories
from parsers.errors import CtrForensicsError
from parsers.oci_spec import parse_spec

FILE = "file"
MAX_FILES = 500_000  # whose content is read
MAX_HOSTNAME = 255

IN_LAYER = re.compile(rb"(?<!/image)/(?:overlay2?|fuse-overlayfs|aufs/diff|vfs/dir|btrfs/subvolumes|zfs/graph|snapshots)/[^/]+/")
"""The path of what is in a layer's directory: a container's own."""

_ID = rb"(?P<id>[0-9a-f]{64})"
_T = TypeVar("_T")


@dataclass
class DeletedClues:
    """What was found. inside: the byte ranges in each partition's source that deleted files of containers had."""

    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)
    inside: dict[int, tuple[Numbers, Numbers]] = field(default_factory=dict)

    def is_containers_own(self, partition: int, offset: int) -> bool:
        """Whether a byte of a partition's source was part of a deleted file in a layer."""
        starts, ends = self.inside.get(partition, (None, None))
        if starts is None or ends is None:
            return False
        at = int(np.searchsorted(starts, offset, "right")) - 1
        return at >= 0 and offset < int(ends[at])


@dataclass(frozen=True)
class _Context:
    """One deleted file that is looked at."""

    fs: Filesystem
    each: Numbered
    match: re.Match[bytes]
    limits: Limits

    @property
    def id(self) -> str:
        """The container or image that its path names."""
        return self.match["id"].decode()

    @property
    def root(self) -> str:
        """The store's directory, in its partition."""
        return readable(self.match["root"])

    def parsed(self, parse: Callable[[bytes], _T]) -> _T | None:
        """Its content; None where a part of it is lost, it is damaged or too long."""
        file = self.each.file
        if file.size is not None and file.size > LIMIT:
            error = f"{file.size:,} bytes long: no more than {LIMIT:,} are read of a deleted file of an engine's"
            self.limits.cut(error, self.each.partition, readable(file.path or b""))
        try:
            return parse(small_content(self.fs, self.each.file))
        except CtrForensicsError:
            return None

    def source(self) -> Provenance:
        """Where its content began, else where its inode stands."""
        file = self.each.file
        first = next((extent.offset for extent in file.extents or () if extent.offset is not None), None)
        place = self.fs.source.locate(first) if first is not None else None
        offset = file.offset if place is None else place
        return Provenance(self.each.partition, readable(file.path or b""), file.inode, offset, f"deleted file, {file.method}")


def deleted_clues(
    filesystems: Mapping[int, Filesystem], deleted: Iterable[Numbered], limits: Limits | None = None
) -> DeletedClues:
    """Everything that deleted files tell of removed containers and images."""
    found, limits = DeletedClues(), limits or Limits()
    ranges: dict[int, list[tuple[int, int]]] = {}
    named: dict[tuple[int, bytes], list[_Context]] = {}
    read = 0
    for each in deleted:
        path = each.file.path
        if path is None or IN_LAYER.search(path):
            if path is not None or each.file.within is not None:
                ranges.setdefault(each.partition, []).extend(_extents(each))
            continue
        before = len(found.containers) + len(found.images)
        for pattern, look in _LOOKS if read < MAX_FILES else ():
            match = pattern.fullmatch(path)
            if match is not None:
                read += 1
                look(_Context(filesystems[each.partition], each, match, limits), found)
        match = _DIRECTORY.match(path)
        if match is not None and before == len(found.containers) + len(found.images):
            named.setdefault((each.partition, match["id"]), []).append(_Context(filesystems[each.partition], each, match, limits))
    told = {clue.record.container_id for clue in found.containers if clue.record.config or clue.record.hostconfig}
    if read >= MAX_FILES:
        limits.cut(f"more than {MAX_FILES} deleted files of engines: the content of the rest was not read")
    for contexts in named.values():
        _directory(contexts, contexts[0].id in told, found)
    for partition, extents in ranges.items():
        found.inside[partition] = _merged(extents)
    return found


def _extents(each: Numbered) -> Iterator[tuple[int, int]]:
    for extent in each.file.extents or ():
        if extent.offset is not None:
            yield extent.offset, extent.offset + extent.length


def _merged(extents: list[tuple[int, int]]) -> tuple[Numbers, Numbers]:
    """Ranges that overlap as one, ascending."""
    merged: list[list[int]] = []
    for start, end in sorted(extents):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array([start for start, _ in merged], np.int64), np.array([end for _, end in merged], np.int64)


def _config(at: _Context, found: DeletedClues) -> None:
    """containers/<id>/config.v2.json, or what a write of it left."""
    data = at.parsed(bytes)
    config = at.parsed(parse_config)
    if data is None or config is None or config.id != at.id:
        return
    made = replace(config_record(at.root, at.id, config, None), config=data.decode("utf-8", "replace"), source=at.source())
    found.containers.append(_clue(made, at, config.problems))


def _hostconfig(at: _Context, found: DeletedClues) -> None:
    """containers/<id>/hostconfig.json."""
    data = at.parsed(bytes)
    host = at.parsed(parse_hostconfig)
    if data is None or host is None:
        return
    made = replace(config_record(at.root, at.id, None, host), hostconfig=data.decode("utf-8", "replace"), source=at.source())
    found.containers.append(_clue(made, at, host.problems))


def _directory(contexts: list[_Context], told: bool, found: DeletedClues) -> None:
    """A container's directory, or any file in it: its name is the container's id. told: whether a record of it came back."""
    files = [at.each.file for at in contexts]
    own = own_directory(files)
    at = next((at for at in contexts if at.each.file is own), contexts[0])
    cri = at.match["cri"] is not None
    made = Container(
        engine="containerd" if cri else "docker" if at.match["docker"] is not None else "podman",
        namespace="k8s.io" if cri else None,
        container_id=at.id,
        name=None,
        created_ns=own.crtime_ns if own is not None else None,
        removed_ns=removed_ns(own),
        log_driver=log_driver(files),
        source=at.source(),
    )
    lost = "" if told else lost_contents(files)
    if made.source is not None and lost:
        made = replace(made, source=replace(made.source, how=f"{made.source.how}; the content of {lost} is lost"))
    found.containers.append(replace(_clue(made, at), weak=BY_DIRECTORY))


def _storage(at: _Context, found: DeletedClues) -> None:
    """An older containers.json of containers/storage."""
    records, _ = at.parsed(parse_containers) or ((), ())
    for record in records:
        made = storage_container(record, readable(at.match["driver"]))
        found.containers.append(replace(_clue(replace(made, source=at.source()), at), weak=CREATED))


def _userdata(at: _Context, found: DeletedClues) -> None:
    """The OCI spec of a container's last start."""
    spec = at.parsed(parse_spec)
    made = spec_record(spec) if spec is not None else None
    if made is not None and made.container_id == at.id:
        found.containers.append(_clue(replace(made, source=at.source()), at))


def _status(at: _Context, found: DeletedClues) -> None:
    """The CRI plugin's status of a container of Kubernetes'."""
    status = at.parsed(parse_status)
    if status is None:
        return
    made = Container(
        engine="containerd",
        namespace="k8s.io",
        container_id=at.id,
        name=None,
        state=status.state,
        started_ns=status.started_ns,
        finished_ns=status.finished_ns,
        exit_code=status.exit_code if status.finished_ns is not None else None,
        source=at.source(),
    )
    found.containers.append(_clue(made, at, status.problems))


def _pod_log(at: _Context, found: DeletedClues) -> None:
    """The kubelet's link to a container's log: its name is pod, namespace, container and id."""
    container, pod, namespace = (at.match[name].decode("utf-8", "replace") for name in ("container", "pod", "namespace"))
    made = Container("containerd", "k8s.io", at.id, container, pod=f"{namespace}/{pod}", source=at.source())
    found.containers.append(_clue(made, at))


def _task(at: _Context, found: DeletedClues) -> None:
    """The directory of a shim of containerd's, which bears its id: it is made right before each start."""
    namespace, file = at.match["namespace"].decode(), at.each.file
    docker = namespace == MOBY or namespace.startswith(f"{MOBY}-")  # user namespaces have one each
    whole = re.fullmatch("[0-9a-f]{64}", at.id) is not None
    if file.type != "d" or namespace in NO_CONTAINERS or (docker and not whole):
        return
    made = Container(
        engine="docker" if docker else "containerd",
        namespace=None if docker else namespace,
        container_id=at.id,
        name=None if whole else at.id,
        started_ns=file.crtime_ns,
        source=at.source(),
    )
    hint = None if docker else f"containerd:{at.root}"
    found.containers.append(replace(_clue(made, at), store=hint, weak=STARTED))


def _nerdctl(at: _Context, found: DeletedClues) -> None:
    """nerdctl's directory of a container, or anything in it."""
    made = Container("containerd", readable(at.match["namespace"]), at.id, None, source=at.source())
    found.containers.append(replace(_clue(made, at), store=None))


def _nerdctl_name(at: _Context, found: DeletedClues) -> None:
    """A file that has the name of a container, and in it its id."""
    own = at.parsed(bytes)
    if own is not None and re.fullmatch(rb"[0-9a-f]{64}", own.strip()):
        name, namespace = readable(at.match["name"]), readable(at.match["namespace"])
        made = Container("containerd", namespace, own.strip().decode(), name, source=at.source())
        found.containers.append(replace(_clue(made, at), store=None))


def _repositories(at: _Context, found: DeletedClues) -> None:
    """An older repositories.json."""
    names = at.parsed(parse_repositories)
    for image_id, refs in names.refs.items() if names is not None else ():
        if re.fullmatch(r"sha256:[0-9a-f]{64}", image_id):
            made = ContainerImage("docker", None, image_id, refs, None, None, (), source=at.source())
            found.images.append(Clue(made, at.each.file.confidence, FILE, f"docker:{at.root}"))


def _image(at: _Context, found: DeletedClues) -> None:
    """imagedb/content/sha256/<id>: its SHA-256 is its name."""
    data = at.parsed(bytes)
    config = at.parsed(parse_image_config)
    if data is None or config is None or hashlib.sha256(data).hexdigest() != at.id:
        return
    made = image_record(f"sha256:{at.id}", config, data.decode("utf-8", "replace"))
    found.images.append(Clue(replace(made, source=at.source()), CERTAIN, FILE, f"docker:{at.root}"))


def _clue(made: Container, at: _Context, problems: tuple[str, ...] = ()) -> Clue[Container]:
    """As sure as the file is itself; less so where its content is damaged."""
    confidence = max(at.each.file.confidence, POSSIBLE if problems else CERTAIN, key=RANK.__getitem__)
    return Clue(made, confidence, FILE, f"{made.engine}:{at.root}", written_ns=at.each.file.mtime_ns)


_ROOT, _STORE = rb"(?P<root>/.*?)", rb"(?P<driver>[\w-]+)"
_NAME = rb"[A-Za-z0-9][\w.-]{0,127}"
_SPACE = rb"(?P<namespace>[A-Za-z0-9][\w.-]{0,75})"
_CRI = rb"io\.containerd\.(?:grpc\.v1\.cri|cri\.v1\.runtime)"
_LOOKS: tuple[tuple[re.Pattern[bytes], Callable[[_Context, DeletedClues], None]], ...] = (
    (re.compile(_ROOT + rb"/containers/" + _ID + rb"/(?:config\.v2\.json|config\.json|\.tmp-config\.v2\.json\d*)"), _config),
    (re.compile(_ROOT + rb"/containers/" + _ID + rb"/(?:hostconfig\.json|\.tmp-hostconfig\.json\d*)"), _hostconfig),
    (re.compile(_ROOT + rb"/image/" + _STORE + rb"/(?:\.tmp-)?repositories\.json\d*"), _repositories),
    (re.compile(_ROOT + rb"/image/" + _STORE + rb"/imagedb/content/sha256/" + _ID), _image),
    (re.compile(_ROOT + rb"/" + _STORE + rb"-containers/(?:volatile-|\.tmp-)?containers\.json\d*"), _storage),
    (re.compile(_ROOT + rb"/" + _STORE + rb"-containers/" + _ID + rb"/userdata/config\.json"), _userdata),
    (re.compile(_ROOT + rb"/" + _CRI + rb"/containers/" + _ID + rb"/status"), _status),
    (re.compile(_ROOT + TASK), _task),
    (re.compile(_ROOT + rb"/nerdctl/[0-9a-f]{8}/containers/" + _SPACE + rb"/" + _ID), _nerdctl),
    (re.compile(_ROOT + rb"/nerdctl/[0-9a-f]{8}/names/" + _SPACE + rb"/(?P<name>" + _NAME + rb")"), _nerdctl_name),
    (
        re.compile(
            rb"(?P<root>/.*?)/log/containers/(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9.-]+)_(?P<container>[a-z0-9.-]+)-"
            + _ID
            + rb"\.log"
        ),
        _pod_log,
    ),
)
_DIRECTORY = re.compile(
    _ROOT
    + rb"/(?:(?P<cri>"
    + _CRI
    + rb"/(?:containers|sandboxes))|(?P<docker>containers|image/[\w-]+/layerdb/mounts)|[\w-]+-containers)/"
    + _ID
    + rb"(?:/|$)"
)
