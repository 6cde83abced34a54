"""The content store: blobs by digest.

blobs/<algorithm>/<hex>     its digest is its name

Source: containerd v1.2 to v2.2, plugins/content/local/store.go (content/local before 2.0).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from forensics.stores.containerd.meta import MetaDb
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import FormatError

MAX_DOCUMENT = 8 << 20  # bytes of an index, a manifest or a config
MAX_VERIFIED = 128 << 20  # bytes of blobs that are held against their digests, the smallest first
CHUNK = 4 << 20

_DIGEST = re.compile(r"(sha256|sha384|sha512):[0-9a-f]{64,128}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ContentStore:
    """blobs: by digest. checked: digests that were held against the content. documents: read so far, None for a damaged one."""

    blobs: Mapping[str, Place]
    checked: frozenset[str] = frozenset()
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
        if data is not None and place is not None and digest not in self.checked:
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
    return ContentStore(blobs, frozenset(_verify(reader, blobs)))


def _verify(reader: StoreReader, blobs: Mapping[str, Place]) -> Iterator[str]:
    """Hold blobs against their digests, as many as are read in no time; one that was altered is a gap."""
    sizes = {digest: inode.size for digest, place in blobs.items() if (inode := reader.inode(place)) is not None}
    left = MAX_VERIFIED
    for digest, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        left -= size
        if left < 0:
            break
        place = blobs[digest]
        algorithm, _, wanted = digest.partition(":")
        digester = hashlib.new(algorithm)
        try:
            for start in range(0, size, CHUNK):
                digester.update(place.fs.read(place.inode, start, min(CHUNK, size - start)))
        except FormatError as error:
            reader.gap("content blob", str(error), place, error.offset)
            continue
        if digester.hexdigest() != wanted:
            reader.gap("content blob", f"altered: its {algorithm} digest is not its name", place)
        yield digest


def _check(reader: StoreReader, content: Place, digest: str, sizes: set[int | None], place: Place | None) -> None:
    if place is None:
        reader.gap("content blob", f"{digest} is missing; meta.db tells of it", content)
        return
    inode = reader.inode(place)
    if inode is not None and None not in sizes and inode.size not in sizes:
        told = ", ".join(str(size) for size in sorted(size for size in sizes if size is not None))
        reader.gap("content blob", f"{inode.size} bytes long where meta.db tells of {told}", place)
