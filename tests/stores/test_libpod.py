"""libpod's databases: bolt_state.db as Podman 4.3 wrote it, and how it and db.sql stand beside each other."""

import json
import lzma
import random
import re
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.stores.podman.libpod import _row, read_libpod
from forensics.stores.reading import Place, StoreReader
from parsers.go_time import parse_rfc3339
from support.memory_filesystem import MemoryFilesystem

DATA = Path(__file__).parent.parent / "data" / "podman43"


@pytest.fixture(scope="module")
def bolt_state():
    return lzma.decompress((DATA / "bolt_state.db.xz").read_bytes())


@pytest.fixture(scope="module")
def inspected():
    """What `podman inspect` and `podman volume inspect` said while bolt_state.db was as it is."""
    return json.loads((DATA / "inspect.json").read_text())


def read(files):
    fs = MemoryFilesystem(files)
    reader = StoreReader()
    return read_libpod(reader, [Place(1, fs, fs.root, b"/")]), reader.gaps


def db_sql(states, configs, volumes=()):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(
        "CREATE TABLE DBConfig (GraphRoot TEXT, VolumeDir TEXT, GraphDriver TEXT);"
        "CREATE TABLE ContainerConfig (ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE, PodID TEXT, JSON TEXT NOT NULL);"
        "CREATE TABLE ContainerState (ID TEXT PRIMARY KEY NOT NULL, State INTEGER, ExitCode INTEGER, JSON TEXT NOT NULL);"
        "CREATE TABLE PodConfig (ID TEXT, Name TEXT, JSON TEXT);"
        "CREATE TABLE VolumeConfig (Name TEXT, StorageID TEXT, JSON TEXT);"
        "CREATE TABLE ContainerExitCode (ID TEXT PRIMARY KEY, Timestamp INTEGER, ExitCode INTEGER);"
        "INSERT INTO DBConfig VALUES ('/g', '/g/volumes', 'overlay')"
    )
    connection.executemany("INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)", configs)
    connection.executemany("INSERT INTO ContainerState VALUES (?, 3, 0, ?)", states)
    connection.executemany("INSERT INTO VolumeConfig VALUES (?, NULL, ?)", volumes)
    image = connection.serialize()
    connection.close()
    return image


def test_bolt_state(bolt_state, inspected):
    found, gaps = read({"bolt_state.db": bolt_state})
    assert gaps == []
    assert found.containers.keys() == {each["Id"] for each in inspected["containers"]}
    for each in inspected["containers"]:
        told = found.containers[each["Id"]]
        assert (told.config.name, told.config.image_id, told.config.image_name) == (
            each["Name"],
            each["Image"],
            each["ImageName"],
        )
        assert (told.state.name, told.state.exit_code, told.state.pid or 0) == (each["Status"], each["ExitCode"], each["Pid"])
        assert told.config.created_ns == parse_rfc3339(each["Created"])
        assert told.state.started_ns == parse_rfc3339(each["StartedAt"])
        assert told.state.finished_ns == parse_rfc3339(each["FinishedAt"])
        assert told.config.labels == (each["Labels"] or {})
        assert (told.config.pod_id or "") == each["Pod"]
    assert {pod.name for pod, _ in found.pods.values()} == {"mypod"}
    assert found.volumes.keys() == {each["Name"] for each in inspected["volumes"]}
    for each in inspected["volumes"]:
        volume, _ = found.volumes[each["Name"]]
        assert (volume.mount_point, volume.labels) == (each["Mountpoint"], each["Labels"] or {})
        assert volume.created_ns == parse_rfc3339(each["CreatedAt"])
    assert found.graph_root == "/var/lib/containers/storage"


def test_a_store_that_was_moved_to_sqlite(bolt_state, inspected):
    """db.sql counts where both tell of a container."""
    moved, kept = sorted(each["Id"] for each in inspected["containers"])[:2]
    image = db_sql([(moved, '{"state": 3}')], [(moved, "renamed", '{"name": "renamed"}')], [("v", '{"name": "v"}')])
    found, gaps = read({"bolt_state.db": bolt_state, "db.sql": image})
    assert gaps == []
    assert found.containers[moved].config.name == "renamed"
    assert found.containers[kept].config.name in {each["Name"] for each in inspected["containers"]}
    assert (found.graph_root, "v" in found.volumes) == ("/g", True)


def test_one_damaged_document_costs_itself_only():
    a, b = "a" * 64, "b" * 64
    image = db_sql([(a, "{"), (b, '{"state": 6, "exitCode": 3}')], [(a, "one", '{"name": "one"}'), (b, "two", "nothing")])
    found, gaps = read({"db.sql": image})
    assert (found.containers[a].config.name, found.containers[a].state) == ("one", None)
    assert (found.containers[b].config, found.containers[b].state.name) == (None, "exited")
    assert len(gaps) == 2


def test_neither_is_no_error():
    found, gaps = read({})
    assert (found.containers, gaps) == ({}, [])


def test_damage_ends_in_gaps(bolt_state):
    noise = random.Random(4)
    image = db_sql(
        [(f"{i:064x}", '{"state": 3}') for i in range(60)], [(f"{i:064x}", str(i), '{"name": "x"}') for i in range(60)]
    )
    for name, whole in (("db.sql", image), ("bolt_state.db", bolt_state)):
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(noise.choice((1, 10, 300))):
                data[noise.randrange(len(data))] = noise.randrange(256)
            found, gaps = read({name: bytes(data[: noise.choice((len(data), noise.randrange(len(data))))])})
            assert found.containers or gaps


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='ab{"z~', max_size=60), st.sampled_from(("a", "ab", "aba")))
def test_rows_are_found_as_one_search_would(text, own):
    data = text.encode()
    starts = [at for at in range(len(data)) if re.match(re.escape(own).encode() + rb"[ -z]{0,400}\{\"", data[at:])]
    assert _row(data, own.encode(), False, iter(range(99))) == (starts[0] if starts else None)
    found = _row(data, own.encode(), True, iter(range(99)))
    assert (found is None) == (not starts)
    assert found is None or data.find(b"{", found) == data.find(b"{", starts[-1])


def test_a_name_that_stands_everywhere_is_not_looked_for_without_end():
    data = b"a" * (20 << 20)
    start = time.monotonic()
    room = iter(range(10_000))
    for _ in range(50):
        assert _row(data, b"a", False, room) is _row(data, b"a", True, room) is None
    assert time.monotonic() - start < 10
