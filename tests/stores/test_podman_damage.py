"""Any one file or directory of a graphroot damaged in any way: the containers that it is not about stay as they are."""

import random
from dataclasses import fields

import pytest

from forensics.records import Container
from forensics.stores.podman.store import read_graph_root
from support.docker_stores import stack
from support.graph_roots import graph_roots, metadata_files, read_with
from support.memory_filesystem import DamagedFilesystem

# hold nothing that a record is made of, or nothing that can be seen to be missing
SILENT = (".lock", ".log", "tar-split.gz", "lower-layers", "defaultNetworkBackend", "/manifest", ".has-mount-program")
SILENT_PARTS = ("/=bWFuaWZlc3Qt", "/userdata/artifacts", "/userdata/secrets", "/userdata/shm", "secrets/", "/attach", "winsz")


@pytest.fixture(scope="module")
def whole(sample):
    with graph_roots(sample("podhost")) as roots:
        yield [(root, read_graph_root(root)) for root in roots]


def damages(data, noise):
    yield "zeroed", bytes(len(data))
    yield "emptied", b""
    yield "cut", data[: len(data) // 2]
    yield "random", noise.randbytes(len(data))


def is_silent(path):
    return path.endswith(SILENT) or any(part in path for part in SILENT_PARTS)


def stacks(contents):
    """The layers of each container's view; a directory of vfs is one by itself."""
    stacked = {layer.key for layer in contents.layers if layer.stacked}
    return {
        container.container_id: stack(contents, container.layer) if container.layer in stacked else container.layer
        for container in contents.containers
    }


def same(container, other):
    return all(getattr(container, f.name) == getattr(other, f.name) for f in fields(Container) if f.name != "source")


def about_all(path):
    """Files that hold something of every container."""
    return path.endswith(("db.sql", "bolt_state.db", "containers.json"))


def test_files(whole):
    noise = random.Random(7)
    tried = 0
    for root, intact in whole:
        before, known = {each.container_id: each for each in intact.containers}, stacks(intact)
        for path, place, kind in metadata_files(root):
            if kind != "f" or is_silent(path):
                continue
            for how, content in damages(root.place.fs.read(place.inode), noise):
                contents = read_with(root, DamagedFilesystem(root.place.fs, contents={place.inode: content}))
                after = {each.container_id: each for each in contents.containers}
                assert after.keys() == before.keys(), (path, how)
                assert stacks(contents) == known, (path, how)
                assert contents.gaps != intact.gaps, (path, how)
                assert len(contents.images) == len(intact.images), (path, how)
                if not about_all(path):
                    changed = [cid for cid in before if cid not in path and not same(before[cid], after[cid])]
                    assert not changed, (path, how)
                tried += 1
    assert tried > 50


def test_inodes(whole):
    """An inode that cannot be read: of a file, a symlink, a directory."""
    for root, intact in whole:
        known = stacks(intact)
        for path, place, kind in metadata_files(root):
            contents = read_with(root, DamagedFilesystem(root.place.fs, broken=(place.inode,)))
            assert {each.container_id for each in contents.containers} == known.keys(), path
            if kind == "d" and path.split("/")[0] == "overlay":
                continue
            assert stacks(contents) == known, path
