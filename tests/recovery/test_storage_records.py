"""Records of containers/storage and parts of libpod's configs of which the document around them is lost."""

import contextlib
import json
import os
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.records import Container
from forensics.recovery.carving.carved import carved_clues
from forensics.recovery.carving.scan import scan_space
from forensics.recovery.carving.storage_records import layer_names, named_by_layers, record_clues
from forensics.recovery.clues import CERTAIN, Clue
from forensics.recovery.containers.libpod_rows import journal_clues
from forensics.recovery.limits import Limits
from support.free_space import BLOCK, blocks, space

ID, OTHER, LAYER = "a1" * 32, "b2" * 32, "c3" * 32
IMAGE = "d4" * 32
TIME = "2026-01-01T00:00:00Z"


def record(own, name, layer=LAYER, **more):
    """One of containers.json, as Podman 5 writes it."""
    metadata = {"image-name": "shop:1", "image-id": IMAGE, "name": name, "created-at": 1767225600}
    document = {"id": own, "names": [name], "image": IMAGE, "layer": layer, "metadata": json.dumps(metadata), "created": TIME}
    return document | {"flags": {"MountLabel": "", "ProcessLabel": ""}} | more


def text_of(value):
    return json.dumps(value, separators=(",", ":")).encode()


def hits_of(data, **where):
    return [scan_space(space(data, **where), lambda size: None)]


def never(partition, offset):
    return False


def carve(data, is_containers_own=never, **where):
    hits = hits_of(data, **where)
    carved = carved_clues(hits, is_containers_own)
    return [*carved.containers, *record_clues(hits, carved, is_containers_own, Limits())]


def told(clues):
    return {(clue.record.container_id, clue.record.name, clue.confidence) for clue in clues}


def test_a_whole_list_is_told_once():
    clues = carve(blocks(text_of([record(ID, "web"), record(OTHER, "db")])))
    assert told(clues) == {(ID, "web", "probable"), (OTHER, "db", "probable")}
    assert len(clues) == 2
    (first, _) = clues
    assert (first.record.image, first.record.image_id, first.record.created_ns) == ("shop:1", IMAGE, 1767225600 * 10**9)
    assert (first.record.layer, first.record.engine) == (f"overlay/{LAYER}", "podman")


def test_images_and_layers_are_no_containers():
    image = {"id": ID, "digest": "sha256:" + IMAGE, "names": ["shop:1"], "layer": LAYER, "metadata": "{}", "created": TIME}
    layer = {"id": ID, "names": ["web-layer"], "parent": LAYER, "created": TIME}
    other = {**image, "id": OTHER}
    assert carve(blocks(text_of([image, other]), text_of([layer, {**layer, "id": OTHER}]))) == []


def cut_list():
    """The second of three blocks of a list: it begins and ends inside of a record, and holds the third one whole."""
    whole = text_of([record(f"{number:064x}", f"c{number}") for number in range(7)])
    assert len(whole) > 2 * BLOCK
    return whole[BLOCK : 2 * BLOCK]


def test_of_a_block_from_the_middle_of_a_list_whole_records_count():
    block = cut_list()
    inside = [number for number in range(7) if text_of(record(f"{number:064x}", f"c{number}")) in block]
    assert inside
    clues = carve(blocks(b"before", block, b"behind"))
    assert told(clues) == {(f"{number:064x}", f"c{number}", "probable") for number in inside}
    at = blocks(b"before", block).index(b'{"id":"' + f"{inside[0]:064x}".encode())
    assert (clues[0].record.source.offset, clues[0].record.source.how) == (
        at, "carved from unallocated space, a record of a list",
    )  # fmt: skip


def test_a_record_over_two_blocks_may_be_of_two_versions():
    """The block behind goes on as JSON, but with another container's record."""
    filler = {"id": "f" * 64, "names": ["x" * 300]}
    first, second = (text_of([filler, record(own, name), {"id": "e" * 64}]) for own, name in ((ID, "web"), (OTHER, "dbs")))
    cut = first.index(b"metadata")
    pad = b" " * (BLOCK - cut)
    assert b'},{"id":"' + ID.encode() in first[:cut]
    assert told(carve(blocks(pad + first[:cut] + second[cut:]))) == set()


