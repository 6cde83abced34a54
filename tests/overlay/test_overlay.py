"""The merge by deltas against the kernel's algorithm done in full, and the facts that trip up others."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.overlay import LayerTree, Merger
from support.merged_view import merged_view, view_from_deltas
from support.small_tree import USER, Spec, directory, file, small_chain, small_tree, whiteout


def merge(chain, **options):
    merger = Merger(**options)
    return {layer.key: merger.add(layer) for layer in reversed(chain)}


def paths(chain, **options):
    """The view's paths with the layer and row name that each comes from: {path: `l2`}; checked in both ways."""
    deltas = merge(chain, **options)
    for at in range(len(chain)):
        direct = [(v.path, v.entry, v.data) for v in merged_view(chain[at:], **options)]
        assert direct == [(v.path, v.entry, v.data) for v in view_from_deltas(chain[at:], deltas)]
    return {v.path: f"l{v.entry // 1000}" for v in view_from_deltas(chain, deltas) if v.path != b"/"}


def data_of(chain):
    deltas = merge(chain)
    return {v.path: v.data and f"l{v.data // 1000}" for v in view_from_deltas(chain, deltas)}


def reasons(delta):
    return {entry: each.reason for each in delta.hidden for entry in range(each.first, each.last + 1)}


def test_the_topmost_has_the_name():
    assert paths(small_chain({b"/f": file()}, {b"/f": file()}, {b"/f": file()})) == {b"/f": "l3"}


def test_a_file_cuts_what_is_below_it():
    """Directory, file, directory: the lowest is not merged, and neither is what it holds."""
    chain = small_chain({b"/p/top": file()}, {b"/p": file()}, {b"/p/low": file()})
    assert paths(chain) == {b"/p": "l3", b"/p/top": "l3"}
    assert reasons(merge(chain)["l2"]) == {1000: "merged", 1001: "replaced", 1002: "replaced"}


def test_a_whiteout_cuts_what_is_below_it():
    chain = small_chain({b"/p/top": file()}, {b"/p": whiteout()}, {b"/p/low": file()})
    assert paths(chain) == {b"/p": "l3", b"/p/top": "l3"}
    delta = merge(chain)["l2"]
    assert delta.invisible == ((2001, "whiteout"),)
    assert delta.hidden[1:] == ((1001, 1002, 2001, "whiteout"),)


def test_only_a_device_zero_is_a_whiteout():
    chain = small_chain({b"/a": Spec("c", (0, 5)), b"/b": Spec("b", (0, 0)), b"/c": Spec("c", (0, 0), mode=0o777)},
                        {b"/a": file(), b"/b": file(), b"/c": file()})  # fmt: skip
    assert paths(chain) == {b"/a": "l2", b"/b": "l2"}


def test_an_xattr_whiteout_is_an_empty_regular_file():
    empty, full = file(0, whiteout=b""), file(1, whiteout=b"y")
    assert paths(small_chain({b"/a": empty, b"/b": full}, {b"/a": file(), b"/b": file()})) == {b"/b": "l2"}


@pytest.mark.parametrize(("value", "merges"), [(b"y", False), (b"x", True), (b"yes", True), (b"", True)])
def test_opaque_directories(value, merges):
    seen = paths(small_chain({b"/d": directory(opaque=value)}, {b"/d/low": file()}))
    assert (b"/d/low" in seen) is merges


def test_marks_of_the_other_namespace_mean_nothing():
    chain = small_chain(
        {b"/d": directory(USER, opaque=b"y"), b"/w": file(0, USER, whiteout=b"")}, {b"/d/low": file(), b"/w": file()}
    )
    assert paths(chain) == {b"/d": "l2", b"/d/low": "l1", b"/w": "l2"}
    by_user = small_chain({b"/d": directory(opaque=b"y"), b"/e": directory(USER, opaque=b"y")},
                          {b"/d/low": file(), b"/e/low": file()}, marks="user")  # fmt: skip
    assert paths(by_user) == {b"/d": "l2", b"/d/low": "l1", b"/e": "l2"}


def test_marks_on_a_root_are_ignored_and_told():
    chain = small_chain({b"/": directory(opaque=b"y", redirect=b"/a")}, {b"/": directory(opaque=b"y"), b"/m": file()},
                        {b"/low": file()})  # fmt: skip
    assert paths(chain) == {b"/m": "l2", b"/low": "l1"}
    assert [problem.kind for problem in merge(chain)["l3"].problems] == ["root mark"]


