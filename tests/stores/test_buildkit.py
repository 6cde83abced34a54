"""What was built: the cache records and builds that a real daemon left, and made-up damage."""

import calendar
import lzma
import re
import time
from pathlib import Path

import pytest

from forensics.stores.buildkit.standalone import find_buildkit_roots, read_buildkit
from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place
from parsers.buildkit import parse_cache_record, parse_graph_snapshot, parse_history
from parsers.errors import FormatError
from support.memory_filesystem import MemoryFilesystem
from support.on_disk import survey_of

DATA = Path(__file__).parent.parent / "data" / "buildkit"
FILES = {path.name.removesuffix(".xz"): lzma.decompress(path.read_bytes()) for path in sorted(DATA.glob("*.xz"))}
# a snapshot that was never committed, and one that another's record names as its twin
MUTABLE, CACHE_MOUNT = "p8y1w0bglpxusitaxiols5vzd", "ecy5ktfwelxl650ld3bmxu9y3"


def store(files):
    layers = dict(zip("ABC", (MUTABLE, CACHE_MOUNT, "1" * 64), strict=True))
    links = {letter * 26: f"../{name}/diff" for letter, name in layers.items()}
    directories = {name: {"diff": {"f": b"x"}, "link": letter.encode() * 26} for letter, name in layers.items()}
    return MemoryFilesystem({"containers": {}, "overlay2": {**directories, "l": links}, "buildkit": files})


def read(fs):
    return read_docker(DockerRoot(Place(1, fs, fs.root, b"/"), b"/var/lib/docker", "default"))


def told_by_the_daemon():
    for block in (DATA / "du.txt").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([^:\n]+):\t+(.*)$", block, re.MULTILINE))
        if "ID" in fields:
            yield fields


def nanoseconds(text):
    moment, _, rest = text.partition(".")
    fraction = rest.split(" ")[0]
    return calendar.timegm(time.strptime(moment, "%Y-%m-%d %H:%M:%S")) * 10**9 + int(fraction.ljust(9, "0"))


def test_every_record_that_the_daemon_lists():
    contents = read(store(FILES))
    assert contents.gaps == ()
    records = {record.record_id: record for record in contents.builds}
    listed = list(told_by_the_daemon())
    assert len(listed) == 13
    for told in listed:
        record = records[told["ID"]]
        assert record.created_ns == nanoseconds(told["Created at"])
        assert (record.description or "").strip() == told["Description"].strip()
        assert (record.kind, record.parent) == (told["Type"], told.get("Parent"))
        assert record.usage_count >= int(told["Usage count"])


def test_the_builds():
    builds = [record for record in read(store(FILES)).builds if record.kind == "build"]
    assert [(each.record_id, each.completed_ns - each.created_ns > 0) for each in builds] == [
        ("itfgiyiyrox5snqarsq9y8odd", True), ("lkkndilm9riz989bivmda091p", True),
    ]  # fmt: skip
    assert builds[0].details["attribute filename"] == "Dockerfile"
    assert builds[1].details["steps"] == "9"
    assert '"SECRET=abc"' in builds[1].details["result containerimage.config"]


def test_layers_of_the_cache_are_no_orphans():
    contents = read(store(FILES))
    assert {layer.name: layer.kind for layer in contents.layers} == {MUTABLE: "image", CACHE_MOUNT: "image", "1" * 64: "orphan"}
    layers = {record.record_id: record.layer for record in contents.builds if record.layer is not None}
    assert layers[CACHE_MOUNT] == f"overlay2/{CACHE_MOUNT}"
    assert layers["9pgo5kqzpl44rqdpx13fg7jxm"] == f"overlay2/{CACHE_MOUNT}", "its files are in its mutable twin's directory"


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: bytes(len(data)), lambda data: data[: len(data) // 2]])
def test_a_damaged_database_costs_itself_only(name, damage):
    contents = read(store(FILES | {name: damage(FILES[name])}))
    assert contents.gaps != () or contents.builds == read(store(FILES)).builds
    assert len(contents.layers) == 3
    assert any(record.kind == "build" for record in contents.builds) or name == "history.db"


def test_a_buildkitd_of_its_own():
    files = {name: data for name, data in FILES.items() if name != "metadata_v2.db"}
    tree = {"srv": {"b": {**files, "runc-overlayfs": {"metadata_v2.db": FILES["metadata_v2.db"], "content": {}}}}}
    found, reader = survey_of(tree)
    (root,) = find_buildkit_roots(found, reader, ())
    contents = read_buildkit(root)
    assert (contents.store.root, contents.store.driver, len(contents.builds)) == ("/srv/b", "runc-overlayfs", 21)
    assert find_buildkit_roots(found, reader, {(root.place.partition, root.place.inode)}) == ()


def test_damaged_values():
    record = parse_cache_record("r", {
        b"cache.createdAt": b'{"value": "x"}', b"cache.description": b"{", b"cache.mergeParents": b'{"value": ["a", 1, "b"]}',
        b"snapshot.size": b'{"value": -1}', b"cache.usageCount": b"[" * 100_000, b"cache.imageRefs": b'{"value": ["img"]}',
    })  # fmt: skip
    assert (record.created_ns, record.description, record.size, record.usage_count) == (None, None, None, None)
    assert (record.parents, record.refs, record.type, len(record.problems)) == (("a", "b"), ("img",), "regular", 3)
    assert parse_graph_snapshot({b"size": b"9" * 30, b"chainid": b""}).size is None


@pytest.mark.parametrize("data", [b"", b"\x12\x01x", b"\x0a\xff", b"\x0a\x01r\x32\x05xx"])
def test_no_build(data):
    with pytest.raises(FormatError):
        parse_history(data)


def test_a_build_that_never_ended():
    build = parse_history(b"\x0a\x01r" + b"\x2a\x06\x12\x04oops" + b"\x32\x02\x08\x05" + b"\x3a\x03\x10\x80\x7f")
    assert (build.ref, build.error, build.created_ns, build.completed_ns) == ("r", "oops", 5 * 10**9, None)
