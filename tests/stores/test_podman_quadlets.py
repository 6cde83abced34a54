"""Quadlets in the case: the system's and users', each once, in the store of whom they are."""

import contextlib
import json
import sqlite3

from forensics.pipeline import CarveOptions, carve
from forensics.progress import Silent
from forensics.stores.host_tree import HostTree
from forensics.stores.podman.quadlets import quadlets
from forensics.stores.reading import Place, StoreReader
from support.host_archive import Item, host_archive
from support.memory_filesystem import MemoryFilesystem

WEB = b"""[Unit]
Description=web
[Container]
Image=localhost/web:1
ContainerName=web
Exec=sh -c "run"
Volume=/etc:/host:ro
Volume=data.volume:/data
Environment=PASSWORD=hunter22
[Install]
WantedBy=multi-user.target
"""
HOST = {
    "/etc/hostname": Item(b"pods\n"),
    "/etc/passwd": Item(b"root:x:0:0::/root:/bin/sh\neve:x:1005:1005::/srv/eve:/bin/sh\n"),
    "/etc/containers/systemd/web.container": Item(WEB),
    "/etc/containers/systemd/more/data.volume": Item(b"[Volume]\n"),
    "/etc/containers/systemd/readme.txt": Item(b"[Container]\nImage=none\n"),
    "/etc/containers/systemd/users/all.container": Item(b"[Container]\nImage=all\n"),
    "/etc/containers/systemd/users/1005/hers.kube": Item(b"[Kube]\nYaml=/srv/eve/pod.yaml\n"),
    "/etc/containers/systemd/users/1006/his.container": Item(b"[Container]\nImage=his\n"),
    "/srv/eve/.config/containers/systemd/own.pod": Item(b"[Pod]\nPodName=p\n\0\xff[Con=\n"),
}


def store(root, uid=0):
    items = {root: Item(None, uid, uid)}
    return items | {f"{root}/overlay-{part}/{part}.json": Item(b"[]", uid, uid) for part in ("layers", "images", "containers")}


def told(tmp_path, items):
    carve([host_archive(tmp_path / "host.tar", items)], tmp_path / "case.db", CarveOptions(carve="none"), Silent())
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        rows = db.execute("SELECT name, path, details FROM artefacts WHERE kind = 'quadlet' ORDER BY path").fetchall()
    return {name: (path, json.loads(details)) for name, path, details in rows}, len(rows)


def test_the_systems_and_a_users(tmp_path):
    stores = store("/var/lib/containers/storage") | store("/srv/second") | store("/srv/eve/elsewhere", 1005)
    found, count = told(tmp_path, HOST | stores)
    assert count == len(found) == 5
    assert found["web.container"] == (
        "/etc/containers/systemd/web.container",
        {"Image": "localhost/web:1", "ContainerName": "web", "Exec": 'sh -c "run"', "Volume": "/etc:/host:ro, data.volume:/data",
         "WantedBy": "multi-user.target"},
    )  # fmt: skip
    assert found["hers.kube"][1] == {"Yaml": "/srv/eve/pod.yaml"}
    assert found["own.pod"][0] == "/srv/eve/.config/containers/systemd/own.pod"
    assert {"data.volume", "all.container"} < found.keys()


def test_a_user_without_a_store_has_none_in_anothers(tmp_path):
    found, _ = told(tmp_path, HOST | store("/var/lib/containers/storage"))
    assert found.keys() == {"web.container", "data.volume"}


def test_directories_in_circles_and_too_many_files_are_bounded(monkeypatch):
    """Every directory has itself in it, under many names, as only a forged filesystem can have."""
    monkeypatch.setattr("forensics.stores.podman.quadlets.MAX_FILES", 3)
    inside = {f"{number}.container": b"[Container]\n" for number in range(5)}
    fs = MemoryFilesystem({"etc": {"containers": {"systemd": inside}}})
    tree = HostTree({b"/": Place(1, fs, fs.root, b"/")})
    top = tree.resolve(b"/etc/containers/systemd").inode
    fs.nodes[top].content.update({b"again%d" % number: top for number in range(20)})
    reader = StoreReader()
    found = list(quadlets(reader, "podman", tree, 0))
    assert [each.name for each in found] == ["0.container", "1.container", "2.container"]
    assert [gap.artefact for gap in reader.gaps] == ["quadlet"]
