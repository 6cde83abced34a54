"""What was carved, read by the parsers of the formats: containers and container images of which text is left on the disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from forensics.records import Container, ContainerImage, Provenance
from forensics.recovery.carving.carved_images import ImageDocument, References, image_clues, read_image_document
from forensics.recovery.carving.documents import MAX_TRIES, Document, DocumentReader
from forensics.recovery.carving.scan import ARRAY, OBJECT, SPEC, TAIL, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.clues import CREATED, ENVIRONMENT, POSSIBLE, PROBABLE, Clue
from forensics.recovery.containers.libpod_parts import libpod_record
from forensics.recovery.containers.spec_identity import identity_of, layer_directory
from forensics.recovery.limits import Limits
from forensics.stores.containerd.mounts import spec_mounts, with_own_files
from forensics.stores.docker.containers import config_record
from parsers.container_storage import ContainerRecord, ImageRecord, parse_containers, parse_images
from parsers.docker_container import ContainerConfig, parse_config
from parsers.docker_image import parse_repositories
from parsers.errors import CtrForensicsError, FormatError
from parsers.libpod import parse_container
from parsers.oci_spec import OciSpec, parse_spec

TEXT = "text"
HEAD = 80  # bytes that tell what a document is: an id of 64 digits, and what is before it
MAX_DOCUMENTS = 200_000  # of one volume

_T = TypeVar("_T")
_WHOLE_ID = re.compile(r"[0-9a-f]{64}")
_OWN_PATH = re.compile(r"(/[^\0]*)/containers/([0-9a-f]{64})/")
_TAIL = re.compile(
    rb'"HostsPath":"(?P<root>/[^"\\]{0,900})/containers/(?P<id>[0-9a-f]{64})/hosts","LogPath":"[^"]{0,1000}",'
    rb'"Name":"/(?P<name>[a-zA-Z0-9][a-zA-Z0-9_.-]{0,250})"'
)
_LIBPOD = b'{"spec":'
_HOSTNAME = re.compile(r"HOSTNAME=([0-9a-f]{12})")
_CONFIG = re.compile(rb'\{"(?:StreamConfig|State|ID)":')
_REPOSITORIES = re.compile(rb'\{"Repositories":')
NO_REFERENCES = References()
_IMAGE = re.compile(
    rb'\{\s*"(?:annotations|architecture|author|comment|config|container|created|docker_version|history|id|layers|manifests|'
    rb'mediaType|moby\.buildkit|os|rootfs|schemaVersion|variant)"'
)
_BROKEN_SPEC = re.compile(rb'\{\s+"ociVersion":')  # one without line breaks is found wherever it stands
_STORAGE = re.compile(rb'\[\{"id":"[0-9a-f]{64}"')


@dataclass
class Carved:
    """What was found, and counts of what was tried by kind, and of what could not be used.

    used: the blocks of documents that were read whole, by partition and number.
    """

    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    used: set[tuple[int, int]] = field(default_factory=set)

    def count(self, kind: str, used: bool) -> None:
        """One more of a kind was tried."""
        self.tried[kind] = self.tried.get(kind, 0) + 1
        if not used:
            self.lost[kind] = self.lost.get(kind, 0) + 1


@dataclass
class _Volume:
    space: Space
    reader: DocumentReader
    found: Carved
    documents: list[ImageDocument]
    references: References
    used: set[int] = field(default_factory=set)

    def use(self, document: Document) -> None:
        """A document that was read to its end."""
        if document.whole:
            self.found.used |= {(self.space.partition, offset // self.space.block_size) for offset in document.blocks}

    def source(self, offset: int, more: str = "") -> Provenance:
        """Where a document was found."""
        how = self.space.how_at(offset) + more
        return Provenance(self.space.partition, "", None, self.space.source.locate(offset), how)


def carved_clues(
    hits: Sequence[Hits],
    is_containers_own: Callable[[int, int], bool] = lambda partition, offset: False,
    references: References = NO_REFERENCES,
    limits: Limits | None = None,
) -> Carved:
    """Everything that the hits turn out to be. is_containers_own: whether a byte of a partition was in a file of a container."""
    found, limits = Carved(), limits or Limits()
    documents: list[ImageDocument] = []
    for each in hits:
        volume = _Volume(each.space, DocumentReader(each.space, each.texts), found, documents, references)
        for kinds, look in (((OBJECT, ARRAY), _document), ((SPEC,), _spec), ((TAIL,), _tail)):
            offsets = (offset for kind in kinds for offset in each.of(kind))
            for offset in limits.first(offsets, MAX_DOCUMENTS, "places where a document may stand", each.space.partition):
                if not is_containers_own(each.space.partition, offset):
                    look(volume, offset)
        if volume.reader.tries > MAX_TRIES:
            limits.cut(
                f"more than {MAX_TRIES} blocks tried as parts of documents: no more of those were put together",
                each.space.partition,
            )
    found.images += image_clues(documents, references)
    return found


def _document(volume: _Volume, offset: int) -> None:
    """A document at the start of a block, where its first words are those of one that is looked for."""
    head = _read(volume.space, offset, HEAD)
    readers: tuple[tuple[re.Pattern[bytes], Callable[[_Volume, int], None]], ...] = (
        (_CONFIG, _config),
        (_STORAGE, _storage),
        (_REPOSITORIES, _repositories),
        (_IMAGE, _image),
        (_BROKEN_SPEC, _spec),
    )
    for pattern, read in readers:
        if pattern.match(head):
            read(volume, offset)
            return


def _config(volume: _Volume, offset: int) -> None:
    """config.v2.json of a container of Docker's."""
    document = volume.reader.read(offset, _config_fits)
    config = _parsed(parse_config, document)
    own = config.id if config is not None else None
    usable = document is not None and config is not None and own is not None and _WHOLE_ID.fullmatch(own) is not None
    usable = usable and config is not None and (config.path is not None or config.created_ns is not None)
    volume.found.count("config.v2.json", usable)
    if document is None or config is None or own is None or not usable:
        return
    volume.used.update(document.blocks)
    root = _root(config)
    made = config_record(root or "/var/lib/docker", own, config, None)
    proven = len(document.blocks) == 1 or (not document.pieced and root is not None)
    confidence = PROBABLE if document.whole and document.clean and proven else POSSIBLE
    text = document.text.decode("utf-8", "replace") if document.whole else None
    made = replace(made, config=text, source=volume.source(offset, _manner(document)))
    volume.found.containers.append(Clue(made, confidence, TEXT, _store("docker", root)))