def test_relative_redirects_chain():
    chain = small_chain({b"/z": directory(redirect=b"y"), b"/z/1": file(), b"/y": whiteout()},
                        {b"/y": directory(redirect=b"x"), b"/y/2": file(), b"/x": whiteout()}, {b"/x/3": file()})  # fmt: skip
    assert paths(chain) == {b"/z": "l3", b"/z/1": "l3", b"/z/2": "l2", b"/z/3": "l1"}
    deltas = merge(chain)
    assert [path for _, _, path in deltas["l2"].placed] == [b"/y/3"]
    assert [path for _, _, path in deltas["l3"].placed] == [b"/z/2", b"/z/3"]
    assert deltas["l3"].unplaced == ((1, 3001, "whiteout"),)
    assert deltas["l3"].lost == ((b"/y/3", deltas["l2"].placed[0][1]),)


def test_an_absolute_redirect_heeds_redirects_and_opaque_directories_on_its_way():
    chain = small_chain({b"/q": directory(redirect=b"/p/s")}, {b"/p": directory(redirect=b"/r")},
                        {b"/r/s/right": file(), b"/p/s/wrong": file()})  # fmt: skip
    assert b"/q/right" in paths(chain)
    assert b"/q/wrong" not in paths(chain)
    opaque = small_chain({b"/q": directory(redirect=b"/op/s")}, {b"/op": directory(opaque=b"y"), b"/op/s/2": file()},
                         {b"/op/s/1": file()})  # fmt: skip
    assert {path for path in paths(opaque) if path.startswith(b"/q")} == {b"/q", b"/q/2"}


def test_opaque_wins_over_redirect():
    assert paths(small_chain({b"/n": directory(opaque=b"y", redirect=b"o")}, {b"/o/f": file()})) == {
        b"/n": "l2", b"/o": "l1", b"/o/f": "l1"}  # fmt: skip


@pytest.mark.parametrize(("value", "told"), [(b"", "EINVAL"), (b"a/b", "EINVAL"), (b"/a//b", "EINVAL"), (b"..", "EACCES")])
def test_a_refused_directory_has_nothing_below_it(value, told):
    chain = small_chain({b"/d": directory(redirect=value), b"/d/own": file()}, {b"/d/low": file()}, {})
    assert paths(chain) == {b"/d": "l3"}
    delta = merge(chain)["l3"]
    assert delta.invisible == ((3002, "unreachable"),)
    assert reasons(delta)[2002] == "unreachable"
    assert [(p.entry, p.kind) for p in delta.problems] == [(3001, "refused")]
    assert told in delta.problems[0].text


def test_the_lowest_layer_reads_neither_opaque_nor_redirect():
    assert paths(small_chain({}, {b"/d": directory(redirect=b""), b"/d/f": file()})) == {b"/d": "l1", b"/d/f": "l1"}


def test_metacopy_data_is_found_below():
    chain = small_chain({b"/a": file(metacopy=b""), b"/new": file(metacopy=b"", redirect=b"/old"), b"/old": whiteout()},
                        {b"/a": file(metacopy=b"")}, {b"/a": file(), b"/old": file()})  # fmt: skip
    assert data_of(chain) == {b"/": None, b"/a": "l1", b"/new": "l1"}
    assert dict(merge(chain)["l3"].data) == {3001: 1001, 3002: 1002}


@pytest.mark.parametrize("below", [{}, {b"/a": directory()}, {b"/a": whiteout()}, {b"/a": file(metacopy=b"")}])
def test_metacopy_without_data(below):
    chain = small_chain({b"/a": file(metacopy=b"")}, {}, below)
    assert data_of(chain)[b"/a"] is None
    delta = merge(chain)["l3"]
    assert delta.data == ((3001, None),)
    assert [(problem.entry, problem.kind) for problem in delta.problems if problem.kind == "refused"] == [(3001, "refused")]


def test_a_metacopy_mark_of_one_byte_is_refused():
    chain = small_chain({b"/a": file(metacopy=b"y")}, {b"/a": file()})
    assert merge(chain)["l2"].data == ((2001, None),)


def test_mount_options_that_follow_nothing():
    chain = small_chain({b"/n": directory(redirect=b"o"), b"/m": file(metacopy=b"")}, {b"/o/f": file(), b"/m": file()}, {})
    assert paths(chain, follow=False, metacopy=False) == {b"/n": "l3", b"/m": "l3", b"/o": "l2", b"/o/f": "l2"}


def test_an_entry_may_come_back_to_its_own_path():
    chain = small_chain({b"/d": whiteout()}, {b"/d": directory(redirect=b"e")},
                        {b"/d": directory(opaque=b"y"), b"/e": directory(redirect=b"/d")}, {b"/d/f": file()})  # fmt: skip
    assert paths(chain[1:])[b"/d/f"] == "l1"
    assert b"/d/f" not in paths(chain[2:])
    assert b"/d/f" not in paths(chain)
    assert merge(chain)["l3"].placed[0][2] == b"/d/f"


def test_a_merged_directory_is_told():
    delta = merge(small_chain({b"/d/new": file(), b"/e": directory()}, {b"/d/low": file()}))["l2"]
    assert delta.merged == (2000, 2001)


