"""Owners in containers with user namespaces: what the disk has, what the container's filesystem showed, what they are outside."""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import sqlite3
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.pipeline import CarveOptions, carve
from forensics.progress import Silent
from parsers.container_storage import parse_containers, parse_layers
from parsers.crc64 import Crc64
from parsers.errors import FormatError
from parsers.id_map import (
    IDS,
    NOBODY,
    IdMaps,
    IdRange,
    as_text,
    from_text,
    inverted,
    parse_subordinate,
    rootless,
    shown,
    through,
)
from support.host_archive import Item, host_archive

BASE, COPY, OWN, CID = (letter * 64 for letter in "abcd")
LINKS = {BASE: "A" * 26, COPY: "B" * 26, OWN: "C" * 26}
MAP = [{"container_id": 0, "host_id": 200000, "size": 1000}]
HOST = {
    "/etc/hostname": Item(b"pods\n"),
    "/etc/passwd": Item(b"root:x:0:0::/root:/bin/sh\neve:x:1005:1005::/srv/eve:/bin/sh\n"),
    "/etc/subuid": Item(b"eve:300000:65536\n"),
    "/etc/subgid": Item(b"1005:400000:65536\n"),
}


def layer(root, name, files, *below, **more):
    items = {f"{root}/overlay/{name}/link": Item(LINKS[name].encode()), f"{root}/overlay/{name}/diff": Item(None)}
    items[f"{root}/overlay/l/{LINKS[name]}"] = Item(f"../{name}/diff")
    if below:
        items[f"{root}/overlay/{name}/lower"] = Item(":".join(f"l/{LINKS[each]}" for each in below).encode())
    items |= {f"{root}/overlay/{name}/diff{path}": item for path, item in files.items()}
    return items | {f"{root}/overlay/{name}/{path}": item for path, item in more.items()}


def records(root, layers, **container):
    own = {"id": CID, "names": ["web"], "layer": OWN, **container}
    return {
        f"{root}/overlay-layers/layers.json": Item(json.dumps(layers).encode()),
        f"{root}/overlay-images/images.json": Item(b"[]"),
        f"{root}/overlay-containers/containers.json": Item(json.dumps([own]).encode()),
    }


def owners(tmp_path, items):
    """What the case says of the owners of the container's files, and of the container's ids."""
    archive = host_archive(tmp_path / "host.tar", HOST | items)
    carve([archive], tmp_path / "case.db", CarveOptions(carve="none"), Silent())
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        files = {path: (uid, gid) for path, uid, gid in db.execute("SELECT path, uid, gid FROM files WHERE container = 'web'")}
        ((id_map,),) = db.execute("SELECT id_map FROM containers")
        gaps = [gap for (gap,) in db.execute("SELECT error FROM gaps WHERE artefact NOT IN ('container', 'collection')")]
    return files, id_map and json.loads(id_map), gaps


STACK = [{"id": BASE}, {"id": OWN, "parent": BASE}]
ROOT = "/var/lib/containers/storage"


def idmapped(**more):
    """As Podman leaves a container with --uidmap where the kernel can mount with other owners."""
    base = layer(ROOT, BASE, {"/etc": Item(None), "/etc/x": Item(b"x", 7, 8), "/far": Item(b"x", 5000, 0)})
    return base | layer(ROOT, OWN, {"/w": Item(b"w", 200005, 200006), "/": Item(None, 200000, 200000)}, BASE, **more)


def test_layers_below_are_shown_with_the_owners_of_the_mount(tmp_path):
    items = idmapped(mapped=Item(None)) | records(ROOT, STACK, uidmap=MAP, gidmap=MAP)
    files, id_map, _ = owners(tmp_path, items)
    assert files["/etc/x"] == (200007, 200008)
    assert files["/far"] == (NOBODY, 200000)  # as the kernel shows an id that the map has not
    assert files["/w"] == (200005, 200006)
    assert id_map == {"uids": [[0, 200000, 1000]], "gids": [[0, 200000, 1000]]}


def test_no_mount_no_other_owners(tmp_path):
    """Such a namespace was never mounted, or by what leaves no trace: the disk's owners stand."""
    files, _, _ = owners(tmp_path, idmapped() | records(ROOT, STACK, uidmap=MAP, gidmap=MAP))
    assert files["/etc/x"] == (7, 8)


