"""Any field of any structure may lie, with checksums that are right: a problem or an error, in bounded time, never a crash.

The filesystem was in use: subvolumes, a snapshot, a removed one, compressed files, deleted ones, a log not yet replayed.
"""

import os
import random
import shutil
import struct
import subprocess
import time

import pytest

from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.hashing import hash_files
from forensics.host import read_host
from forensics.progress import Silent
from forensics.recovery.files.btrfs_deleted import find_btrfs_deleted
from forensics.recovery.files.content import examine
from parsers import btrfs
from parsers.errors import CtrForensicsError
from support.btrfs_workload import Work
from support.disks import run
from support.kernel_views import mounted
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
SUPER, HEAD, ITEM, POINTER = 64 << 10, btrfs.node_header.size, btrfs.leaf_item.size, btrfs.key_pointer.size
LAYOUTS = ((("-n", "4096", "--mixed"), ("compress=zstd",)), (("-m", "dup", "--csum", "xxhash"), ()))


def tool(*words):
    subprocess.run(["btrfs", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module", params=LAYOUTS, ids=("mixed", "dup"))
def used(request, tmp_path_factory):
    """A filesystem as a power cut left it, and its nodes: address, tree, level, and where its copies stand."""
    place = tmp_path_factory.mktemp("used")
    path, cut = place / "fs.img", place / "cut.img"
    mkfs, options = request.param
    with path.open("wb") as file:
        file.truncate(160 << 20)
    run("mkfs.btrfs", "-q", *mkfs, path)
    with mounted(path, place / "m", "commit=300", *options) as top:
        rng = random.Random(5)
        for name in ("@", "@/inner", "gone"):
            tool("subvolume", "create", top / name)
            (top / name / "file").write_bytes(rng.randbytes(9000))
        (top / "@" / "etc").mkdir()
        (top / "@" / "etc" / "fstab").write_text("UUID=1 / btrfs subvol=@ 0 0\n")
        works = [Work(top / "@", rng), Work(top / "@" / "inner", rng)]
        for work in works:
            work.run(80)
        tool("subvolume", "snapshot", top / "@", top / "snapshot")
        tool("subvolume", "delete", top / "gone")
        shutil.copytree(top / "@" / "etc", top / "@" / "copy")
        tool("filesystem", "sync", top)
        shutil.rmtree(top / "@" / "copy")
        tool("filesystem", "sync", top)
        for work in works:
            work.run(60)
        run("cp", "--sparse=always", path, cut)
        for work in works:
            work.close()
    fs = open_btrfs(Image(cut))
    assert fs.state == "journal replayed"
    assert any(True for _ in find_btrfs_deleted(fs))
    yield cut, fs.reader, nodes(fs.reader)
    for each in (path, cut):
        each.unlink()


def nodes(reader):
    found = []
    size, kind = reader.superblock.node, reader.superblock.checksum
    for chunk in reader.logical.chunks:
        for address in range(chunk.logical, chunk.logical + chunk.length, size) if chunk.type & 6 else ():
            head = reader.logical.read(address, HEAD)
            own = head[32:48] == reader.superblock.fsid and int.from_bytes(head[48:56], "little") == address
            if own and btrfs.is_whole(kind, reader.logical.read(address, size)):
                fields = btrfs.node_header.fields(head)
                ways, _ = reader.logical.places(address)
                found.append((address, fields["owner"], fields["level"], [place for ((_, place),) in ways]))
    return found


def lies(rng, path, reader, known):
    """Some blocks with other values in them, by their places."""
    size, kind = reader.superblock.node, reader.superblock.checksum
    trees = {}
    for each in known:
        trees.setdefault((each[1], each[2] > 0), []).append(each)
    changes = {}

    def value(width):
        most = 1 << 8 * width
        chosen = rng.choice(
            (0, 1, 2, most - 1, most >> 1, rng.randrange(300), rng.randrange(most), 1 << 20, rng.choice(known)[0])
        )
        return (chosen % most).to_bytes(width, "little")

    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        width = rng.choice((1, 2, 4, 8))
        if rng.random() < 0.12:
            places, length = [SUPER], 4096
            block = bytearray(changes.get(SUPER) or Image(path).read(SUPER, length))
            at = rng.choice((rng.randrange(32, 0xCA), rng.randrange(btrfs.SYS_CHUNK_ARRAY, btrfs.SYS_CHUNK_ARRAY + 200)))
        else:
            _, _, level, places = rng.choice(trees[rng.choice(sorted(trees))])
            length = size
            block = bytearray(changes.get(places[0]) or Image(path).read(places[0], length))
            count = min(int.from_bytes(block[96:100], "little") or 1, (size - HEAD) // POINTER)
            row = HEAD + rng.randrange(count) * (POINTER if level else ITEM)
            at = rng.choice((rng.randrange(32, HEAD), row + rng.randrange(ITEM)))
            if not level and rng.random() < 0.6:
                offset, room = struct.unpack_from("<II", block, min(row + 17, size - 8))
                at = HEAD + offset + rng.randrange(max(1, room))
        at = min(at, length - 8)
        block[at : at + width] = value(width)
        whole = btrfs.checksums(kind, bytes(block[32:]), length)
        block[: len(whole)] = whole
        changes |= dict.fromkeys(places, bytes(block))
    return changes


def everything(source):
    try:
        fs = open_btrfs(source)
        read_host(fs, 1)
        tree = fs.tree(fs.root)
        files = [(int(n), int(size)) for n, size, kind in zip(tree.inode, tree.size, tree.type, strict=True) if kind == ord("f")]
        hashed = list(hash_files(fs, files[:300], Silent()))
        assert len(hashed) == len(files[:300])
    except CtrForensicsError as error:
        assert "\n" not in str(error)
        return
    for deleted in find_btrfs_deleted(fs):
        if deleted.type == "f":
            assert examine(fs, deleted).recovered <= (deleted.size or 0)
    assert all("\n" not in problem.error for problem in fs.problems)


@pytest.mark.parametrize("batch", range(4))
def test_any_field_may_lie(used, batch):
    path, reader, known = used
    for seed in range(batch * 15, batch * 15 + 15):
        start = time.monotonic()
        everything(Image(path, lies(random.Random(seed), path, reader, known)))
        assert time.monotonic() - start < 30, seed
