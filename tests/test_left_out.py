"""What a daemon leaves out of a layer's archive, because it changes nothing of what is below."""

import pytest

from forensics.left_out import Below, changes_nothing, layers_below, paths_of
from forensics.records import Layer
from support.small_tree import Spec, directory, file, small_tree, whiteout


def below(*layers):
    """The layers below, given topmost first."""
    trees = [small_tree(entries) for entries in layers]
    return [Below(tree, paths_of(tree)) for tree in trees]


def harmless(path, spec, *layers):
    tree = small_tree({path: spec})
    rows = paths_of(tree)
    name = path.strip(b"/")
    return changes_nothing(tree, name, rows[name], below(*layers))


def test_a_directory_that_was_copied_up_as_it_was():
    assert harmless(b"/etc", directory(), {b"/etc": directory()})
    assert harmless(b"/a/b", directory(), {b"/x": file()}, {b"/a/b": directory()})


@pytest.mark.parametrize("layers", [
    ({b"/x": file()},), (), ({b"/etc": file()},), ({b"/etc": Spec("d", mode=0o700)},), ({b"/etc": Spec("d", mode=0o755, uid=5)},),
    ({b"/etc": whiteout()}, {b"/etc": directory()}), ({b"/.wh.etc": whiteout()}, {b"/etc": directory()}),
    ({b"/.wh.etc": file()}, {b"/etc": directory()}),
])  # fmt: skip
def test_a_directory_that_is_new_or_another(layers):
    assert not harmless(b"/etc", directory(), *layers)


def test_a_directory_below_one_that_was_cut_off():
    assert not harmless(b"/a/b", directory(), {b"/a": whiteout()}, {b"/a/b": directory()})
    assert not harmless(b"/a/b", directory(), {b"/a": file()}, {b"/a/b": directory()})


@pytest.mark.parametrize("prefix", [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."])
def test_an_opaque_directory_hides_what_is_below(prefix):
    assert not harmless(b"/etc", directory(prefix, opaque=b"y"), {b"/etc": directory()})


@pytest.mark.parametrize(
    ("path", "name"), [(b"/d/.wh.f", b"/d/f"), (b"/d/f", b"/d/f"), (b"/.wh.f", b"/f"), (b"/.wh.f", b"/.wh.f")]
)
def test_a_whiteout_over_nothing(path, name):
    assert harmless(path, whiteout(), {b"/d/g": file()})
    assert not harmless(path, whiteout(), {b"/d/g": file()}, {name: file()})


def test_a_file_or_a_device_is_never_left_out():
    assert not harmless(b"/f", file(), {b"/f": file()})
    assert not harmless(b"/c", Spec("c", rdev=(1, 3)), {b"/d": file()})


def test_layers_that_stand_on_each_other_in_a_circle():
    stack = {name: Layer(name, name, "image", 1, "/", 1, lower=low) for name, low in (("a", "b"), ("b", "c"), ("c", "b"))}
    assert [each.key for each in layers_below(stack["a"], stack)] == ["b", "c"]
    assert layers_below(Layer("x", "x", "image", 1, "/", 1, lower="gone"), stack) == []
