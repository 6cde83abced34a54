"""Graphroots of containers/storage in disk images, read as the pipeline reads them."""

import contextlib
from dataclasses import replace

from forensics.evidence import open_disk_image
from forensics.stores.podman.discover import find_graph_roots
from forensics.stores.podman.store import read_graph_root
from forensics.stores.reading import StoreReader
from forensics.survey import survey

CONTENT = ("diff", "work", "merged", "empty")


@contextlib.contextmanager
def graph_roots(image):
    """Every graphroot in a disk image."""
    with open_disk_image(image) as disk:
        reader = StoreReader()
        roots = find_graph_roots(survey(disk), reader)
        assert reader.gaps == []
        yield roots


def read_with(root, fs):
    """What the graphroot tells where another filesystem stands in for its own."""
    return read_graph_root(replace(root, place=replace(root.place, fs=fs), tree=None))


def metadata_files(root):
    """(path in the graphroot, place, type) of every file of metadata, every symlink, every directory of them."""
    reader = StoreReader()
    pending = [((), root.place)]
    while pending:
        path, directory = pending.pop()
        for place in reader.children(directory):
            inside = (*path, place.name.decode("utf-8", "backslashreplace"))
            kind = reader.type(place)
            if inside[0] == "overlay" and inside[2:] and inside[2] in CONTENT:
                continue
            if inside[:2] == ("vfs", "dir") or (inside[0] == "volumes" and inside[2:] == ("_data",)):
                continue
            yield "/".join(inside), place, kind
            if kind == "d":
                pending.append((inside, place))
