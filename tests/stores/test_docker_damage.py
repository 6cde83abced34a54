"""Any one file or directory of a data-root damaged in any way: the containers that it is not about stay as they are."""

import random
from dataclasses import dataclass, fields

import pytest

from forensics.evidence import open_disk_image
from forensics.records import Container
from forensics.source import Source
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import StoreReader
from forensics.survey import survey
from support.docker_stores import docker_root, metadata_files, read_with, stack
from support.memory_filesystem import DamagedFilesystem

# hold nothing that a record is made of, or nothing that can be seen to be missing
SILENT = ("resolv.conf.hash", "engine-id", "committed", "builtLocally", "backingFsBlockDev")


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
            # half of a number is a number, half of a text a text, a page may be unused, and an empty text says nothing
            unseen = how in ("cut", "emptied") and path.endswith(("/hosts", "/resolv.conf"))
            unseen |= how == "cut" and path.endswith(("/size", ".db", "/hostname"))
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


@dataclass(frozen=True)
class Overwritten:
    """A disk image with one block of other bytes."""

    disk: Source
    at: int
    block: bytes

    @property
    def name(self):
        return self.disk.name

    @property
    def size(self):
        return self.disk.size

    def read(self, offset, size):
        data = bytearray(self.disk.read(offset, size))
        first, last = max(offset, self.at), min(offset + len(data), self.at + len(self.block))
        if first < last:
            data[first - offset : last - offset] = self.block[first - self.at : last - self.at]
        return bytes(data)

    def locate(self, offset):
        return offset


def directory_blocks(root):
    """(path, where in the disk image) of each block of the directories above the data-root, of its own and of those in it."""
    fs = root.place.fs
    directories = [("/", fs.root)]
    for part in root.place.path.strip(b"/").split(b"/"):
        directories.append((part.decode(), fs.find(directories[-1][1], part)))
    directories += [(path, place.inode) for path, place, kind in metadata_files(root) if kind == "d"]
    for path, inode in directories:
        for extent in fs.extents(inode) or ():
            for start in range(0, extent.length, fs.block_size):
                yield path, fs.source.locate(extent.offset + start)


def test_directory_blocks_on_the_disk(sample):
    with docker_root(sample("webshop")) as root, open_disk_image(sample("webshop")) as disk:
        intact = read_docker(root)
        known = stacks(intact)
        names = {each.container_id: each.name for each in intact.containers}
        blocks = [
            (path, at)
            for path, at in directory_blocks(root)
            if path.count("/") < 2 or path.endswith(("sha256", "mounts", "diff"))
        ]
        for path, at in blocks:
            damaged = survey(Overwritten(disk, at, bytes(root.place.fs.block_size)))
            contents = [read_docker(found) for found in find_docker_roots(damaged, StoreReader())]
            assert len(contents) == 1, path
            assert stacks(contents[0]) == known, path
            after = {each.container_id: each.name for each in contents[0].containers}
            assert all(after[cid] == names[cid] for cid in names if cid not in path), path
            told = [
                *contents[0].gaps,
                *(problem for p in damaged.partitions if p.filesystem for problem in p.filesystem.problems),
            ]
            assert told != [], path
