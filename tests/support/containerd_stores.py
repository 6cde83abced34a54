"""containerd's data directories in disk images and in memory, read as the pipeline reads them."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

from forensics.evidence import open_disk_image
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.store import containerd_contents, read_containerd
from forensics.stores.docker.containerd_images import claim_namespaces
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import StoreReader
from forensics.survey import survey

OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs"
META = "io.containerd.metadata.v1.bolt"
PARTS = ("containers", "layers", "images", "volumes", "gaps")


@contextlib.contextmanager
def containerd_root(image):
    """The one data directory in a disk image, and Docker's data-roots beside it."""
    with open_disk_image(image) as disk:
        found, reader = survey(disk), StoreReader()
        (root,) = find_containerd_roots(found, reader)
        assert reader.gaps == []
        yield root, find_docker_roots(found, reader)


def read_all(root, docker_roots=(), fs=None):
    """What a containerd and the Dockers that use it tell together; fs: another filesystem that stands in for its own."""
    if fs is not None:
        root = replace(root, place=replace(root.place, fs=fs), tree=None)
    store = read_containerd(root)
    claimed = claim_namespaces(StoreReader(), docker_roots, [store])
    told = [read_docker(each, claimed.get((each.place.partition, each.place.inode))) for each in docker_roots]
    told.append(containerd_contents(store, {space.namespace for space in claimed.values()}))
    return SimpleNamespace(**{part: [each for contents in told for each in getattr(contents, part)] for part in PARTS})


def metadata_files(root):
    """(path in the data directory, place, type) of everything but the layers' own content."""
    reader = StoreReader()
    pending = [((), root.place)]
    while pending:
        path, directory = pending.pop()
        for place in reader.children(directory):
            inside = (*path, place.name.decode("utf-8", "backslashreplace"))
            kind = reader.type(place)
            if "snapshots" in path:
                continue
            yield "/".join(inside), place, kind
            if kind == "d":
                pending.append((inside, place))