def _config_fits(text: bytes) -> bool:
    """Whether the paths in it are those of the container that it names."""
    try:
        config = parse_config(text)
    except FormatError:
        return False
    paths = (config.log_path, config.hostname_path, config.hosts_path, config.resolv_conf_path)
    ids = {match[2] for path in paths if path is not None and (match := _OWN_PATH.match(path)) is not None}
    return config.id is not None and not config.problems and ids <= {config.id}


def _root(config: ContainerConfig) -> str | None:
    """The data-root that a config's own paths lie in."""
    for path in (config.hosts_path, config.hostname_path, config.resolv_conf_path, config.log_path):
        match = _OWN_PATH.match(path or "")
        if match is not None and match[2] == config.id:
            return match[1]
    return None


def _storage(volume: _Volume, offset: int) -> None:
    """containers.json or images.json of containers/storage."""
    document = volume.reader.read(offset, _storage_fits)
    if document is None:
        return
    volume.use(document)
    more = _manner(document)
    confidence = PROBABLE if document.whole and not document.pieced else POSSIBLE
    containers, _ = _parsed(parse_containers, document) or ((), ())
    images, _ = _parsed(parse_images, document) or ((), ())
    known = 0
    for record in containers:
        if not is_a_containers_record(record):
            continue
        known += 1
        made = replace(storage_container(record, "overlay"), source=volume.source(offset, more))
        volume.found.containers.append(Clue(made, confidence, TEXT, "podman", CREATED))
    for image in images:
        if image.digest is None or image.layer is None:
            continue
        known += 1
        known_image = ContainerImage("podman", None, image.id, image.names, image.created_ns, None, ())
        known_image = replace(known_image, top=f"overlay/{image.layer}", source=volume.source(offset, more))
        volume.found.images.append(Clue(known_image, confidence, TEXT, "podman"))
    if known or b'"layer":"' in document.text:  # layers.json begins alike, and makes neither
        volume.found.count("containers/storage JSON", known > 0)


