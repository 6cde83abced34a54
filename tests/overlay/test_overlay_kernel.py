"""The kernel's overlayfs is the judge: random layers, merged by us and by it, must show the same."""

import os
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forensics.changes import docker_changes
from forensics.overlay import Merger
from parsers.overlay_marks import visible_xattrs
from support.live_overlay import OPTIONS, write_stack
from support.merged_view import entry_paths, merged_view, view_from_deltas
from support.naive_diff import naive_diff
from support.overlay_lab import Shown, layer_trees, mounted, need_overlayfs, random_stack, show, walk
from support.tree_from_directory import tree_from_directory

FOLLOW = "metacopy=on,redirect_dir=follow"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    where = tmp_path_factory.mktemp("overlay")
    need_overlayfs(where)
    return where


@pytest.fixture
def fresh(lab):
    """Gives an empty directory with a mount point `m`, again and again."""

    def make():
        shutil.rmtree(lab)
        (lab / "m").mkdir(parents=True)
        (lab / "old").mkdir()
        (lab / "work").mkdir()
        return lab

    return make


class Merged:
    """Layers of directories, topmost first, merged by deltas, and those held against the direct merge."""

    def __init__(self, directories, marks, **options):
        self.chain = layer_trees(directories, marks)
        self.place = {layer.key: os.fsencode(top) for layer, top in zip(self.chain, directories, strict=True)}
        self.rows = {layer.first_entry + row: (layer, row) for layer in self.chain for row in range(len(layer.tree))}
        self.paths = {entry: path for layer in self.chain for entry, path in entry_paths(layer).items()}
        merger = Merger(**options)
        self.deltas, self.changes = {}, []
        for layer in reversed(self.chain):
            self.deltas[layer.key] = merger.add(layer)
            self.changes = docker_changes(merger.chain, self.deltas[layer.key])
        for at in range(len(self.chain)):
            direct = merged_view(self.chain[at:], **options)
            deltas = view_from_deltas(self.chain[at:], self.deltas)
            assert [(v.path, v.entry, v.data) for v in direct] == [(v.path, v.entry, v.data) for v in deltas]
        self.view = [visible for visible in merged_view(self.chain, **options) if visible.path != b"/"]
        refused = {p.entry for delta in self.deltas.values() for p in delta.problems if p.kind == "refused"}
        assert {visible.entry for visible in self.view if visible.error} <= refused

    def content(self, entry):
        layer, _ = self.rows[entry]
        with open(self.place[layer.key] + self.paths[entry], "rb") as file:
            return file.read()

    def shown(self):
        """As overlay_lab.show would tell it."""
        for visible in self.view:
            layer, row = self.rows[visible.entry]
            if visible.error:
                yield visible.path, Shown(None, None, None, visible.error)
            else:
                content = self.content(visible.data) if visible.data is not None else None
                yield visible.path, Shown(chr(layer.tree.type[row]), int(layer.tree.mtime_ns[row]), content)


@pytest.mark.parametrize(
    ("marks", "options", "examples"),
    [
        ("trusted", FOLLOW, 300),
        ("user", "userxattr", 100),
        ("trusted", "metacopy=off,redirect_dir=follow", 60),
        ("trusted", "metacopy=off,redirect_dir=nofollow", 60),
    ],
)
def test_random_layers_read_only(fresh, marks, options, examples):
    @given(st.randoms(use_true_random=False))
    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def hold(rng):
        where = fresh()
        directories = random_stack(rng, where, marks)
        merged = Merged(directories, marks, follow="=follow" in options, metacopy="metacopy=on" in options)
        ours = dict(merged.shown())
        with mounted(directories, where / "m", options):
            kernel, _ = walk(where / "m", ours)
        assert kernel == ours

    hold()


def test_random_layers_with_an_upper_one(fresh):
    """The same with the topmost as a writable upper directory, as a container has it.

    Layers that no kernel wrote can reach one lower directory in two ways. The kernel then refuses (ESTALE) whichever it meets
    second, so a name in doubt is looked up in a mount of its own.
    """

    @given(st.randoms(use_true_random=False))
    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def hold(rng):
        where = fresh()
        directories = random_stack(rng, where, "trusted")
        ours = dict(Merged(directories, "trusted").shown())
        upper = (directories[0], where / "work")
        with mounted(directories[1:], where / "m", "metacopy=on,redirect_dir=on", upper):
            kernel, _ = walk(where / "m", ours)
        for path in sorted(ours.keys() | kernel.keys()):
            if kernel.get(path) != ours.get(path):
                with mounted(directories[1:], where / "m", "metacopy=on,redirect_dir=on", upper):
                    alone = show(where / "m", path)
                assert alone == ours.get(path) or (alone is not None and alone.error == "ESTALE")

    hold()


def record(tree, row, merged, marks):
    """Every field of an entry as stat shows it; size of what has content only."""
    kind = chr(tree.type[row])
    columns = (tree.mode, tree.uid, tree.gid, tree.mtime_ns, tree.ctime_ns, tree.rdev_major, tree.rdev_minor, tree.inode)
    return (
        kind, *(int(column[row]) for column in columns), int(tree.size[row]) if kind in "fl" else None,
        1 if merged else int(tree.nlink[row]), tree.targets.get(row), visible_xattrs(tree.xattrs.get(row, {}), marks),
    )  # fmt: skip


@pytest.mark.parametrize(("marks", "options", "examples"), [("trusted", OPTIONS, 40), ("user", ["userxattr"], 12)])
def test_layers_that_the_kernel_wrote(fresh, marks, options, examples):
    """Every field, link counts and inode numbers (so: which names are hard links) too; and what `docker diff` would say."""
    placed = 0
    for seed in range(examples):
        rng = random.Random(seed)
        where = fresh()
        directories = write_stack(rng, where, rng.randint(3, 5), options)
        merged = Merged(directories, marks)
        own = {entry for delta in merged.deltas.values() for entry in delta.merged}
        ours = {v.path: record(*_tree_row(merged.rows[v.entry]), v.entry in own, marks) for v in merged.view}
        placed += sum(len(delta.placed) for delta in merged.deltas.values())
        mount_options = FOLLOW if marks == "trusted" else "userxattr"
        with mounted(directories, where / "m", mount_options), mounted(directories[1:], where / "old", mount_options):
            shown = tree_from_directory(where / "m")
            paths = list(entry_paths_of(shown))
            kernel = {path: record(shown, row, False, "none") for row, path in enumerate(paths) if row}
            assert kernel == ours, seed
            for visible in merged.view:
                if visible.data is not None:
                    with open(os.fsencode(where / "m") + visible.path, "rb") as file:
                        assert file.read() == merged.content(visible.data), (seed, visible)
            assert set(merged.changes) == naive_diff(where / "m", where / "old"), seed
    assert placed or marks == "user"


def _tree_row(found):
    layer, row = found
    return layer.tree, row


def entry_paths_of(tree):
    paths = []
    for row, name in enumerate(tree.names):
        paths.append(paths[int(tree.parent[row])] + b"/" + name if row else b"")
        yield paths[row]
