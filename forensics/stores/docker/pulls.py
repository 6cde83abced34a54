"""Layers that were pulled or pushed, of images that may be gone: image/<driver>/distribution/v2metadata-by-diffid/sha256/."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.records import Artefact
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_distribution import parse_distribution

MAX_FILE = 1 << 20
MAX_FILES = 50_000


def pulled_layers(reader: StoreReader, image: Place | None) -> Iterator[Artefact]:
    """One artefact for each layer that came from a registry or went to one. image: the directory image/ of a data-root."""
    for driver in reader.children(image, "d"):
        directory = reader.child(driver, b"distribution", b"v2metadata-by-diffid", b"sha256")
        places = reader.children(directory, "f")
        if len(places) > MAX_FILES:
            reader.gap("distribution", f"{len(places)} layers; only {MAX_FILES} were read", directory)
        for place in places[:MAX_FILES]:
            if place.name.startswith(b"."):
                continue
            copies = reader.load(place, "distribution", parse_distribution, MAX_FILE)
            inode = reader.inode(place)
            told = {
                "repositories": " ".join(sorted({each.repository for each in copies or () if each.repository})),
                "digests": " ".join(sorted({each.digest for each in copies or () if each.digest})),
            }
            yield Artefact(
                "docker",
                "pulled layer",
                f"sha256:{readable(place.name)}",
                path=readable(place.path),
                time_ns=inode.mtime_ns if inode is not None else None,
                details={name: text for name, text in told.items() if text},
                source=reader.provenance(place),
            )