def is_a_containers_record(record: ContainerRecord) -> bool:
    """Whether it is one of containers.json: layers have no metadata, and that of images has no name."""
    metadata = record.metadata
    return record.layer is not None and metadata is not None and metadata.name is not None


def _storage_fits(text: bytes) -> bool:
    """Whether it is one version of the list: in a mixture of two, records are there twice."""
    for parse in (parse_containers, parse_images):
        try:
            records, problems = parse(text)
        except FormatError:
            return False
        if not problems and len({record.id for record in records}) == len(records):
            return all(map(_agrees, records))
    return False


def _agrees(record: ContainerRecord | ImageRecord) -> bool:
    """Whether the two places in a record that have the container's name have the same one."""
    metadata = record.metadata if isinstance(record, ContainerRecord) else None
    return metadata is None or metadata.name is None or not record.names or metadata.name in record.names


def _repositories_fit(text: bytes) -> bool:
    try:
        return not parse_repositories(text).problems
    except FormatError:
        return False


def storage_container(record: ContainerRecord, driver: str) -> Container:
    """A container as its record in containers.json tells of it."""
    metadata = record.metadata
    return Container(
        engine="crio" if metadata is not None and metadata.pod_name is not None else "podman",
        namespace=None,
        container_id=record.id,
        name=record.names[0] if record.names else metadata.name if metadata is not None else None,
        image=metadata.image_name if metadata is not None else None,
        image_id=record.image,
        created_ns=record.created_ns,
        layer=f"{driver}/{record.layer}" if record.layer is not None else None,
    )


def _repositories(volume: _Volume, offset: int) -> None:
    """repositories.json: the names that images had."""
    document = volume.reader.read(offset, _repositories_fit)
    names = _parsed(parse_repositories, document) if document is not None and document.whole else None
    volume.found.count("repositories.json", names is not None)
    if document is None or names is None:
        return
    for image_id, refs in names.refs.items():
        if re.fullmatch(r"sha256:[0-9a-f]{64}", image_id):
            made = ContainerImage("docker", None, image_id, refs, None, None, (), source=volume.source(offset))
            volume.found.images.append(Clue(made, POSSIBLE if document.pieced else PROBABLE, TEXT, "docker"))


def _image(volume: _Volume, offset: int) -> None:
    """A container image's config, manifest or index; in several blocks, the one of which a record has the digest, if any."""
    document = volume.reader.read(offset, volume.references.know)
    if document is None or not document.whole:
        document = volume.reader.read(offset, lambda text: True)
    told = read_image_document(document) if document is not None and document.whole else None
    if told is None or document is None:
        return  # other programs' documents begin alike
    volume.found.count(told.kind, True)
    volume.documents.append(replace(told, source=volume.source(offset, _manner(document))))


