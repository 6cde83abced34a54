"""`.wh.` names as fuse-overlayfs and aufs read them; fuse-overlayfs itself is the judge where it is installed."""

import os
import random
import shutil
import stat
import subprocess

import pytest

from forensics.overlay import Merger
from forensics.wh_marks import with_overrides
from support.merged_view import view_from_deltas
from support.overlay_lab import NAMES, Stamps, layer_trees
from support.small_tree import Spec, directory, file, small_chain, small_tree, whiteout
from support.tree_from_directory import tree_from_directory


def paths(chain):
    merger = Merger()
    deltas = {layer.key: merger.add(layer) for layer in reversed(chain)}
    return {v.path: f"l{v.entry // 1000}" for v in view_from_deltas(chain, deltas) if v.path != b"/"}


@pytest.mark.parametrize("marks", ["fuse", "aufs"])
def test_a_wh_name_hides_the_name_in_its_own_layer_and_below(marks):
    chain = small_chain({b"/.wh.f": file(), b"/.wh.own": file(), b"/own": file()}, {b"/f": file(), b"/g": file()}, marks=marks)
    assert paths(chain) == {b"/g": "l1"}


@pytest.mark.parametrize("marks", ["fuse", "aufs"])
def test_a_hint_makes_a_directory_opaque(marks):
    chain = small_chain({b"/d/.wh..wh..opq": file(), b"/d/new": file()}, {b"/d/old": file()}, marks=marks)
    assert paths(chain) == {b"/d": "l2", b"/d/new": "l2"}


def test_the_kernel_knows_no_wh_names():
    assert paths(small_chain({b"/.wh.f": file()}, {b"/f": file()})) == {b"/.wh.f": "l2", b"/f": "l1"}


def test_what_aufs_keeps_for_itself():
    chain = small_chain({b"/.wh..wh.plnk/123.4": file(), b"/.wh..wh.aufs": file(), b"/.wh..wh.orph": directory()},
                        {b"/f": file()}, marks="aufs")  # fmt: skip
    assert paths(chain) == {b"/f": "l1"}
    assert paths(small_chain({b"/f": whiteout()}, {b"/f": file()}, marks="aufs")) == {b"/f": "l2"}  # a device like any other


def test_for_fuse_overlayfs_an_xattr_comes_before_the_hint():
    no = Spec("d", xattrs={b"user.overlay.opaque": b"n"})
    chain = small_chain({b"/d": no, b"/d/.wh..wh..opq": file()}, {b"/d/old": file()}, marks="fuse")
    assert paths(chain) == {b"/d": "l2", b"/d/old": "l1"}
    opaque_root = Spec("d", xattrs={b"user.fuseoverlayfs.opaque": b"y"})
    assert paths(small_chain({b"/": opaque_root, b"/a": file()}, {b"/b": file()}, marks="fuse")) == {b"/a": "l2"}


def test_a_layer_that_is_shown_as_it_is():
    assert paths(small_chain({b"/.wh.a": file(), b"/w": whiteout()}, marks="none")) == {b"/.wh.a": "l1", b"/w": "l1"}


def test_owners_and_modes_in_xattrs():
    name = b"user.fuseoverlayfs.override_stat"
    entries = {b"/f": Spec(xattrs={name: b"7:8:100600"}), b"/bad": Spec(xattrs={name: b"no"}, uid=5), b"/none": Spec(uid=6)}
    tree = small_tree(entries)
    assert with_overrides(tree) is tree  # only where the layer's root says so
    tree = with_overrides(small_tree(entries | {b"/": Spec("d", xattrs={name: b"1:2:40711"})}))
    found = {n: (int(tree.uid[r]), int(tree.gid[r]), int(tree.mode[r])) for r, n in enumerate(tree.names)}
    assert found == {b"": (1, 2, 0o711), b"f": (7, 8, 0o600), b"bad": (5, 0, 0o644), b"none": (6, 0, 0o644)}


def random_fuse_layer(rng, top, stamps):
    def make(path, depth):
        parent, _, name = path.rpartition(b"/")
        kind = rng.choices(["dir", "file", "wh", "device", "symlink"], [50 if depth < 3 else 5, 16, 8, 6, 2])[0]
        if kind == "wh":
            if rng.random() < 0.1 and not os.path.lexists(path):
                make(path, 3)
            path = parent + b"/.wh." + name
        if kind == "dir":
            os.mkdir(path)
            for child in rng.sample(NAMES[:4], rng.randint(0, 4)):
                make(path + b"/" + child, depth + 1)
            if rng.random() < 0.15:
                open(path + b"/.wh..wh..opq", "wb").close()
            if rng.random() < 0.15:
                mark = rng.choice(["trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque"])
                os.setxattr(path, mark, rng.choice([b"y", b"n", b"yes", b"x"]))
        elif kind == "symlink":
            os.symlink("a", path)
        elif kind == "device":
            os.mknod(path, stat.S_IFCHR, 0)
        else:
            with open(path, "wb") as content:
                content.write(path)
        stamps.put(path)

    top = os.fsencode(top)
    os.mkdir(top)
    for name in rng.sample(NAMES[:4], rng.randint(0, 4)):
        make(top + b"/" + name, 1)
    stamps.put(top)


@pytest.mark.skipif(os.geteuid() != 0, reason="trusted xattrs and devices need root")
@pytest.mark.skipif(shutil.which("fuse-overlayfs") is None, reason="fuse-overlayfs is not installed")
def test_against_fuse_overlayfs(tmp_path):
    compared = 0
    for seed in range(60):
        rng, where, stamps = random.Random(seed), tmp_path / str(seed), Stamps()
        (where / "m").mkdir(parents=True)
        directories = [where / f"l{number}" for number in range(rng.randint(2, 4))]
        for top in directories:
            random_fuse_layer(rng, top, stamps)
        lower = ":".join(str(top) for top in directories)
        started = subprocess.run(["fuse-overlayfs", "-o", f"lowerdir={lower}", where / "m"], capture_output=True, check=False)
        if started.returncode:
            pytest.skip("fuse-overlayfs does not run here")
        try:
            shown = tree_from_directory(where / "m")
        except OSError:
            continue  # it gives up (ENOMEM) on some of these layers
        finally:
            subprocess.run(["umount", where / "m"], check=True)
        chain, merger = layer_trees(directories, "fuse"), Merger()
        deltas = {layer.key: merger.add(layer) for layer in reversed(chain)}
        stamp = {layer.first_entry + row: int(ns) for layer in chain for row, ns in enumerate(layer.tree.mtime_ns)}
        ours = {v.path: stamp[v.entry] for v in view_from_deltas(chain, deltas)}
        assert dict(_stamps(shown)) == ours, seed
        compared += 1
    assert compared > 30


def _stamps(tree):
    paths = []
    for row, name in enumerate(tree.names):
        paths.append(paths[int(tree.parent[row])] + b"/" + name if row else b"")
        yield paths[row] or b"/", int(tree.mtime_ns[row])
