"""Container images of which documents were carved: indexes, manifests and configs, held together by their digests.

A document's SHA-256 is its name. So one whose digest a record of an engine has is that very document, to the last byte; one that
another carved document names was of the same image. A manifest tells no name: a record that has its digest does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forensics.records import Container, ContainerImage, HistoryStep, Provenance
from forensics.recovery.carving.documents import Document
from forensics.recovery.clues import CERTAIN, POSSIBLE, PROBABLE, RANK, Clue
from parsers.docker_image import ImageConfig, parse_image_config
from parsers.errors import FormatError
from parsers.oci_image import Index, Manifest, parse_index_or_manifest

TEXT = "text"
CONFIG, MANIFEST, INDEX = "container image config", "container image manifest", "container image index"
MAX_TELLING = 16  # records that one digest is looked up for


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """A carved document of a container image. digests: its own; written with a line break at its end, it has the second."""

    kind: str
    content: ImageConfig | Manifest | Index
    text: str
    digests: tuple[str, str]
    pieced: bool
    source: Provenance | None = None


@dataclass
class References:
    """The digests that engines' records have of images, each with the engine and namespace, and how sure the surest of these is.

    parts: digests of blobs that a content store has.
    """

    known: dict[str, dict[tuple[str, str | None], str]] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)

    def add(self, digest: str | None, engine: str, namespace: str | None, confidence: str) -> None:
        """One more record that has a digest."""
        if digest is not None and digest.startswith("sha256:"):
            told = self.known.setdefault(digest, {})
            if len(told) < MAX_TELLING or (engine, namespace) in told:
                best = min(told.get((engine, namespace), confidence), confidence, key=RANK.__getitem__)
                told[engine, namespace] = best

    def know(self, text: bytes) -> bool:
        """Whether a document has one of these digests."""
        digests = (_digest(text), _digest(text + b"\n"))
        return any(digest in self.known or digest in self.parts for digest in digests)

    def add_records(self, records: Iterable[Container | ContainerImage], confidence: str = CERTAIN) -> None:
        """Those that some records have."""
        for each in records:
            self.add(each.image_id, each.engine, each.namespace, confidence)

    def add_clues(self, clues: Iterable[Clue[Container]] | Iterable[Clue[ContainerImage]]) -> None:
        """Those that some sources have."""
        for clue in clues:
            self.add_records([clue.record], clue.confidence)


def read_image_document(document: Document) -> ImageDocument | None:
    """A document as what it is of a container image; None where it is none of one."""
    content = _config(document.text) or _manifest(document.text)
    if content is None:
        return None
    kind = CONFIG if isinstance(content, ImageConfig) else INDEX if isinstance(content, Index) else MANIFEST
    digests = (_digest(document.text), _digest(document.text + b"\n"))
    return ImageDocument(kind, content, document.text.decode("utf-8", "replace"), digests, document.pieced)


def image_clues(documents: Sequence[ImageDocument], references: References) -> Iterator[Clue[ContainerImage]]:
    """The container images that carved documents tell of, in the order of the documents.

    A config is an image of Docker's, a manifest one of containerd's, but where a record tells of which engine's; an index is one
    only where a record has its digest: else it is a list that came with an archive. What a record or a carved manifest names as a
    part of an image is none of its own.
    """
    by_digest = {digest: each for each in documents for digest in each.digests}
    parts, listed = references.parts.copy(), dict[str, tuple[str, ...]]()
    for each in documents:
        if isinstance(each.content, Index) and not any(digest in references.known for digest in each.digests):
            listed |= {one.digest: _called(one.annotations) for one in each.content.manifests}
        else:
            parts.update(_names(each))
    for each in documents:
        told = (references.known, parts, listed)
        own = next((digest for digest in each.digests if any(digest in known for known in told)), each.digests[0])
        homes = {
            home: sure for home, sure in references.known.get(own, {}).items() if each.kind != CONFIG or home[0] != "containerd"
        }
        for (engine, namespace), sure in sorted(homes.items(), key=str):
            made = _image(each, own, by_digest, engine, namespace)
            yield _clue(each, made, CERTAIN if sure == CERTAIN else PROBABLE)
        if not homes and own not in parts and own not in references.known and each.kind != INDEX:
            made = _image(each, own, by_digest, "docker" if each.kind == CONFIG else "containerd", None)
            yield _clue(each, replace(made, refs=listed.get(own, ())), PROBABLE if own in listed else POSSIBLE)


def _clue(document: ImageDocument, made: ContainerImage, confidence: str) -> Clue[ContainerImage]:
    store = "image" if made.engine == "docker" else made.engine
    return Clue(replace(made, source=document.source), confidence, TEXT, store)


def _called(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """What an index calls the image of one of its manifests."""
    names = (annotations.get("io.containerd.image.name"), annotations.get("org.opencontainers.image.ref.name"))
    return tuple(name for name in names if name)[:1]


def image_record(image_id: str, config: ImageConfig, text: str) -> ContainerImage:
    """A container image of Docker's as its config tells of it."""
    return ContainerImage(
        engine="docker",
        namespace=None,
        image_id=image_id,
        refs=(),
        created_ns=config.created_ns,
        size_bytes=None,
        layers=config.diff_ids,
        architecture=config.architecture,
        os=config.os,
        history=tuple(
            HistoryStep(step.created_ns, step.created_by, step.comment, step.author, step.empty_layer) for step in config.history
        ),
        labels=config.labels,
        config=text,
    )


def _image(
    document: ImageDocument, digest: str, by_digest: Mapping[str, ImageDocument], engine: str, namespace: str | None
) -> ContainerImage:
    """What a document and those that it leads to tell of an image."""
    manifest, size = document, None
    if isinstance(document.content, Index):
        below = (by_digest[each.digest] for each in document.content.manifests if each.digest in by_digest)
        manifest = next((each for each in below if isinstance(each.content, Manifest)), document)
    config = manifest
    if isinstance(manifest.content, Manifest) and manifest.content.config is not None:
        config = by_digest.get(manifest.content.config.digest, manifest)
        sizes = [each.size for each in (manifest.content.config, *manifest.content.layers)]
        own = {each.digests: len(each.text.encode()) for each in (document, manifest)}
        size = sum(each or 0 for each in sizes) + sum(own.values()) if None not in sizes else None
    if isinstance(config.content, ImageConfig):
        made = image_record(digest, config.content, config.text)
    else:
        made = ContainerImage("docker", None, digest, (), None, None, (), config=None)
    return replace(made, engine=engine, namespace=namespace, size_bytes=size)


def _names(document: ImageDocument) -> Iterator[str]:
    """The digests that a document leads to, but for layers."""
    if isinstance(document.content, Index):
        yield from (each.digest for each in document.content.manifests)
    elif isinstance(document.content, Manifest) and document.content.config is not None:
        yield document.content.config.digest


def _config(text: bytes) -> ImageConfig | None:
    try:
        config = parse_image_config(text)
    except FormatError:
        return None
    return config if config.diff_ids and config.os is not None else None


def _manifest(text: bytes) -> Manifest | Index | None:
    """A manifest with a config and layers, or an index with manifests; other programs' documents have these names, too."""
    try:
        found = parse_index_or_manifest(text)
    except FormatError:
        return None
    if isinstance(found, Index):
        return found if found.manifests and not found.problems else None
    return found if found.config is not None and found.layers and not found.problems else None


def _digest(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
