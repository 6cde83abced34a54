"""What the ids of Docker's containers are on the host: of a rootless daemon, and of one that remaps all containers."""

import contextlib
import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.commands.privileges import privileges
from forensics.pipeline import CarveOptions, carve
from forensics.progress import Silent
from parsers.id_map import IDS, MAX_RANGES, IdRange, remapped
from support.host_archive import Item, host_archive

WEB, HOSTS = "a" * 64, "b" * 64
PASSWD = Item(b"root:x:0:0::/root:/bin/sh\neve:x:1005:1005::/srv/eve:/bin/sh\ndockremap:x:990:990::/:/bin/false\n")
SUBUID = Item(b"dockremap:500000:1000\neve:300000:65536\ndockremap:100000:65536\n")
SUBGID = Item(b"dockremap:200000:65536\n1005:400000:65536\n")
HOST = {"/etc/hostname": Item(b"h\n"), "/etc/passwd": PASSWD, "/etc/subuid": SUBUID, "/etc/subgid": SUBGID}
REMAPPED = {"uids": [[0, 100000, 65536], [65536, 500000, 1000]], "gids": [[0, 200000, 65536]]}
ROOTLESS = {"uids": [[0, 1005, 1], [1, 300000, 65536]], "gids": [[0, 1005, 1], [1, 400000, 65536]]}


def data_root(path, uid=0, gid=0):
    """A data-root with a container, and one that asked for the host's ids."""
    items = {path: Item(None, uid=uid, gid=gid), f"{path}/image/overlay2/layerdb/sha256": Item(None)}
    for cid, mode in ((WEB, ""), (HOSTS, "host")):
        config = {"ID": cid, "Name": f"/{cid[0]}", "Driver": "overlay2", "State": {}}
        items[f"{path}/containers/{cid}/config.v2.json"] = Item(json.dumps(config).encode())
        items[f"{path}/containers/{cid}/hostconfig.json"] = Item(json.dumps({"UsernsMode": mode, "NetworkMode": "none"}).encode())
    return items


def id_maps(tmp_path, items):
    archive = host_archive(tmp_path / "host.tar", items)
    carve([archive], tmp_path / "case.db", CarveOptions(carve="none"), Silent())
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        rows = db.execute("SELECT container_id, id_map FROM containers ORDER BY container_id").fetchall()
    told = dict(rows)
    assert set(told) == {WEB, HOSTS}
    return [told[cid] and json.loads(told[cid]) for cid in (WEB, HOSTS)]


@pytest.mark.parametrize("gid", [0, 200000])
def test_a_daemon_that_remaps_its_containers(gid, tmp_path):
    items = HOST | data_root("/var/lib/docker/100000.200000", gid=gid)
    assert id_maps(tmp_path, items) == [REMAPPED, None], "but one that was started with --userns=host"


def test_a_remapped_daemon_of_ids_that_no_file_gives(tmp_path):
    items = {name: item for name, item in HOST.items() if not name.startswith("/etc/sub")}
    items |= data_root("/var/lib/docker/100000.200000", gid=200000)
    assert id_maps(tmp_path, items) == [{"uids": [[0, 100000, 1]], "gids": [[0, 200000, 1]]}, None]


def test_a_data_root_that_has_a_version_for_a_name(tmp_path):
    assert id_maps(tmp_path, HOST | data_root("/srv/docker/20.10")) == [None, None]


@pytest.mark.parametrize("path", ["/srv/eve/.local/share/docker", "/data/eves"])
def test_a_rootless_daemon(path, tmp_path):
    """--userns=host is its user's namespace."""
    assert id_maps(tmp_path, HOST | data_root(path, uid=1005, gid=1005)) == [ROOTLESS, ROOTLESS]


@pytest.mark.parametrize("uid", [0, 4711])
def test_a_data_root_of_root_or_of_nobody_that_the_host_knows(uid, tmp_path):
    """A copy that somebody unpacked is no rootless daemon's."""
    assert id_maps(tmp_path, HOST | data_root("/var/lib/docker", uid=uid)) == [None, None]


def test_several_users_with_the_same_first_id():
    assert remapped(b"a:5:10\nb:5:10\n", 5) == (IdRange(0, 5, 10),)
    assert remapped(b"a:5:10\nb:5:11\n", 5) == ()
    assert remapped(b"a:5:10\na:1:2\n", 5) == (), "the lowest id is root's"
    assert len(remapped(b"".join(b"a:%d:1\n" % n for n in range(1000)), 0)) == MAX_RANGES


@given(st.binary(max_size=200) | st.text("ab:0123456789\n", max_size=200).map(str.encode), st.integers(0, IDS))
def test_any_bytes_may_stand_in_subuid(data, first):
    found = remapped(data, first)
    assert not found or found[0].outside == first
    assert all(each.outside + each.count <= IDS for each in found)


def test_show_tells_the_ids():
    row = {"engine": "docker", "privileged": 0, "id_map": json.dumps(ROOTLESS), "config": None, "hostconfig": None}
    told = dict(privileges(row, {}, {}))
    assert told["user namespace"] == (
        "uids 0 = 1005, 1-65536 = 300000-365535; gids 0 = 1005, 1-65536 = 400000-465535 on the host"
    )
    assert dict(privileges(row | {"id_map": None}, {}, {}))["user namespace"] is None
