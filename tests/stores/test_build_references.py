"""buildx's references: who began a build and from where, also of builds that BuildKit's history has no more."""

import contextlib
import json
import lzma
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.pipeline import CarveOptions, carve
from forensics.progress import Silent
from parsers.buildx import parse_build_reference
from parsers.errors import FormatError
from support.host_archive import Item, host_archive

KEPT, GONE, BAKED, BROKEN = "lkkndilm9riz989bivmda091p", "b" * 25, "c" * 25, "d" * 25
DATA = Path(__file__).parent.parent / "data" / "buildkit"
HISTORY = lzma.decompress((DATA / "history.db.xz").read_bytes())
HOST = {
    "/etc/hostname": Item(b"h\n"),
    "/etc/passwd": Item(b"root:x:0:0::/root:/bin/sh\neve:x:1005:1005::/srv/eve:/bin/sh\n"),
    "/var/lib/docker/containers": Item(None),
    "/var/lib/docker/image/overlay2/layerdb/sha256": Item(None),
    "/var/lib/docker/buildkit/history.db": Item(HISTORY),
    "/srv/other/containers": Item(None),
    "/srv/other/image/overlay2/layerdb/sha256": Item(None),
}


def reference(home, ref, data):
    return {f"{home}/.docker/buildx/refs/default/node0/{ref}": Item(data)}


def builds(tmp_path, items):
    archive = host_archive(tmp_path / "host.tar", HOST | items)
    carve([archive], tmp_path / "case.db", CarveOptions(carve="none"), Silent())
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        query = "SELECT record_id, description, created_ns, completed_ns, details, source FROM build_records WHERE kind = 'build'"
        rows = [(ref, (*told, json.loads(details), source)) for ref, *told, details, source in db.execute(query)]
        gaps = [gap for (gap,) in db.execute("SELECT path FROM gaps WHERE artefact = 'build reference'")]
    assert len(rows) == len(dict(rows)), "a build stands once, however many data-roots the host has"
    return dict(rows), gaps


def test_who_began_a_build_and_from_where(tmp_path):
    items = reference("/root", KEPT, b'{"Target":"default","LocalPath":"/root/app","DockerfilePath":""}')
    items |= reference("/srv/eve", GONE, b'{"Target":"default","LocalPath":"/srv/eve/x","DockerfilePath":"/srv/eve/x/Evil"}')
    items |= reference("/srv/eve", BAKED, b'{"Target":"web","LocalPath":"-","GroupRef":"g"}')
    items |= reference("/srv/eve", BROKEN, b"{") | reference("/srv/eve", "__group__", b"{}")
    told, gaps = builds(tmp_path, items)
    assert set(told) == {"itfgiyiyrox5snqarsq9y8odd", KEPT, GONE, BAKED}
    *_, completed, details, source = told[KEPT]
    assert (completed is None, details["local path"], details["begun in the home"], details["steps"]) == (
        False,
        "/root/app",
        "/root",
        "9",
    )
    assert "history.db" in source
    description, created, completed, details, source = told[GONE]
    assert (description, created, completed) == ("/srv/eve/x/Evil /srv/eve/x", 1_700_000_000 * 10**9, None)
    assert details == {
        "begun in the home": "/srv/eve", "builder": "default/node0", "local path": "/srv/eve/x", "dockerfile": "/srv/eve/x/Evil",
    }  # fmt: skip
    assert f"/srv/eve/.docker/buildx/refs/default/node0/{GONE}" in source
    assert (told[BAKED][3]["bake target"], told[BAKED][3]["group"]) == ("web", "g")
    assert gaps == [f"/srv/eve/.docker/buildx/refs/default/node0/{BROKEN}"]


def test_a_build_of_a_buildkit_in_a_volume_is_told_there_once(tmp_path):
    volume = "/var/lib/docker/volumes/buildx_buildkit_b0_state/_data"
    worker = f"{volume}/runc-overlayfs"
    items = {f"{volume}/history.db": Item(HISTORY), f"{worker}/snapshots/metadata.db": Item(b"")}
    items[f"{worker}/metadata_v2.db"] = Item(lzma.decompress((DATA / "metadata_v2.db.xz").read_bytes()))
    items |= {"/var/lib/docker/buildkit/history.db": Item(b"")}
    told, _ = builds(tmp_path, items | reference("/root", KEPT, b'{"Target":"default","LocalPath":"/root/app"}'))
    *_, completed, details, source = told[KEPT]
    assert (completed is None, details["local path"]) == (False, "/root/app")
    assert volume in source


@given(st.binary(max_size=100) | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(
    lambda value: json.dumps({"LocalPath": value, "Target": value, "DockerfilePath": value}).encode()))  # fmt: skip
def test_any_bytes_may_stand_in_a_reference(data):
    try:
        told = parse_build_reference(data)
    except FormatError:
        return
    assert all(isinstance(text, str | None) for text in (told.target, told.local_path, told.dockerfile, told.group))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"a"'])
def test_no_reference(data):
    with pytest.raises(FormatError):
        parse_build_reference(data)
