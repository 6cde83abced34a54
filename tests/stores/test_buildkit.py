"""What was built: the cache records and builds that a real daemon left, and made-up damage."""

import calendar
import json
import lzma
import re
import time
from pathlib import Path

import pytest

from forensics.records import ContainerImage
from forensics.stores.buildkit.builds import read_builds
from forensics.stores.buildkit.shared import shared_records
from forensics.stores.buildkit.standalone import find_buildkit_roots, read_buildkit
from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place, StoreReader
from parsers.buildkit import parse_cache_record, parse_graph_snapshot, parse_history
from parsers.docker_layer import chain_ids
from parsers.errors import FormatError
from support.bolt_files import bolt_bytes
from support.memory_filesystem import MemoryFilesystem
from support.on_disk import survey_of

DATA = Path(__file__).parent.parent / "data" / "buildkit"
FILES = {path.name.removesuffix(".xz"): lzma.decompress(path.read_bytes()) for path in sorted(DATA.glob("*.xz"))}
# a snapshot that was never committed, and one that another's record names as its twin
CONTAINERD = DATA / "containerd"
MUTABLE, CACHE_MOUNT = "p8y1w0bglpxusitaxiols5vzd", "ecy5ktfwelxl650ld3bmxu9y3"

MUTABLES = {"j70ccs66v1ewt5wibnm6niza1", "tt4n8rh7nwt95iwhlx42sp2p4", "l3kxl5oj44qgblw4mgr0jlngv"}


def image(number, diff_ids):
    return ContainerImage("docker", None, str(number), (), None, None, tuple(diff_ids))


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


def test_every_record_of_the_containerd_image_store():
    """Field by field as the daemon's API has them, with merged records (COPY --link) and such as share one directory."""
    told = json.loads((CONTAINERD / "du.json").read_text())
    images = [image(number, diff_ids) for number, diff_ids in enumerate(json.loads((CONTAINERD / "images.json").read_text()))]
    data = lzma.decompress((CONTAINERD / "metadata_v2.db.xz").read_bytes())
    fs = MemoryFilesystem({"containerd-overlayfs": {"metadata_v2.db": data}})
    records = {each.record_id: each for each in read_builds(StoreReader(), "docker", Place(1, fs, fs.root, b"/"), (), images)}
    assert len(told) == 20
    for each in told:
        record = records.pop(each["ID"])
        assert (record.kind, record.description or "") == (each["Type"], each["Description"])
        assert (record.size_bytes, record.usage_count) == (each["Size"], each["UsageCount"])
        assert record.created_ns == nanoseconds(each["CreatedAt"].replace("T", " ").replace("Z", " "))
        assert record.last_used_ns == nanoseconds(each["LastUsedAt"].replace("T", " ").replace("Z", " "))
        # the daemon calls one that was never exported shared where all below it is: no image has it
        assert record.shared == (each["Shared"] and "chain_id" in record.details)
        assert record.mutable == (each["ID"] in MUTABLES)
    twins = {each.details["mutable"]: each for each in records.values()}
    assert set(twins) == MUTABLES, "what is left shares the files of one that is listed"


def test_snapshots_that_have_the_names_of_their_records():
    """Docker 20.10 does not write them; the power was cut while the last step ran, so that some were never committed."""
    files = {
        path.name.removesuffix(".xz"): lzma.decompress(path.read_bytes()) for path in sorted((DATA / "docker20").glob("*.xz"))
    }
    names = ["vf9pxt6p2gkyd4ldgfvkeqjt5", "rzdzou8lnmefu1joik5mp7qun", "oxxam5g5smni3jfh8ehrdyd4z", "kfh72wc3mjt10otyum1cjd335",
             "mpr1uii4ml6pmjzmy7qqyfqfy", "5z9vus449m9sja3hawhxexny3", "vgua4h3o6gwpvnd5xecit2umb", "0" * 64]  # fmt: skip
    links = {f"{number:026}": f"../{name}/diff" for number, name in enumerate(names)}
    layers = {name: {"diff": {}, "link": b"%026d" % number} for number, name in enumerate(names)}
    contents = read(MemoryFilesystem({"containers": {}, "overlay2": {**layers, "l": links}, "buildkit": files}))
    assert {layer.name: layer.kind for layer in contents.layers} == {
        name: "orphan" if name == "0" * 64 else "image" for name in names
    }
    held = {each.layer for each in contents.builds}
    assert held == {f"overlay2/{name}" for name in names[:-1]} | {None}
    assert [each.description for each in contents.builds if each.layer is None] == ["from local "], "an image's own layer"


def test_shared_where_images_are_not_known():
    fs = store(FILES)
    root = fs.find(fs.root, b"buildkit")
    records = read_builds(StoreReader(), "docker", Place(1, fs, root, b"/buildkit"), ())
    assert {(each.shared, each.mutable) for each in records if each.kind == "build"} == {(None, None)}
    assert {each.shared for each in records} == {None}
    listed = {told["ID"]: told["Mutable"] == "true" for told in told_by_the_daemon()}
    assert {each.record_id: each.mutable for each in records if each.record_id in listed} == listed


def cache_record(name, diff_id=None, parents=(), merged=False):
    below = {b"cache.mergeParents": list(parents)} if merged else {b"cache.parent": parents[0] if parents else None}
    values = {b"cache.diffID": diff_id, **below}
    return parse_cache_record(name, {key: json.dumps({"value": value}).encode() for key, value in values.items() if value})


def test_stacks_of_records_that_make_no_sense():
    tall = [cache_record(f"t{n}", f"sha256:{n}", [f"t{n - 1}"] if n else []) for n in range(600)]
    circle = [cache_record("a", "sha256:a", ["b"]), cache_record("b", "sha256:b", ["a"]), cache_record("c", "sha256:c", ["c"])]
    orphan = cache_record("o", "sha256:o", ["gone"])
    doubled = [cache_record("m0", "sha256:m")]
    doubled += [cache_record(f"m{n}", parents=[f"m{n - 1}", f"m{n - 1}"], merged=True) for n in range(1, 60)]
    chains = set(chain_ids([f"sha256:{n}" for n in range(600)]))
    found = shared_records([*tall, *circle, orphan, *doubled], {}, chains)
    assert found == {f"t{n}" for n in range(500)}, "no more layers than can be mounted"


def test_a_merged_record_is_its_parents_on_each_other():
    base, left, right = cache_record("x", "sha256:x"), cache_record("l", "sha256:l", ["x"]), cache_record("r", "sha256:r")
    merged = cache_record("m", parents=["l", "r"], merged=True)
    top = cache_record("t", "sha256:t", ["m"])
    chains = set(chain_ids(["sha256:x", "sha256:l", "sha256:r", "sha256:t"]))
    assert shared_records([top, merged, right, left, base], {}, chains) == {"x", "l", "r", "m", "t"}
    assert shared_records([top, merged, right, left, base], {}, {chain_ids(["sha256:x", "sha256:l"])[-1]}) == {"x", "l"}


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


def test_a_snapshotters_directory_is_no_worker():
    """/var/lib/containerd-nydus: named as a worker on containerd would be, with a metadata.db, but a snapshotter's."""
    nydus = {"metadata.db": bolt_bytes("containerd-2.1-overlayfs"), "snapshots": {"1": {"fs": {}}}}
    found, reader = survey_of({"var": {"lib": {"containerd-nydus": nydus}}})
    assert find_buildkit_roots(found, reader, ()) == ()
