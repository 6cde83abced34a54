"""Every store of every engine, found and read. A new engine is one module and one line here."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.records import StoreContents
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import StoreReader
from forensics.survey import Survey


def read_stores(found: Survey, reader: StoreReader) -> Iterator[StoreContents]:
    """The stores on a disk image, one engine after another; `reader` hears what could not be read while they were sought."""
    for root in find_docker_roots(found, reader):
        yield read_docker(root)
