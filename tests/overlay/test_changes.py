"""`docker diff` by what the daemon's own walk would find."""

from dataclasses import replace

import pytest

from forensics.changes import docker_changes, view_changes
from forensics.overlay import Merger
from support.small_tree import Spec, directory, file, small_chain, whiteout

CAPABILITY = {b"security.capability": b"cap"}


def changes(upper, *lower):
    chain = small_chain(upper, *lower)
    merger = Merger()
    for layer in reversed(chain):
        delta = merger.add(layer)
    found = docker_changes(merger.chain, delta)
    assert view_changes(chain, chain[1:]) == found
    return found


def test_added_with_all_below_it():
    assert changes({b"/d/new/f": file()}, {b"/d": directory()}) == [("C", b"/d"), ("A", b"/d/new"), ("A", b"/d/new/f")]


def test_deleted_without_what_was_below_it():
    assert changes({b"/d/gone": whiteout()}, {b"/d/gone/f": file()}) == [("C", b"/d"), ("D", b"/d/gone")]


def test_a_directory_copied_up_for_nothing_is_no_change():
    assert changes({b"/d/e": directory()}, {b"/d/e/f": file()}) == []


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ({}, []),
        ({"mtime": 10**18 + 1}, []),  # one of the two has no fraction
        ({"mtime": 10**18 + 10**9}, ["C"]),
        ({"size": 4}, ["C"]),
        ({"mode": 0o600}, ["C"]),
        ({"uid": 1}, ["C"]),
        ({"type": "p"}, ["C"]),
        ({"xattrs": CAPABILITY}, ["C"]),
        ({"xattrs": {b"user.mark": b"1"}}, []),
    ],
)
def test_what_makes_a_file_changed(what, kinds):
    assert [kind for kind, _ in changes({b"/f": replace(file(), **what)}, {b"/f": file()})] == kinds


def test_times_with_fractions_are_compared_in_full():
    upper, lower = replace(file(), mtime=10**18 + 5), replace(file(), mtime=10**18 + 6)
    assert changes({b"/f": upper}, {b"/f": lower}) == [("C", b"/f")]


def test_the_time_of_a_directory_does_not_count():
    assert changes({b"/d": replace(directory(), mtime=5)}, {b"/d": directory()}) == []
    assert changes({b"/d": replace(directory(), mode=0o700)}, {b"/d": directory()}) == [("C", b"/d")]


def test_a_directory_made_anew():
    assert changes({b"/d": directory(opaque=b"y"), b"/d/new": file()}, {b"/d/old/f": file()}) == [
        ("C", b"/d"), ("A", b"/d/new"), ("D", b"/d/old")]  # fmt: skip


def test_a_directory_replaced():
    """By a file: what was in it is not listed. By a block device or socket, whose mode has a directory's bit: it is."""
    assert changes({b"/d": file()}, {b"/d/f": file()}) == [("C", b"/d")]
    assert changes({b"/d": Spec("b", (7, 1))}, {b"/d/f/g": file()}) == [("C", b"/d"), ("D", b"/d/f")]


def test_a_renamed_directory():
    chain = ({b"/new": directory(redirect=b"old"), b"/old": whiteout()}, {b"/old/f": file()})
    assert changes(*chain) == [("A", b"/new"), ("A", b"/new/f"), ("D", b"/old")]
    again = {b"/newer": directory(redirect=b"new"), b"/new": whiteout()}
    assert changes(again, *chain) == [("D", b"/new"), ("A", b"/newer"), ("A", b"/newer/f")]


def test_the_root_is_not_listed():
    assert changes({b"/": replace(directory(), mode=0o700)}, {b"/": directory()}) == []


def test_ancestors_are_listed_once():
    assert changes({b"/a/b/c/x": file(), b"/a/b/c/y": file()}, {b"/a/b/c": directory()}) == [
        ("C", b"/a"), ("C", b"/a/b"), ("C", b"/a/b/c"), ("A", b"/a/b/c/x"), ("A", b"/a/b/c/y")]  # fmt: skip


def test_sockets_and_block_devices_have_no_times():
    """As the daemon has it: S_IFDIR is a bit of their mode too."""
    assert changes({b"/s": Spec("s", mtime=5)}, {b"/s": Spec("s")}) == []


def test_whole_directories():
    (new,) = small_chain({b"/d/new": file(), b"/same": file(), b"/changed": file(4)}, marks="none")
    (old,) = small_chain({b"/d/gone": file(), b"/same": file(), b"/changed": file()}, marks="none")
    assert view_changes([new], [replace(old, first_entry=1000)]) == [
        ("C", b"/changed"), ("C", b"/d"), ("D", b"/d/gone"), ("A", b"/d/new"),
    ]  # fmt: skip
