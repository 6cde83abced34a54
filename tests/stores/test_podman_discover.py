"""Graphroots are found wherever they are, once, with the configuration that is in force there."""

import sqlite3
from types import SimpleNamespace

from forensics.host import Host
from forensics.stores.podman.discover import find_graph_roots
from forensics.stores.reading import StoreReader
from forensics.survey import Partition, Survey
from forensics.text import readable
from forensics.volume import Volume
from parsers.host_files import fstab
from support.memory_filesystem import MemoryFilesystem

ROOT = {"overlay": {"l": {}}, "overlay-layers": {}, "overlay-images": {}, "overlay-containers": {}}


def find(*trees, table=""):
    """The graphroots on a disk of these filesystems, the first being the host's own, and what could not be read."""
    partitions = []
    for number, tree in enumerate(trees, 1):
        fs = MemoryFilesystem(tree, uuid=f"0000-{number:04d}")
        partitions.append(
            Partition(Volume(number, "gpt", f"p{number}", 0, 0, None, None, None, fs.source), fs, "memory", "clean")
        )
    host = Host(1, "host", None, None, None, None, fstab(table))
    reader = StoreReader()
    return find_graph_roots(Survey(SimpleNamespace(), tuple(partitions), {1: host}, {}, ()), reader), reader.gaps


def told(*trees, table=""):
    roots, gaps = find(*trees, table=table)
    assert gaps == []
    return [
        (root.place.partition, readable(root.place.path), root.host_path and readable(root.host_path), root.how) for root in roots
    ]


def etc(**files):
    return {"containers": {name.replace("_", "."): text for name, text in files.items()}}


def test_the_default():
    tree = {"var": {"lib": {"containers": {"storage": ROOT}}}}
    assert told(tree) == [(1, "/var/lib/containers/storage", "/var/lib/containers/storage", "default")]


def test_nothing_is_no_store():
    assert told({"var": {"lib": {"containers": {"storage": {"overlay": {}}}}}}) == []


def test_storage_conf_leads_anywhere():
    tree = {"etc": etc(storage_conf=b'[storage]\ngraphroot = "/data/pods/"\n'), "data": {}}
    found = told(tree, {"pods": ROOT}, table="UUID=0000-0002 /data ext4 defaults 0 0\n")
    assert found == [(2, "/pods", "/data/pods", "/etc/containers/storage.conf")]


def test_the_first_storage_conf_stands_instead_of_the_other():
    shipped = etc(storage_conf=b'[storage]\ngraphroot = "/shipped"\n')
    tree = {"etc": etc(storage_conf=b'[storage]\ngraphroot = "/own"\n'), "usr": {"share": shipped}, "own": ROOT}
    assert told(tree) == [(1, "/own", "/own", "/etc/containers/storage.conf")]
    assert told({"usr": {"share": shipped}, "shipped": ROOT})[0][3] == "/usr/share/containers/storage.conf"


def test_homes():
    passwd = b"root:x:0:0::/root:/bin/sh\nbob:x:1001:1001::/srv/bob:/bin/sh\nbroken line\n"
    store = {".local": {"share": {"containers": {"storage": ROOT}}}}
    tree = {"etc": {"passwd": passwd}, "root": store, "home": {"alice": store}, "srv": {"bob": store}}
    assert [(path, how) for _, path, _, how in told(tree)] == [
        ("/root/.local/share/containers/storage", "rootless"),
        ("/home/alice/.local/share/containers/storage", "rootless"),
        ("/srv/bob/.local/share/containers/storage", "rootless"),
    ]


def test_rootless_paths():
    conf = b'[storage]\nrootless_storage_path = "/pods/$USER-${UID}"\n'
    passwd = b"bob:x:1001:1001::/srv/bob:/bin/sh\n"
    tree = {"etc": {"passwd": passwd, "containers": {"storage.conf": conf}}, "pods": {"bob-1001": ROOT}}
    assert told(tree) == [(1, "/pods/bob-1001", "/pods/bob-1001", "rootless_storage_path")]
    own = {".config": {"containers": {"storage.conf": b'[storage]\ngraphroot = "/pods/mine"\n'}}}
    tree = {"home": {"bob": own}, "pods": {"mine": ROOT}}
    assert told(tree) == [(1, "/pods/mine", "/pods/mine", "/home/bob/.config/containers/storage.conf")]


