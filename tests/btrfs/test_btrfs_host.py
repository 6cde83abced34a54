"""A host whose root and other mounts are subvolumes: the tree that its processes saw, as the kernel mounts it."""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from forensics.evidence import open_evidence
from forensics.stores.all import find_stores
from forensics.stores.host_tree import host_trees
from forensics.stores.reading import StoreReader
from forensics.survey import survey
from support.disks import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
UUID = "6a1323f1-ea40-496f-8c3f-614f376de837"

# The root's subvolume, the default one where it is set, the others with their mount points, and how fstab names the root's.
LAYOUTS = {
    "ubuntu": ("@", None, {"/home": "@home", "/var": "@var"}, "subvol=@"),
    "fedora": ("root", None, {"/home": "home"}, "compress=zstd:1,subvol=root"),
    "opensuse": ("@/.snapshots/1/snapshot", "@/.snapshots/1/snapshot",
                 {"/.snapshots": "@/.snapshots", "/var": "@/var", "/home": "@/home"}, "defaults"),
    "deep": ("systems/arch", None, {"/var/lib/docker": "data/docker"}, "subvol=/systems/arch"),
    "by id": ("@", None, {"/var": "@var"}, None),
    "no subvolume": ("", None, {"/var/lib/docker": "docker"}, "defaults"),
}  # fmt: skip


def btrfs(*words):
    return subprocess.run(["btrfs", *map(str, words)], check=True, capture_output=True, text=True).stdout


def subvolume(top, path):
    (top / path).parent.mkdir(parents=True, exist_ok=True)
    btrfs("subvolume", "create", top / path)


def identity(top, path):
    return int(btrfs("inspect-internal", "rootid", top / path).strip())


@pytest.fixture(params=LAYOUTS)
def host(request, tmp_path):
    """A disk image, and how the kernel mounts what is in it: options by mount point, root first."""
    root, default, others, named = LAYOUTS[request.param]
    image, top = tmp_path / "disk.img", tmp_path / "top"
    top.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", "-U", UUID, image)
    with ExitStack() as stack:
        run("mount", "-o", "loop", image, top)
        stack.callback(run, "umount", top)
        for each in sorted({root, *others.values(), *(["@"] if default else [])} - {""}):
            subvolume(top, each)
        named = named or f"subvolid={identity(top, root)}"
        lines = [f"UUID={UUID} / btrfs {named} 0 0"]
        lines += [f"UUID={UUID}\t{point} btrfs subvol={path},noatime 0 0" for point, path in others.items()]
        for directory in ("etc/docker", "var/lib/docker", "home", ".snapshots", "usr/lib", "srv"):
            (top / root / directory).mkdir(parents=True, exist_ok=True)
        (top / root / "etc" / "fstab").write_text("\n".join(lines) + "\n")
        (top / root / "etc" / "hostname").write_text(f"the-{request.param.replace(' ', '-')}-host\n")
        (top / root / "srv" / "of-root").write_text("of root")
        (top / root / "up").symlink_to("/var/lib/../lib/docker")
        btrfs("subvolume", "create", top / root / "srv" / "nested")
        (top / root / "srv" / "nested" / "file").write_text("nested")
        (top / "snapshots").mkdir()
        btrfs("subvolume", "snapshot", top / root, top / "snapshots" / "old")  # has the same fstab
        (top / "snapshots" / "old" / "etc" / "hostname").write_text("a-snapshot\n")
        btrfs("subvolume", "snapshot", "-r", top / root, top / "a-first-one")
        if default is not None:
            btrfs("subvolume", "set-default", identity(top, default), top)
    options = {"/": f"subvol={root}" if root else "subvolid=5"}
    return image, options | {point: f"subvol={path}" for point, path in others.items()}, tmp_path


def test_the_tree_of_the_host(host):
    image, mounts, place = host
    seen = place / "seen"
    seen.mkdir()
    with ExitStack() as stack:
        loop = run("losetup", "-f", "--show", image).strip()
        stack.callback(run, "losetup", "-d", loop)
        for point, options in sorted(mounts.items()):
            run("mount", "-o", options, loop, f"{seen}{point}")
            stack.callback(run, "umount", f"{seen}{point}")
        store = seen / "var" / "lib" / "docker"
        (store / "containers").mkdir(parents=True)
        for name in ("image/overlay2/layerdb", "overlay2", "volumes", "network"):
            (store / name).mkdir(parents=True)
        (seen / "home" / "someone").write_text("at home")
        truth = {}
        for directory, directories, files in os.walk(seen):
            for name in (*directories, *files):
                path = os.path.join(directory, name)
                relative = path.removeprefix(str(seen))
                if not os.path.islink(path) and "snapshot" not in relative:
                    truth[relative] = Path(path).read_bytes() if os.path.isfile(path) else sorted(os.listdir(path))
    with open_evidence([image]) as evidence:
        found = survey(evidence)
        (tree,) = host_trees(found)
        assert found.hosts[1].hostname.startswith("the-")
        assert found.mount_points == {1: "/"}
        for path, content in truth.items():
            there = tree.resolve(path.encode())
            assert there is not None, path
            if isinstance(content, bytes):
                assert there.fs.read(there.inode) == content
            else:
                assert [entry.name.decode() for entry in there.fs.entries(there.inode)] == content, path
            on_host = tree.host_path(there)
            assert on_host == path.encode() or tree.resolve(on_host).inode == there.inode  # a subvolume can be at two places
        assert tree.resolve(b"/up").inode == tree.resolve(b"/var/lib/docker").inode
        (store,) = [
            each.contents.store for each in find_stores(found, StoreReader()) if each.contents.store.root == "/var/lib/docker"
        ]
        assert found.partitions[0].filesystem.problems == []


def test_a_root_that_no_fstab_names(tmp_path):
    image, top = tmp_path / "disk.img", tmp_path / "top"
    top.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", image)
    with ExitStack() as stack:
        run("mount", "-o", "loop", image, top)
        stack.callback(run, "umount", top)
        for name in ("@a", "@b"):
            subvolume(top, name)
            (top / name / "etc").mkdir()
            (top / name / "etc" / "hostname").write_text(f"host-{name[1]}\n")
            (top / name / "etc" / "fstab").write_text(f"UUID={UUID} / btrfs subvol=@gone 0 0\n")
    with open_evidence([image]) as evidence:
        found = survey(evidence)
        assert (found.hosts[1].hostname, found.hosts[1].path) == ("host-a", b"/@a")
        (problem,) = found.partitions[0].filesystem.problems
        assert "taken for the host's root, of /@a, /@b: the first one" in problem.error
