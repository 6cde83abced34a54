"""Docker's data-roots in disk images, read as the pipeline reads them."""

import contextlib
from dataclasses import replace

from forensics.evidence import open_disk_image
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import StoreReader
from forensics.survey import survey


@contextlib.contextmanager
def docker_root(image):
    """The one data-root in a disk image."""
    with open_disk_image(image) as disk:
        reader = StoreReader()
        (root,) = find_docker_roots(survey(disk), reader)
        assert reader.gaps == []
        yield root


def read_with(root, fs):
    """What the data-root tells where another filesystem stands in for its own."""
    return read_docker(replace(root, place=replace(root.place, fs=fs), tree=None))


def stack(contents, key):
    """The names of a layer and all below it, as far as they lead."""
    layers = {layer.key: layer for layer in contents.layers}
    names = []
    while key is not None and len(names) <= len(layers):
        names.append(layers[key].name if key in layers else f"? {key}")
        key = layers[key].lower if key in layers else None
    return names


def metadata_files(root):
    """(path in the data-root, place, type) of every file of metadata, every symlink, every directory of them."""
    reader = StoreReader()
    pending = [((), root.place)]
    while pending:
        path, directory = pending.pop()
        for place in reader.children(directory):
            inside = (*path, place.name.decode("utf-8", "backslashreplace"))
            kind = reader.type(place)
            content = inside[0] == "overlay2" and inside[2:] in (("diff",), ("work",), ("merged",))
            content |= inside[0] == "volumes" and inside[2:] == ("_data",)
            if content or inside[0] in ("buildkit", "tmp", "plugins", "swarm", "runtimes"):
                continue
            yield "/".join(inside), place, kind
            if kind == "d":
                pending.append((inside, place))
