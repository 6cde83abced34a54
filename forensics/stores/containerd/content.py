"""The content store: blobs by digest.

blobs/<algorithm>/<hex>     its digest is its name

Source: containerd v1.2 to v2.2, plugins/content/local/store.go (content/local before 2.0).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from forensics.stores.containerd.meta import MetaDb
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import FormatError

MAX_DOCUMENT = 8 << 20  # bytes of an index, a manifest or a config

_DIGEST = re.compile(r"(sha256|sha384|sha512):[0-9a-f]{64,128}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ContentStore:
    """blobs: by digest. documents: those read so far, None for one that is damaged."""

    blobs: Mapping[str, Place]
    documents: dict[str, bytes | None] = field(default_factory=dict)

    def load(self, reader: StoreReader, digest: str, artefact: str, parse: Callable[[bytes], _T]) -> _T | None:
        """A small blob, parsed; None where it is missing, or damaged: then there is a gap."""
        if digest not in self.documents:
            self.documents[digest] = self._read(reader, digest, artefact)
        data = self.documents[digest]
        if data is None:
            return None
        try:
            return parse(data)
        except FormatError as error:
            reader.gap(artefact, str(error), self.blobs[digest], error.offset)
            return None

    def _read(self, reader: StoreReader, digest: str, artefact: str) -> bytes | None:
        place = self.blobs.get(digest)
        data = reader.load(place, artefact, lambda data: data, MAX_DOCUMENT)
        if data is not None and place is not None:
            algorithm, _, wanted = digest.partition(":")
            if hashlib.new(algorithm, data).hexdigest() != wanted:
                reader.gap(artefact, f"altered: its {algorithm} digest is not its name", place)
        return data


def read_content(reader: StoreReader, content: Place | None, meta: MetaDb) -> ContentStore:
    """The blobs on the disk. What meta.db tells of and is not there, or has another size, is a gap."""
    if content is None:
        return ContentStore({})
    blobs = {}
    for algorithm in reader.children(reader.child(content, b"blobs"), "d"):
        for place in reader.children(algorithm, "f?"):
            digest = f"{readable(algorithm.name)}:{readable(place.name)}"
            if _DIGEST.fullmatch(digest):
                blobs[digest] = place
    for digest, records in sorted(meta.blobs.items()):
        _check(reader, content, digest, {record.size for record in records.values()}, blobs.get(digest))
    return ContentStore(blobs)


def _check(reader: StoreReader, content: Place, digest: str, sizes: set[int | None], place: Place | None) -> None:
    if place is None:
        reader.gap("content blob", f"{digest} is missing; meta.db tells of it", content)
        return
    inode = reader.inode(place)
    if inode is not None and None not in sizes and inode.size not in sizes:
        told = ", ".join(str(size) for size in sorted(size for size in sizes if size is not None))
        reader.gap("content blob", f"{inode.size} bytes long where meta.db tells of {told}", place)