def test_whiteouts_that_ls_shows_are_told():
    chain = small_chain({b"/new/gone": whiteout(), b"/kept/gone": whiteout()}, {b"/kept/gone": file()})
    assert [(p.entry, p.kind) for p in merge(chain)["l2"].problems] == [(2004, "stale whiteout")]


def test_redirects_that_not_every_mount_follows_are_told():
    chain = small_chain({b"/n": directory(redirect=b"o"), b"/o": whiteout()}, {b"/o/f": file()})
    assert [(p.entry, p.kind) for p in merge(chain)["l2"].problems] == [(2001, "redirect")]


def test_many_containers_of_one_image():
    base = small_tree({b"/etc/%d" % number: file() for number in range(500)})
    merger = Merger()
    merger.add(LayerTree("image", None, "trusted", base, 0))
    for number in range(50):
        layer = LayerTree(f"c{number}", "image", "trusted", small_tree({b"/etc/7": whiteout()}), 1000 * (number + 1))
        delta = merger.add(layer)
        assert len(reasons(delta)) == 3
        assert merger.chain[0] is layer
        assert len(merger.chain) == 2


def test_layers_come_depth_first():
    merger = Merger()
    for key, lower in (("a", None), ("b", "a"), ("c", "a")):
        merger.add(LayerTree(key, lower, "trusted", small_tree({}), 0))
    with pytest.raises(ValueError, match="depth first"):
        merger.add(LayerTree("d", "b", "trusted", small_tree({}), 0))


def test_a_layer_without_its_lower_one_stands_alone():
    chain = small_chain({b"/m": file(metacopy=b""), b"/n": directory(redirect=b"o")}, {b"/o/f": file()})
    assert Merger().add(chain[0]).data == ((2001, None),)


def test_redirects_that_multiply_are_cut_off():
    """Each layer places the whole of the one below a hundred times."""
    layers = [{b"/%d" % number: directory(redirect=b"/w") for number in range(100)} | {b"/w": directory()}]
    for _ in range(6):
        layers.append({b"/w/%d" % number: directory(redirect=b"/w") for number in range(100)})
    delta = merge(small_chain(*layers, {b"/w/f": file()}))["l8"]
    assert len(delta.placed) < 10_000
    assert "limit" in [problem.kind for problem in delta.problems]


def test_deep_trees_and_long_chains():
    deep = b"/d" * 3000
    chain = small_chain({deep + b"/f": file()}, {b"/d/d": directory(), deep + b"/low": file()})
    assert len(reasons(merge(chain)["l2"])) == 3001
    long = small_chain(*({b"/f": file(), b"/only%d" % number: file()} for number in range(300)))
    assert len(view_from_deltas(long, merge(long))) == 302


ODD_VALUES = [b"", b"/", b"a/b", b"..", b"a\0b", b"/b/..", b"b", b"c", b"/a", b"/b", b"/a/b", b"/b/a", b"/a/b/c", b"/c/c"]


def random_entries(rng):
    """Any entries with any marks, without a filesystem that would object."""
    entries = {}
    for _ in range(rng.randint(0, 14)):
        path = b"".join(b"/" + rng.choice([b"a", b"b", b"c"]) for _ in range(rng.randint(1, 3)))
        parents = [path[:at] for at in range(1, len(path)) if path[at : at + 1] == b"/"]
        if any(parent in entries and entries[parent].type != "d" for parent in parents) or path in entries:
            continue
        marks = {}
        if rng.random() < 0.3:
            marks["redirect"] = rng.choice(ODD_VALUES)
        if rng.random() < 0.15:
            marks["opaque"] = rng.choice([b"y", b"x"])
        if rng.random() < 0.3:
            marks["metacopy"] = rng.choice([b"", b"", b"", b"1234", b"y"])
        kind = rng.choice("dddddffffwwlx")
        if kind == "w":
            entries[path] = whiteout()
        elif kind == "x":
            entries[path] = file(0, whiteout=b"")
        else:
            entries[path] = Spec(kind, xattrs=directory(**marks).xattrs, size=1)
    for path in [path for path in entries if any(other.startswith(path + b"/") for other in entries)]:
        entries[path].type = "d"
    return entries


@given(st.randoms(use_true_random=False), st.integers(2, 6))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_deltas_add_up_to_the_merged_view(rng, count):
    paths(small_chain(*(random_entries(rng) for _ in range(count))))


def test_deltas_add_up_with_every_mount_option():
    for seed in range(300):
        rng = random.Random(seed)
        chain = small_chain(*(random_entries(rng) for _ in range(rng.randint(2, 5))), marks=rng.choice(["trusted", "user"]))
        paths(chain, follow=rng.random() < 0.5, metacopy=rng.random() < 0.5)