def _spec(volume: _Volume, offset: int) -> None:
    """An OCI runtime spec, wherever it stands; libpod's config of a container begins with one."""
    start = offset - len(_LIBPOD)
    if _read(volume.space, start, len(_LIBPOD)) == _LIBPOD and volume.space.run(start) is not None:
        document = volume.reader.read(start, _libpod_fits)
        told = _parsed(parse_container, document) if document is not None and document.whole else None
        if told is not None and document is not None and told.id is not None and _WHOLE_ID.fullmatch(told.id):
            volume.found.count("libpod config", True)
            volume.use(document)
            made = replace(libpod_record(told), source=volume.source(start, _manner(document)))
            confidence = POSSIBLE if document.pieced else PROBABLE
            volume.found.containers.append(Clue(made, confidence, TEXT, "podman", ENVIRONMENT))
            return
    document = volume.reader.read(offset, _spec_fits)
    spec = _parsed(parse_spec, document) if document is not None and document.whole else None
    record = spec_record(spec) if spec is not None else None
    volume.found.count("OCI spec", record is not None)
    if record is not None and document is not None:
        record = replace(record, source=volume.source(offset, _manner(document)))
        confidence, weak = POSSIBLE if document.pieced else PROBABLE, ENVIRONMENT if record.engine == "docker" else frozenset()
        volume.found.containers.append(Clue(record, confidence, TEXT, record.engine, weak))


def _spec_fits(text: bytes) -> bool:
    """Whether all that tells of the container in it tells of one; the host name that engines make of its id, too."""
    try:
        spec = parse_spec(text)
    except FormatError:
        return False
    own = identity_of(spec)
    names = {match[1] for each in spec.env or () if (match := _HOSTNAME.fullmatch(each)) is not None}
    return own is not None and all(own.id.startswith(name) for name in names)


def _libpod_fits(text: bytes) -> bool:
    """Whether its spec is that of the container that it names."""
    try:
        config = parse_container(text)
    except FormatError:
        return False
    own = identity_of(config.spec) if config.spec is not None else None
    return config.id is not None and (own is None or own.id == config.id) and not config.problems


def spec_record(spec: OciSpec) -> Container | None:
    """A container as its spec alone tells of it; None where the spec does not tell whose it is."""
    own = identity_of(spec)
    if own is None:
        return None
    annotations = spec.annotations
    pod_name, pod_namespace = (annotations.get(f"io.kubernetes.cri.sandbox-{part}") for part in ("name", "namespace"))
    whole = _WHOLE_ID.fullmatch(own.id) is not None
    return Container(
        engine=own.engine,
        namespace=own.namespace,
        container_id=own.id,
        name=annotations.get("io.kubernetes.cri.container-name") or (None if whole else own.id),
        image=annotations.get("io.kubernetes.cri.image-name"),
        command=spec.args,
        env=spec.env,
        pod=f"{pod_namespace}/{pod_name}" if pod_name and pod_namespace else None,
        privileged=spec.privileged,
        hostname=spec.hostname,
        working_dir=spec.cwd,
        layer=layer_directory(spec),
        mounts=with_own_files(spec_mounts(spec, {}), own.id),
    )


def _tail(volume: _Volume, offset: int) -> None:
    """The end of a config.v2.json whose beginning is gone: the container's id and its name."""
    size = volume.space.block_size
    block = offset // size * size
    if block in volume.used:
        return
    match = _TAIL.match(_read(volume.space, offset, 4096))
    volume.found.count("end of a config.v2.json", match is not None)
    if match is not None:
        source = volume.source(offset, ", a part of config.v2.json")
        made = Container("docker", None, match["id"].decode(), match["name"].decode(), source=source)
        store = _store("docker", match["root"].decode("utf-8", "replace"))
        volume.found.containers.append(Clue(made, POSSIBLE, TEXT, store))


def _parsed(parse: Callable[[bytes], _T], document: Document | None) -> _T | None:
    """A document's content; None where it is no such document."""
    try:
        return parse(document.text) if document is not None else None
    except FormatError:
        return None


def _manner(document: Document) -> str:
    """What else there is to say of how a document was put together."""
    if not document.whole:
        return ", the first block of it"
    return ", put together from blocks that are not neighbours" if document.pieced else ""


def _store(engine: str, root: str | None) -> str:
    return f"{engine}:{root}" if root is not None else engine


def _read(space: Space, offset: int, size: int) -> bytes:
    try:
        return space.source.read(offset, size) if offset >= 0 else b""
    except CtrForensicsError:
        return b""
