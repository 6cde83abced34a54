"""Removed containers and images: the clues that databases still hold, and how they become one record."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.records import Container, Provenance, Store, StoreContents
from forensics.recovery.clues import CERTAIN, POSSIBLE, PROBABLE, Clue
from forensics.recovery.containers.old_records import old_records
from forensics.recovery.containers.spec_identity import Identity, identity_of
from forensics.recovery.join import join_containers
from forensics.recovery.recover import Clues, with_recovered
from parsers.bbolt_free import Deleted
from parsers.bbolt_tree import Key
from parsers.containerd_meta import Container as ContainerRecord
from parsers.oci_spec import parse_spec
from support.bolt_files import WITH_HISTORY, bolt_bytes, listing, opened
from support.cli import ask

ID, OTHER = "a1" * 32, "b2" * 32
STORE = Store("docker:p1:/var/lib/docker", "docker", "/var/lib/docker", "overlay2", None, 1)


def clue(confidence, kind, offset=0, **columns):
    columns = {"container_id": ID, "name": None} | columns
    source = Provenance(1, "/x", offset=offset, how=kind)
    return Clue(Container("docker", None, **columns, origin="recovered", source=source), confidence, kind, STORE.key)


def joined(*clues):
    ((record, store),) = join_containers(clues)
    assert store == STORE.key
    return record


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_old_records_are_records_that_were_written(name):
    """bbolt itself wrote down every key that it ever had in these files."""
    bolt = opened(bolt_bytes(name))
    written = {(*row[0], row[1]): set() for row in listing(name, "history")}
    for row in listing(name, "history"):
        written[*row[0], row[1]].add(row[2])
    for old in old_records(bolt.deleted()):
        if isinstance(old.record, ContainerRecord) and not old.inferred:
            path = (b"v1", old.record.namespace.encode(), b"containers", old.record.id.encode())
            assert path in written
            for column, key in (("image", b"image"), ("snapshot_key", b"snapshotKey")):
                value = getattr(old.record, column)
                assert value is None or value.encode() in written[*path, key]


@pytest.mark.parametrize(
    ("name", "namespace", "known", "mere"),
    [
        ("containerd-2.1-meta", "default", {"spare4"}, {"doomed", "spare0", "spare1", "spare2", "spare3", "spare4"}),
        ("cri-2.1-meta", "k8s.io", {"ab2c98e2b388a9fafc6c6cadd7d9f912b126daf322b4b118f3a4765e85a11ce3"}, set()),
        ("docker-26-meta", "moby", {"c4114f48faa705e01e334587564d6330a39e113f9353d65aac693583aaa1f69b"}, set()),
    ],
)
def test_engines_files_still_hold_what_their_commands_removed(name, namespace, known, mere):
    found = list(old_records(opened(bolt_bytes(name)).deleted()))
    containers = {old.record.id: old.record for old in found if isinstance(old.record, ContainerRecord)}
    assert containers.keys() == known
    assert {old.record.key for old in found if hasattr(old.record, "snapshotter") and hasattr(old.record, "key")} == mere
    for cid, record in containers.items():
        spec = parse_spec(record.spec.value)
        assert record.namespace == namespace
        assert spec.args
        assert identity_of(spec).id == cid
        assert record.created_ns is not None


def test_a_page_of_an_unknown_bucket_is_placed_by_the_spec_in_it():
    """The same keys, had their bucket been forgotten."""
    deleted = list(opened(bolt_bytes("docker-26-meta")).deleted())
    forgotten = []
    for each in deleted:
        path = each.key.bucket
        if path[:3] == (b"v1", b"moby", b"containers") and len(path) > 3:
            forgotten.append(replace(each, key=each.key._replace(bucket=path[4:]), basis="page"))
    found = [old for old in old_records(forgotten) if old.record.spec is not None]
    assert [(old.record.namespace, old.record.id, old.inferred) for old in found] == [
        ("moby", "c4114f48faa705e01e334587564d6330a39e113f9353d65aac693583aaa1f69b", True)
    ]


def test_two_versions_that_contradict_each_other_are_not_mixed():
    deleted = [each for each in opened(bolt_bytes("containerd-2.1-meta")).deleted() if b"spare4" in each.key.bucket]
    twice = [replace(each, key=each.key._replace(page=each.key.page + 1000)) for each in deleted]
    later = [
        replace(each, key=each.key._replace(value=b"registry.test/other:2")) if each.key.key == b"image" else each
        for each in twice
    ]
    records = [old.record for old in old_records([*deleted, *later]) if isinstance(old.record, ContainerRecord)]
    assert sorted(record.image for record in records) == ["registry.test/other:2", "registry.test/tiny:1"]
    assert all(record.spec is not None for record in records)


PATHS = st.lists(st.sampled_from([b"v1", b"default", b"containers", b"images", b"sandboxes", b"x", b""]), max_size=6)
KEYS = st.builds(
    Key,
    bucket=PATHS.map(tuple),
    key=st.sampled_from([b"spec", b"createdat", b"image", b"snapshotKey", b"labels", b"io.cri-containerd.container.metadata"]),
    value=st.none() | st.binary(max_size=40),
    page=st.integers(2, 4),
    offset=st.integers(0, 1 << 20),
)


@given(st.lists(st.tuples(KEYS, st.sampled_from(["page", "tree", "pointer"])), max_size=20))
def test_old_records_take_any_keys(keys):
    template = next(opened(bolt_bytes("docker-26-meta")).deleted())
    assert list(old_records(replace(template, key=key, basis=basis) for key, basis in keys)) is not None


def test_each_column_is_from_the_surest_source_and_what_others_say_is_kept():
    record = joined(
        clue(POSSIBLE, "text", 1, name="guess", image="shop:1"),
        clue(CERTAIN, "database", 2, name="web", command=("sh",), started_ns=5),
    )
    assert (record.name, record.image, record.command, record.origin) == ("web", "shop:1", ("sh",), "recovered")
    assert record.confidence == POSSIBLE  # the image is no surer than its source
    first, second = record.sources
    assert (first.confidence, first.where.offset, first.differs) == (CERTAIN, 2, {})
    assert (second.gives, second.differs) == (("image",), {"name": "guess"})


def test_of_two_states_the_newer_one_counts():
    record = joined(
        clue(PROBABLE, "text", 1, name="old", state="running", started_ns=10, created_ns=1),
        clue(PROBABLE, "text", 2, name="new", state="exited", started_ns=10, finished_ns=20, created_ns=1),
    )
    assert (record.name, record.state, record.finished_ns, record.confidence) == ("new", "exited", 20, PROBABLE)
    assert record.sources[1].differs == {"name": "old", "state": "running"}


def test_of_two_that_tell_no_time_the_one_that_was_written_later_counts():
    first = clue(PROBABLE, "file", 1, privileged=False, hostconfig="{}")
    asked = replace(clue(PROBABLE, "file", 2, privileged=True, hostconfig='{"Privileged":true}'), written_ns=20)
    for others in ((replace(first, written_ns=10),), (first,), (replace(first, written_ns=10), first)):
        record = joined(asked, *others)
        assert (record.privileged, record.hostconfig) == (True, '{"Privileged":true}')


def test_what_has_ended_has_no_process():
    record = joined(
        clue(PROBABLE, "file", 1, state="running", pid=571, started_ns=10),
        clue(PROBABLE, "file", 2, state="removing", started_ns=10, finished_ns=20),
    )
    assert (record.state, record.pid) == ("removing", None)
    assert record.sources[1].differs == {"state": "running", "pid": 571}
    assert "pid" not in record.sources[1].gives


def test_a_probable_source_is_certain_where_a_file_of_the_engine_names_the_same_id():
    alone = joined(clue(PROBABLE, "text", 1, name="web"), clue(PROBABLE, "text", 2, name="web"))
    assert alone.confidence == PROBABLE  # twice the same text proves nothing
    assert joined(clue(PROBABLE, "text", 1, name="web"), clue(CERTAIN, "network", 2)).confidence == CERTAIN
    assert joined(clue(PROBABLE, "text", 1, name="web"), clue(POSSIBLE, "reference", 2)).confidence == PROBABLE


def test_one_place_that_is_read_twice_is_one_source():
    record = joined(clue(PROBABLE, "text", 7, name="web"), clue(CERTAIN, "file", 7, name="web"))
    assert [(source.confidence, source.where.how) for source in record.sources] == [(CERTAIN, "file")]


def test_what_is_allocated_is_never_listed_again():
    there = Container("docker", None, ID, "web", state="exited")
    contents = StoreContents(STORE, containers=(there,))
    clues = Clues([clue(CERTAIN, "database", 1, name="renamed"), clue(CERTAIN, "database", 2, container_id=OTHER)])
    (told,) = with_recovered([contents], clues)
    assert told.containers[0] == there
    assert [each.container_id for each in told.containers[1:]] == [OTHER]


def test_an_id_that_is_not_random_is_its_namespaces_own():
    named = [
        Clue(Container("containerd", namespace, "redis", "redis", source=Provenance(1, "/x", offset=at)), CERTAIN, "database")
        for at, namespace in enumerate(("default", "k8s.io", "default"))
    ]
    assert [record.namespace for record, _ in join_containers(named)] == ["default", "k8s.io"]
    whole = [replace(each, record=replace(each.record, container_id=ID)) for each in named]
    assert len(join_containers(whole)) == 1


@pytest.mark.parametrize(
    ("spec", "identity"),
    [
        ({"mounts": [{"source": f"/var/lib/docker/containers/{ID}/hosts"}]}, Identity("docker", None, ID)),
        ({"linux": {"cgroupsPath": f"system.slice:docker:{ID}"}}, Identity("docker", None, ID)),
        ({"linux": {"cgroupsPath": "/default/doomed"}}, Identity("containerd", "default", "doomed")),
        ({"linux": {"cgroupsPath": f"machine.slice:libpod:{ID}"}}, Identity("podman", None, ID)),
        (
            {
                "annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": OTHER},
                "linux": {"cgroupsPath": f"/kubepods/besteffort/pod1/{ID}"},
            },
            Identity("containerd", "k8s.io", ID),
        ),
        ({"annotations": {"io.kubernetes.cri-o.ContainerID": ID}}, Identity("crio", None, ID)),
        ({"mounts": [{"source": f"/d/containers/{each}/hosts"} for each in (ID, OTHER)]}, None),
        ({"process": {"args": ["sh"]}}, None),
    ],
)
def test_a_spec_tells_whose_it_is(spec, identity):
    assert identity_of(parse_spec(json.dumps(spec).encode())) == identity


@pytest.mark.parametrize("name", ["webshop", "powercut", "snapshots"])
def test_recovered_containers_of_samples_say_where_they_are_from(name, carved):
    rows = ask(carved(name), "SELECT * FROM containers WHERE origin = 'recovered'")
    assert rows
    for row in rows:
        sources = json.loads(row["sources"])
        assert row["confidence"] in (CERTAIN, PROBABLE, POSSIBLE)
        assert sources
        assert all(source["how"] != "allocated" and source["offset"] is not None for source in sources)
    assert ask(carved(name), "SELECT name FROM containers WHERE origin = 'allocated' AND sources IS NOT NULL") == []
    assert ask(carved(name), "SELECT container_id FROM containers GROUP BY container_id, namespace HAVING count(*) > 1") == []


@pytest.mark.parametrize("name", [b"snapshots", b"containers", b"labels", b"shop.test/web:1", b"sha256:" + b"a" * 64, b"-"])
def test_a_bucket_of_containerds_own_is_no_container(name):
    """An old page of containers may point to one that is a namespace's, or of images, by now."""
    key = Key((b"v1", b"default", b"containers"), name, None, 5, 20480)
    inside = Key((b"v1", b"default", b"containers", name, b"overlayfs"), b"key", b"value", 5, 20500)
    assert list(old_records([Deleted(each, "stale", 7, "pointer", 0) for each in (key, inside)])) == []


def test_a_container_may_have_any_name_that_containerd_takes():
    path = (b"v1", b"default", b"containers")
    keys = [Key(path, b"snapshots", None, 5, 20480), Key((*path, b"snapshots"), b"image", b"shop.test/web:1", 5, 20500)]
    (old,) = old_records([Deleted(each, "stale", 7, "pointer", 0) for each in keys])
    assert (old.record.id, old.record.image) == ("snapshots", "shop.test/web:1")
