"""Which snapshot was a removed container's own, by the times of both."""

from dataclasses import replace

from forensics.records import Container
from forensics.recovery.births import layers_before, layers_by_birth

SECOND = 1_000_000_000


def container(name, created, **more):
    return Container("docker", None, name, name, created_ns=created, **{"origin": "recovered", **more})


def test_the_second_of_two_directories_is_the_containers_own():
    births = [(10 * SECOND - 3_000_000, "overlayfs/1"), (10 * SECOND + 5_000_000, "overlayfs/2")]
    assert layers_by_birth([container("a", 10 * SECOND)], births) == {"a": "overlayfs/2"}


def test_the_next_container_ends_the_time_in_which_one_is_looked_for():
    births = [(10 * SECOND + 1, "overlayfs/1"), (10 * SECOND + 300_000_001, "overlayfs/2")]
    both = [container("b", 10 * SECOND + 300_000_000), container("a", 10 * SECOND)]
    assert layers_by_birth(both, births) == {"a": "overlayfs/1", "b": "overlayfs/2"}


def test_none_is_taken_where_there_are_more_or_none_or_it_is_known():
    births = [(10 * SECOND + n, f"overlayfs/{n}") for n in range(3)]
    assert layers_by_birth([container("a", 10 * SECOND)], births) == {}
    assert layers_by_birth([container("a", 20 * SECOND)], births) == {}
    assert layers_by_birth([container("a", 10 * SECOND, layer="overlayfs/9")], births[:1]) == {}
    assert layers_by_birth([container("a", 10 * SECOND, origin="allocated")], births[:1]) == {}
    assert layers_by_birth([container("a", None)], births[:1]) == {}


def test_containerd_has_the_directory_made_before_the_container():
    births = [(10 * SECOND - 5_000_000, "overlayfs/1"), (10 * SECOND + 295_000_000, "overlayfs/2")]
    both = [replace(container(name, 10 * SECOND + ns), engine="containerd") for name, ns in (("a", 0), ("b", 300_000_000))]
    assert layers_by_birth(both, births) == {"a": "overlayfs/1", "b": "overlayfs/2"}
    assert layers_by_birth(both, [*births, (10 * SECOND + 1, "overlayfs/3")]) == {"a": "overlayfs/1"}


def test_a_layer_is_the_containers_of_which_the_directory_was_born_next():
    births = [(1000, "overlay2/a"), (3000, "overlay2/b")]
    assert layers_before([(1500, "one"), (3500, "two")], births, 1) == {"one": "overlay2/a", "two": "overlay2/b"}
    assert layers_before([(1500, "one"), (3500, "two")], [*births, (3200, "overlay2/c")], 1) == {"one": "overlay2/a"}
    assert layers_before([(1500, "one"), (3500, "two")], [*births, (3200, "overlay2/c")], 2)["two"] == "overlay2/c"
    assert layers_before([(1000 + SECOND, "late")], births[:1], 1) == {}
    assert layers_before([(999, "early")], births, 1) == {}
    assert layers_before([(3400, "one"), (3500, "two")], births, 1) == {}