def test_a_copy_with_other_owners_is_no_damage(tmp_path):
    """Where the kernel cannot, the driver makes a copy of the image's top layer, mounted above it, with its parent."""
    base = layer(ROOT, BASE, {"/x": Item(b"x", 7, 8), "/y": Item(b"y", 1, 1)})
    copy = layer(ROOT, COPY, {}, BASE) | {f"{ROOT}/overlay/{COPY}/diff1/x": Item(b"x", 200007, 200008)}
    copy |= {f"{ROOT}/overlay/{COPY}/diff1/y": Item(b"y", 200001, 200001)}
    own = layer(ROOT, OWN, {}, COPY, BASE, mapped=Item(None))
    stack = [{"id": BASE}, {"id": COPY, "uidmap": MAP, "gidmap": MAP}, {"id": OWN, "parent": COPY, "uidmap": MAP, "gidmap": MAP}]
    files, _, gaps = owners(tmp_path, base | copy | own | records(ROOT, stack, uidmap=MAP, gidmap=MAP))
    assert (files["/x"], files["/y"]) == ((200007, 200008), (200001, 200001))
    assert gaps == []


EVE = "/srv/eve/.local/share/containers/storage"


def of_eve(items):
    return {name: Item(item.data, item.uid or 1005, item.gid or 1005, item.mode, item.xattrs) for name, item in items.items()}


def test_fuse_overlayfs_maps_all_layers_of_a_rootless_container(tmp_path):
    """keep-id: the user is 1000 in the container, whose root is the first of the user's subordinate ids."""
    keep = [{"container_id": 0, "host_id": 1, "size": 1000}, {"container_id": 1000, "host_id": 0, "size": 1}]
    items = {EVE: Item(None), f"{EVE}/overlay/.has-mount-program": Item(b"true")}
    items |= layer(EVE, BASE, {"/x": Item(b"x"), "/y": Item(b"y", 300998, 400998)})
    items |= layer(EVE, OWN, {"/w": Item(b"w", 300009, 400009)}, BASE) | records(EVE, STACK, uidmap=keep, gidmap=keep)
    files, id_map, _ = owners(tmp_path, of_eve(items))
    assert files == {"/": (300000, 400000), "/x": (300000, 400000), "/y": (300999, 400999), "/w": (300010, 400010)}
    assert id_map["uids"] == [[0, 300000, 1000], [1000, 1005, 1]]


def test_owners_in_xattrs_are_of_the_users_namespace(tmp_path):
    """force_mask: all files are the user's own, and what they should be stands in an xattr."""
    mark = "user.containers.override_stat"
    items = {EVE: Item(None), f"{EVE}/overlay/.has-mount-program": Item(b"true")}
    items |= layer(
        EVE, BASE, {"/x": Item(b"x", xattrs={mark: b"7:8:0640:file"}), "/": Item(None, xattrs={mark: b"0:0:0755:dir"})}
    )
    items |= layer(EVE, OWN, {"/": Item(None, xattrs={mark: b"0:0:0755:dir"})}, BASE) | records(EVE, STACK)
    files, id_map, _ = owners(tmp_path, of_eve(items))
    assert files == {"/": (1005, 1005), "/x": (300006, 400007)}
    assert id_map == {"uids": [[0, 1005, 1], [1, 300000, 65536]], "gids": [[0, 1005, 1], [1, 400000, 65536]]}


def tar_split(*files):
    """The archive of some files as (name, mode, content), by its digest and by what rebuilds it from a layer."""
    packed = io.BytesIO()
    lines, at = [], 0
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content in files:
            info = tarfile.TarInfo(name)
            info.mode, info.size, info.mtime = mode, len(content), 1_700_000_000
            archive.addfile(info, io.BytesIO(content))
            header = packed.getvalue()[at : packed.tell() - len(content) - -len(content) % 512]
            lines.append({"type": 2, "payload": base64.b64encode(header).decode(), "position": len(lines)})
            checksum = Crc64()
            checksum.update(content)
            crc = base64.b64encode(checksum.digest()).decode()
            lines.append({"type": 1, "name": name, "size": len(content), "payload": crc, "position": len(lines)})
            at += len(header) + len(content)
    rest = base64.b64encode(packed.getvalue()[at:]).decode()
    lines.append({"type": 2, "payload": rest, "position": len(lines)})
    told = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return "sha256:" + hashlib.sha256(packed.getvalue()).hexdigest(), gzip.compress(told)