def test_by_shape():
    """With a host's path where a host mounts it; the user's own configuration counts in a home."""
    conf = b'[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\n'
    home = {".config": {"containers": {"storage.conf": conf}}, "x": {"pods": ROOT}}
    (root,), gaps = find({"home": {"bob": home}})
    assert gaps == []
    assert (root.how, root.host_path) == ("shape", b"/home/bob/x/pods")
    assert root.configured.conf.mount_program == "/usr/bin/fuse-overlayfs"
    assert told({}, {"lost": {"pods": ROOT}}) == [(2, "/lost/pods", None, "shape")]


def test_vfs_alone():
    tree = {"x": {"vfs": {"dir": {}}, "vfs-layers": {}, "vfs-images": {}, "vfs-containers": {}}}
    assert told(tree) == [(1, "/x", "/x", "shape")]


def test_additional_stores():
    conf = b'[storage]\ngraphroot = "/g"\n[storage.options]\nadditionalimagestores = ["/shared"]\n'
    roots, _ = find({"etc": etc(storage_conf=conf), "g": ROOT, "shared": ROOT})
    assert [(root.host_path, root.how, root.configured.stores) for root in roots] == [
        (b"/g", "/etc/containers/storage.conf", (b"/shared",)),
        (b"/shared", "additional store", ()),
    ]


def test_a_damaged_configuration_is_told():
    tree = {"etc": etc(storage_conf=b"[storage\n"), "var": {"lib": {"containers": {"storage": ROOT}}}}
    roots, gaps = find(tree)
    assert [root.how for root in roots] == ["default"]
    assert gaps
    assert {gap.artefact for gap in gaps} == {"storage.conf"}


def test_drop_ins_say_what_counts_last():
    """As Podman 5.8 reads them: of root, of all, the system's over those that were shipped."""
    files = {
        "storage.conf": b'[storage]\ngraphroot = "/one"\nrunroot = "/r"\n',
        "storage.conf.d": {"10.conf": b'[storage]\ngraphroot = "/two"\n', "20.txt": b"["},
        "storage.rootful.conf.d": {"10.conf": b'[storage]\ngraphroot = "/three"\n'},
    }
    trees = {"one": ROOT, "two": ROOT, "three": ROOT, "usr": {"share": {"containers": {"storage.conf.d": {}}}}}
    found = {path: how for _, path, _, how in told({"etc": {"containers": files}, **trees})}
    assert found == {
        "/one": "shape",
        "/two": "/etc/containers/storage.conf.d/10.conf",  # of users
        "/three": "/etc/containers/storage.rootful.conf.d/10.conf",
    }


def test_drop_ins_of_users():
    passwd = b"bob:x:1001:1001::/srv/bob:/bin/sh\n"
    system = {"storage.rootless.conf.d": {"1001": {"1.conf": b'[storage]\ngraphroot = "$HOME/pods"\n'}, "x": b""}}
    mine = {".config": {"containers": {"storage.conf.d": {"1.conf": b'[storage.options]\nmount_program = "/bin/f"\n'}}}}
    tree = {"etc": {"passwd": passwd, "containers": system}, "srv": {"bob": {"pods": ROOT, **mine}}}
    (root,), _ = find(tree)
    assert (root.host_path, root.configured.conf.mount_program) == (b"/srv/bob/pods", "/bin/f")


RUN = {"overlay": {}, "overlay-layers": {}, "overlay-containers": {"volatile-containers.json": b"[]"}}


def run_roots(tree):
    roots, _ = find(tree)
    return [(readable(root.host_path), root.run and readable(root.run.path)) for root in roots]


def test_a_run_root_is_no_store():
    conf = b'[storage]\ngraphroot = "/g"\nrunroot = "/r"\n'
    assert run_roots({"etc": etc(storage_conf=conf), "g": ROOT, "r": RUN}) == [("/g", "/r")]
    store, run = {"lib": {"containers": {"storage": ROOT}}}, {"containers": {"storage": RUN}}
    assert run_roots({"var": store, "run": run}) == [("/var/lib/containers/storage", "/run/containers/storage")]


def test_the_database_in_a_run_root_tells_whose_it_is():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE DBConfig (GraphRoot TEXT, VolumeDir TEXT, GraphDriver TEXT)")
    connection.execute("INSERT INTO DBConfig VALUES ('/g', '/g/volumes', 'overlay')")
    run = {**RUN, "db.sql": connection.serialize()}
    connection.close()
    assert run_roots({"g": ROOT, "h": ROOT, "r": run}) == [("/g", "/r"), ("/h", None)]
    assert run_roots({"h": ROOT, "r": run}) == [("/h", None), ("/r", None)]  # nobody's: by itself
    assert run_roots({"g": ROOT, "r": {**run, "overlay-images": {}}}) == [("/g", None), ("/r", None)]  # images are no run root's