def test_a_list_of_two_versions_is_not_believed_whole():
    """Two versions with records of one length, each block of another: names and metadata disagree."""
    short = text_of([record("9" * 64, "x"), record(ID, "web")])
    filler = "x" * (1 + BLOCK - short.rindex(b'"metadata"'))
    first, second = (text_of([record("9" * 64, "x"), record(own, name)]) for own, name in ((ID, "web"), (OTHER, "dbs")))
    first, second = (each.replace(b'["x"]', b'["%s"]' % filler.encode()) for each in (first, second))
    assert first[:BLOCK].endswith(LAYER.encode() + b'",')
    clues = carve(first[:BLOCK] + blocks(second[BLOCK:]))
    assert not [clue for clue in clues if clue.record.container_id in (ID, OTHER)]


@pytest.mark.parametrize("inside", [True, False])
def test_what_a_container_wrote_is_no_record_of_the_host(inside):
    clues = carve(blocks(b"x", cut_list()), is_containers_own=lambda partition, offset: inside)
    assert bool(clues) is not inside


def config(own, name, filler=0, directory=None):
    """ContainerConfig's JSON as Podman 5 writes it, as far as it is read."""
    home = f"/var/lib/containers/storage/overlay-containers/{directory or own}/userdata"
    process = {"user": {"uid": 0}, "args": ["sh", "-c", f"echo {name}"], "env": ["A=1", f"NAME={name}"], "cwd": "/srv"}
    return {
        "spec": {
            "ociVersion": "1.2.1",
            "process": process,
            "root": {"path": "rootfs"},
            "linux": {"x": ["y" * 50] * (filler // 50)},
        },
        "id": own,
        "name": name,
        "lockID": 3,
        "CreateCommand": ["podman", "run", "--name", name],
        "rootfsImageID": IMAGE,
        "rootfsImageName": "shop:1",
        "staticDir": home,
        "createdTime": TIME,
        "logPath": f"{home}/ctr.log",
        "logDriver": "k8s-file",
        "mountAllDevices": False,
    }


def removal(tmp_path, filler, own=ID, name="web"):
    """The rollback journal of the transaction that removed a container, as SQLite deletes it."""
    path = tmp_path / "db.sql"
    schema = (
        "CREATE TABLE ContainerConfig (ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL)"
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete=OFF")
        db.execute(schema)
        db.execute("INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)", (own, name, text_of(config(own, name, filler)).decode()))
        db.execute("BEGIN")
        db.execute("DELETE FROM ContainerConfig WHERE ID = ?", (own,))
        os.link(tmp_path / "db.sql-journal", tmp_path / "kept")
        db.execute("COMMIT")
    return (tmp_path / "kept").read_bytes()


def test_a_row_whose_other_pages_are_lost_tells_what_its_own_page_has(tmp_path):
    journal = removal(tmp_path, 9000)
    (clue,) = [clue for clue in journal_clues(hits_of(blocks(journal)), []) if clue.record.name]
    record = clue.record
    assert (record.container_id, record.name, record.command) == (ID, "web", ("sh", "-c", "echo web"))
    assert (record.env, record.working_dir, clue.confidence) == (("A=1", "NAME=web"), "/srv", "probable")
    assert (record.image, record.created_ns, record.labels, record.privileged, record.config) == (None,) * 5
    assert record.source.how == "carved from unallocated space, rollback journal of the database, the beginning of a row"


def test_a_row_whose_journal_lost_its_own_beginning(tmp_path):
    journal = removal(tmp_path, 9000)
    at = journal.index(b'{"spec":')
    start = (at // BLOCK - 1) * BLOCK
    found = {clue.record.container_id: clue for clue in carve(blocks(journal[start : start + 3 * BLOCK]))}
    record = found[ID].record
    assert (record.name, found[ID].confidence) == ("web", "probable")
    assert record.command in (("sh", "-c", "echo web"), None)  # the page may have gone on in the next block
    assert record.source.how.endswith("the beginning of a row of libpod's")


def row(document, own=ID, name="web"):
    """A leaf cell's payload, as its own page begins it."""
    types = b"\x81\x0d" + bytes([13 + 2 * len(name), 0]) + varint(13 + 2 * len(document))
    return bytes([len(types) + 1]) + types + own.encode() + name.encode() + document


def varint(value):
    return (
        bytes([0x80 | value >> 7, value & 0x7F])
        if value < 1 << 14
        else bytes([0x80 | value >> 14, 0x80 | value >> 7 & 0x7F, value & 0x7F])
    )


def test_a_list_that_is_cut_off_is_not_told_in_part():
    document = text_of(config(ID, "web", 5000))
    for cut in range(document.index(b'"args"'), document.index(b'"root"')):
        block = b"\0" * (BLOCK - 100 - cut) + row(document)
        clues = carve(blocks(block[:BLOCK], b"x"))
        for clue in clues:
            assert (clue.record.container_id, clue.record.name) == (ID, "web")
            assert clue.record.command in (None, ("sh", "-c", "echo web"))
            assert clue.record.env in (None, ("A=1", "NAME=web"))


def test_the_end_of_a_config_tells_the_name_and_what_follows():
    document = text_of(config(ID, "web"))
    at = document.index(b'"id"')
    (clue,) = carve(blocks(b'"x"]},' + document[at:] + b"\x01\x02"))
    record = clue.record
    assert (record.container_id, record.name, record.image, record.image_id) == (ID, "web", "shop:1", IMAGE)
    assert (record.created_ns, record.command, record.env, clue.confidence) == (1767225600 * 10**9, None, None, "probable")
    assert record.log_path.endswith("ctr.log")


def test_a_pod_is_no_container():
    """Its config has an id and a name, too; as real podman 5.8 writes it."""
    pod = {
        "id": ID, "name": "pod1", "labels": {"pl": "1"}, "cgroupParent": "/libpod_parent", "sharesCgroup": True, "hasInfra": True,
        "created": TIME, "CreateCommand": ["podman", "pod", "create"], "ExitPolicy": "continue", "lockID": 129,
        "ResourceLimits": {"cpu": {}},
    }  # fmt: skip
    assert carve(blocks(ID.encode() + b"pod1" + text_of(pod) + b"\x01\x02")) == []


def test_an_end_that_is_cut_off_is_possible():
    document = text_of(config(ID, "web"))
    start, stop = document.index(b'"id"'), document.index(b'"rootfsImageName"')
    (clue,) = carve(blocks(document[start:stop] + b"\0\1\2"))
    assert (clue.record.name, clue.record.image_id, clue.record.image, clue.confidence) == ("web", IMAGE, None, "possible")


def test_an_end_whose_paths_are_anothers_is_none():
    document = text_of(config(ID, "web", directory=OTHER))
    assert carve(blocks(document[document.index(b'"id"') :])) == []


def test_a_layers_name_is_its_containers():
    layers = [{"id": LAYER, "names": ["web-layer"], "parent": IMAGE, "created": TIME}] * 2
    names = layer_names(hits_of(blocks(text_of(layers))), never, Limits())
    known = Clue(Container("podman", None, ID, None, layer=f"overlay/{LAYER}"), CERTAIN, "text")
    (clue,) = named_by_layers([known], names)
    assert (clue.record.container_id, clue.record.name, clue.confidence) == (ID, "web", "possible")
    assert list(named_by_layers([Clue(Container("podman", None, ID, None), CERTAIN, "text")], names)) == []


def test_a_layer_of_two_names_names_nobody():
    layers = [{"id": LAYER, "names": [f"{name}-layer"], "parent": IMAGE, "created": TIME} for name in ("web", "db")]
    assert layer_names(hits_of(blocks(text_of(layers))), never, Limits()) == {}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_damage_is_survived_and_tells_nothing_else(data):
    document = text_of(config(ID, "web", 400))
    disk = bytearray(blocks(cut_list(), b"\0" * 300 + row(document), document[document.index(b'"id"') :]))
    for _ in range(data.draw(st.integers(1, 8))):
        disk[data.draw(st.integers(0, len(disk) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(disk)))
    for clue in carve(bytes(disk[:cut])):
        assert clue.confidence in ("probable", "possible")
        assert len(clue.record.container_id) == 64