@pytest.mark.parametrize(("mode", "verdict"), [("0640", "verified"), ("0777", "altered")])
def test_a_layer_whose_modes_are_in_xattrs_is_held_against_its_archive_with_these(tmp_path, mode, verdict):
    mark = "user.containers.override_stat"
    diff_id, split = tar_split(("x", 0o640, b"content"))
    items = {EVE: Item(None), f"{EVE}/overlay/.has-mount-program": Item(b"true")}
    items[f"{EVE}/overlay-layers/{BASE}.tar-split.gz"] = Item(split)
    root = Item(None, xattrs={mark: b"0:0:0755:dir"})
    items |= layer(EVE, BASE, {"/x": Item(b"content", xattrs={mark: f"0:0:{mode}:file".encode()}), "/": root})
    items |= layer(EVE, OWN, {"/": root}, BASE) | records(EVE, [{"id": BASE, "diff-digest": diff_id}, STACK[1]])
    owners(tmp_path, of_eve(items))
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        found = db.execute("SELECT integrity, integrity_reason FROM layers WHERE kind = 'image'").fetchall()
    assert found == [(verdict, None)]


def test_subordinate_ids_that_nobody_told(tmp_path):
    mark = "user.containers.override_stat"
    items = {EVE: Item(None), f"{EVE}/overlay/.has-mount-program": Item(b"true"), "/etc/subuid": Item(b"other:1:1\n")}
    items |= layer(
        EVE, BASE, {"/x": Item(b"x", xattrs={mark: b"7:8:0640:file"}), "/": Item(None, xattrs={mark: b"0:0:0755:dir"})}
    )
    items |= layer(EVE, OWN, {"/": Item(None, xattrs={mark: b"0:0:0755:dir"})}, BASE) | records(EVE, STACK)
    files, _, gaps = owners(tmp_path, of_eve(items))
    assert files == {"/": (1005, 1005), "/x": (NOBODY, 400007)}
    assert gaps == ["no file gives uid 1005 any: owners other than the user are shown as 65534, the kernel's nobody"]


# -- maps

ranges = st.lists(st.builds(IdRange, st.integers(0, 1 << 17), st.integers(0, 1 << 17), st.integers(0, 1 << 16)), max_size=6)


def test_a_users_subordinate_ids():
    text = b"eve:300000:65536\n# eve:1:1\nbob:1:2\n 1005:5:5\neve:4294967295:2\neve:x:1\neve:99999999999:1\n"
    assert parse_subordinate(text, {b"eve", b"1005"}) == ((300000, 65536), (5, 5))
    assert rootless(1005, ((300000, 65536), (5, 5))) == (
        IdRange(0, 1005, 1), IdRange(1, 300000, 65536), IdRange(65537, 5, 5),
    )  # fmt: skip


@given(ranges, ranges, st.integers(0, 1 << 18))
def test_one_map_after_the_other(first, then, own):
    both = through(first, then)
    wanted = {
        shown([far], shown([near], own)) for near in first for far in then if _has(near, own) and _has(far, shown([near], own))
    }
    found = {shown([each], own) for each in both if _has(each, own)}
    assert found == wanted


@given(ranges.filter(bool), st.integers(0, 1 << 16))
def test_there_and_back(maps, at):
    one = maps[:1]
    own = one[0].inside + at
    assert shown(inverted(one), shown(one, own)) == own if at < one[0].count else shown(one, own) == NOBODY


def test_ids_that_there_are_not_are_nobodys():
    assert [shown([IdRange(0, outside, 5)], 3) for outside in (-4, -3, IDS - 4, IDS - 3)] == [NOBODY, 0, IDS - 1, NOBODY]


@given(ranges, ranges)
def test_text_and_back(uids, gids):
    maps = IdMaps(tuple(uids), tuple(gids))
    assert from_text(as_text(maps)) == maps


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uids": 1, "gids": []}', '{"uids": [[1]], "gids": []}'])
def test_texts_that_are_no_maps(text):
    with pytest.raises(FormatError):
        from_text(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"host_id": 1, "size": 1},
        {"container_id": -1, "host_id": 1, "size": 1},
        {"container_id": 0, "host_id": 0, "size": IDS + 1},
    ],
)
def test_ranges_that_cannot_be_are_told(bad):
    document = json.dumps([{"id": BASE, "uidmap": [bad, *MAP], "gidmap": MAP}]).encode()
    for parse in (parse_layers, parse_containers):
        ((record,), problems) = parse(document)
        assert record.ids == IdMaps((IdRange(0, 200000, 1000),), (IdRange(0, 200000, 1000),))
        assert problems


def _has(each, own):
    return each.inside <= own < each.inside + each.count
