"""Which snapshot was a removed container's own, by the times of both."""

from dataclasses import replace

from forensics.records import Container, ContainerImage, Layer, Store, StoreContents
from forensics.recovery.files.births import layers_before, layers_by_birth
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.removed_layers import with_removed_layers
from support.memory_filesystem import DamagedFilesystem, MemoryFilesystem

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


def test_after_a_known_init_layer_the_next_one_is_the_containers_own():
    births = [(10 * SECOND + 12, "overlayfs/3"), (10 * SECOND + 200_000_000, "overlayfs/4")]  # the second: made by docker commit
    assert layers_by_birth([container("a", 10 * SECOND)], births, [(10 * SECOND + 5, "overlayfs/2")]) == {"a": "overlayfs/3"}
    assert layers_by_birth([container("a", 10 * SECOND)], births, [(8 * SECOND, "overlayfs/1")]) == {"a": "overlayfs/4"}


def test_neither_a_view_nor_an_init_layer_is_a_containers_own():
    snapshots = b"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
    born = {
        b"/2/fs": 5, b"/2/fs/.dockerenv": 6, b"/2/fs/etc": 6, b"/2/fs/etc/hosts": 6, b"/2/work": 5,
        b"/3/fs": 12, b"/3/fs/root": 12, b"/3/work": 12,
        b"/4/fs": 200_000_000,
    }  # fmt: skip
    deleted = [
        Numbered(
            number, 1, DeletedFile(snapshots + path, number, "d", 0o755, 0, 0, 6, "journal", "certain", crtime_ns=SECOND + ns)
        )
        for number, (path, ns) in enumerate(born.items(), 1)
    ]
    store = Store("docker:p1:/var/lib/docker", "docker", "/var/lib/docker", "overlayfs", None, 1)
    image = ContainerImage("docker", None, "sha256:i", (), None, None, (), top="overlayfs/1")
    layer = Layer("overlayfs/1", "1", "image", None, f"{snapshots.decode()}/1/fs", 1)
    contents = StoreContents(store, (layer,), (image,), (container("a", SECOND, image_id="sha256:i"),))
    (found,) = with_removed_layers([contents], {1: MemoryFilesystem({})}, deleted).stores
    assert found.containers[0].layer == "overlayfs/3"
    assert {each.key: (each.kind, each.lower) for each in found.layers} == {
        "overlayfs/1": ("image", None),
        "overlayfs/2": ("init", "overlayfs/1"),
        "overlayfs/3": ("container", "overlayfs/2"),
        "overlayfs/4": ("orphan", None),
    }


def test_a_layer_is_the_containers_of_which_the_directory_was_born_next():
    births = [(1000, "overlay2/a"), (3000, "overlay2/b")]
    assert layers_before([(1500, "one"), (3500, "two")], births, 1) == {"one": "overlay2/a", "two": "overlay2/b"}
    assert layers_before([(1500, "one"), (3500, "two")], [*births, (3200, "overlay2/c")], 1) == {"one": "overlay2/a"}
    assert layers_before([(1500, "one"), (3500, "two")], [*births, (3200, "overlay2/c")], 2)["two"] == "overlay2/c"
    assert layers_before([(1000 + SECOND, "late")], births[:1], 1) == {}
    assert layers_before([(999, "early")], births, 1) == {}
    assert layers_before([(3400, "one"), (3500, "two")], births, 1) == {}


def test_a_snapshot_is_the_containers_of_which_the_shims_directory_was_born_next():
    root = b"/var/lib/containerd"
    snapshots, tasks = root + b"/io.containerd.snapshotter.v1.overlayfs/snapshots", root + b"/io.containerd.runtime.v2.task"
    born = {
        snapshots + b"/4/fs": 10 * SECOND,
        tasks + b"/default/doomed": 10 * SECOND + 200_000_000,
        snapshots + b"/7/fs": 20 * SECOND,
        tasks + b"/default/late": 22 * SECOND,
    }
    deleted = [
        Numbered(number, 1, DeletedFile(path, number, "d", 0o755, 0, 0, 6, "journal", "certain", crtime_ns=time))
        for number, (path, time) in enumerate(born.items(), 1)
    ]
    names = [Container("containerd", "default", name, name, origin="recovered") for name in ("doomed", "late")]
    store = Store("containerd:/var/lib/containerd", "containerd", "/var/lib/containerd", "overlayfs", None, 1)
    found = with_removed_layers([StoreContents(store, containers=tuple(names))], {1: MemoryFilesystem({})}, deleted)
    assert {each.container_id: each.layer for each in found.stores[0].containers} == {"doomed": "overlayfs/4", "late": None}
    assert found.inferred == {(1, "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/4/fs")}


def test_a_layer_whose_link_is_gone_stands_on_its_init_layer():
    overlay2, own = b"/var/lib/docker/overlay2", b"c" * 64

    def deleted(number, path, **more):
        kind = {"type": "f", "inline": more["inline"]} if "inline" in more else {"type": "d"}
        size = len(more.get("inline", b""))
        return Numbered(
            number,
            1,
            DeletedFile(
                overlay2 + path, number, mode=0o755, uid=0, gid=0, size=size, method="journal", confidence="certain", **kind
            ),
        )

    files = (
        deleted(1, b"/" + own + b"/diff"),
        deleted(2, b"/" + own + b"/lower", inline=b"l/" + b"A" * 26 + b":l/" + b"B" * 26),
        deleted(3, b"/" + own + b"-init/diff"),
        deleted(4, b"/" + own + b"-init/lower", inline=b"l/" + b"B" * 26),
    )
    store = Store("docker:p1:/var/lib/docker", "docker", "/var/lib/docker", "overlay2", None, 1)
    gone = container("a", SECOND, layer=f"overlay2/{own.decode()}")
    (found,) = with_removed_layers([StoreContents(store, containers=(gone,))], {1: MemoryFilesystem({})}, files).stores
    assert {each.key: each.lower for each in found.layers} == {
        f"overlay2/{own.decode()}": f"overlay2/{own.decode()}-init",
        f"overlay2/{own.decode()}-init": f"overlay2/l/{'B' * 26}",
    }


def test_a_live_init_layer_that_is_damaged_tells_no_birth():
    store = Store("docker:p1:/var/lib/docker", "docker", "/var/lib/docker", "overlayfs", None, 1)
    layer = Layer("overlayfs/2", "x-init", "init", 2, "/snapshots/2/fs", 1)
    contents = StoreContents(store, layers=(layer,), containers=(container("a", SECOND),))
    damaged = DamagedFilesystem(MemoryFilesystem({}), broken=[2])
    (found,) = with_removed_layers([contents], {1: damaged}, ()).stores
    assert (found.layers, found.containers) == (contents.layers, contents.containers)
