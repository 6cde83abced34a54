"""Any one file or directory of a data-root damaged in any way: the containers that it is not about stay as they are."""

import random
from dataclasses import fields

import pytest

from forensics.records import Container
from forensics.stores.docker.store import read_docker
from support.docker_stores import docker_root, metadata_files, read_with, stack
from support.memory_filesystem import DamagedFilesystem

# hold nothing that a record is made of, or nothing that can be seen to be missing
SILENT = ("resolv.conf", "resolv.conf.hash", "hosts", "hostname", "engine-id", "committed", "builtLocally", "backingFsBlockDev")


@pytest.fixture(scope="module", params=["webshop", "powercut"])
def whole(request, sample):
    with docker_root(sample(request.param)) as root:
        yield root, read_docker(root)


def damages(data, noise):
    yield "zeroed", bytes(len(data))
    yield "emptied", b""
    yield "cut", data[: len(data) // 2]
    yield "random", noise.randbytes(len(data))


def is_silent(path):
    return path.endswith(SILENT) or ".log" in path


def stacks(contents):
    return {container.container_id: stack(contents, container.layer) for container in contents.containers}


def same(container, other):
    return all(getattr(container, f.name) == getattr(other, f.name) for f in fields(Container) if f.name != "source")


def test_files(whole):
    root, intact = whole
    before, known = {each.container_id: each for each in intact.containers}, stacks(intact)
    noise = random.Random(7)
    few, tried = len(before) < 5, 0
    for path, place, kind in metadata_files(root):
        if kind != "f" or is_silent(path):
            continue
        each = list(damages(root.place.fs.read(place.inode), noise))
        for how, content in each if few else [noise.choice(each)]:
            contents = read_with(root, DamagedFilesystem(root.place.fs, contents={place.inode: content}))
            after = {each.container_id: each for each in contents.containers}
            assert after.keys() == before.keys(), (path, how)
            assert stacks(contents) == known, (path, how)
            assert all(same(before[cid], after[cid]) for cid in before if cid not in path), (path, how)
            unseen = how == "cut" and path.endswith(("/size", ".db"))  # half of a number is a number; a page may be unused
            assert unseen or any(place.name.decode() in gap.path for gap in contents.gaps if gap.path), (path, how)
            tried += 1
    assert tried > 100


def test_links(whole):
    root, intact = whole
    known = stacks(intact)
    noise = random.Random(7)
    for path, place, kind in metadata_files(root):
        if kind == "l":
            each = list(damages(root.place.fs.target(place.inode), noise))
            for how, content in each if len(known) < 5 else [noise.choice(each)]:
                contents = read_with(root, DamagedFilesystem(root.place.fs, targets={place.inode: content}))
                assert stacks(contents) == known, (path, how)
                assert contents.gaps != (), (path, how)


def test_inodes(whole):
    root, intact = whole
    known = stacks(intact)
    noise = random.Random(7)
    for path, place, kind in metadata_files(root):
        if len(known) > 5 and noise.random() > 0.2:
            continue
        contents = read_with(root, DamagedFilesystem(root.place.fs, broken=[place.inode]))
        if kind != "d":
            assert stacks(contents) == known, path
            assert is_silent(path) or contents.gaps != (), path
        elif path not in ("overlay2", "containers"):
            assert stacks(contents).keys() == known.keys(), path
            hurt = [cid for cid in known if stacks(contents)[cid] != known[cid]]
            assert len(hurt) <= 1, path


def test_without_containers_their_layers_are_told(whole):
    root, intact = whole
    inode = root.place.fs.find(root.place.inode, b"containers")
    contents = read_with(root, DamagedFilesystem(root.place.fs, broken=[inode]))
    assert stacks(contents) == stacks(intact)
    assert all(container.state is None for container in contents.containers)


def test_without_image_the_stacks_are_those_of_lower(whole):
    root, intact = whole
    inode = root.place.fs.find(root.place.inode, b"image")
    contents = read_with(root, DamagedFilesystem(root.place.fs, broken=[inode]))
    assert stacks(contents) == stacks(intact)
    assert sum("inferred from the times" in gap.error for gap in contents.gaps) == len(intact.containers)
