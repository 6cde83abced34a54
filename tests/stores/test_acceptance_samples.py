"""Each sample, carved through the command line, against what Docker and the kernel said about it."""

import hashlib
import json
import re
from datetime import UTC, datetime

import pytest

from samples.unpack import SAMPLES, names
from support.cli import ask, run_cli
from support.compare_export import differences, exported_view, kernel_view

CONTAINERS = [
    (sample, view.name.removesuffix(".jsonl.gz")) for sample in names() for view in (SAMPLES / sample).glob("truth/fs/*")
]
WITH_DIFF = [sample for sample in names() if (SAMPLES / sample / "truth/diff.json").exists()]


def truth(sample, name):
    return json.loads((SAMPLES / sample / "truth" / f"{name}.json").read_text())


def nanoseconds(text):
    """RFC 3339 as Go writes it; its zero time is None."""
    if text.startswith("0001-01-01"):
        return None
    whole, fraction = re.fullmatch(r"(.{19})(?:\.(\d+))?Z", text).groups()
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def by_id(rows, key):
    return {row[key]: row for row in rows}


def test_there_are_samples():
    assert len(names()) >= 2
    assert len(CONTAINERS) >= 8


@pytest.mark.parametrize("name", names())
def test_nothing_is_left_unread_and_the_evidence_is_untouched(name, sample, tmp_path):
    image = sample(name)
    before, times = hashlib.sha256(image.read_bytes()).digest(), image.stat()
    case = tmp_path / "case.db"
    run_cli("carve", image, "-o", case)
    assert ask(case, "SELECT artefact, path, error FROM gaps") == []
    assert hashlib.sha256(image.read_bytes()).digest() == before
    assert (image.stat().st_mtime_ns, image.stat().st_ctime_ns) == (times.st_mtime_ns, times.st_ctime_ns)


@pytest.mark.parametrize(("name", "container"), CONTAINERS)
def test_export_is_what_the_kernel_shows(name, container, carved, tmp_path):
    tar = tmp_path / "rootfs.tar"
    run_cli("export", carved(name), container, "-o", tar)
    kernel = kernel_view(SAMPLES / name / "truth/fs" / f"{container}.jsonl.gz")
    exported = exported_view(tar)
    assert differences(kernel, exported) == []


@pytest.mark.parametrize("name", WITH_DIFF)
def test_changes_are_those_of_docker_diff(name, carved):
    found = {key: set() for key in truth(name, "diff")}
    there = "container_id IN (SELECT container_id FROM containers WHERE origin = 'allocated')"
    for row in ask(carved(name), f"SELECT container_id, kind, coalesce(path_raw, path) AS path FROM changes WHERE {there}"):
        found[row["container_id"]].add((row["kind"], as_docker_prints(row["path"])))
    told = {key: {("CAD"[change["Kind"]], change["Path"]) for change in changes} for key, changes in truth(name, "diff").items()}
    assert found == told


def as_docker_prints(path):
    return path if isinstance(path, str) else path.decode("utf-8", "replace")


@pytest.mark.parametrize("name", names())
def test_containers_are_as_docker_inspect_has_them(name, carved):
    found = by_id(ask(carved(name), "SELECT * FROM containers WHERE origin = 'allocated'"), "container_id")
    told = by_id(truth(name, "containers"), "Id")
    assert found.keys() == told.keys()
    for key, row in found.items():
        container, state = told[key], told[key]["State"]
        assert row["engine"] == "docker"
        assert row["name"] == container["Name"].lstrip("/")
        assert (row["image"], row["image_id"]) == (container["Config"]["Image"], container["Image"])
        assert (row["state"], row["exit_code"], row["pid"] or 0) == (state["Status"], state["ExitCode"], state["Pid"])
        assert row["created_ns"] == nanoseconds(container["Created"])
        assert (row["started_ns"], row["finished_ns"]) == (nanoseconds(state["StartedAt"]), nanoseconds(state["FinishedAt"]))
        assert json.loads(row["command"]) == [container["Path"], *container["Args"]]
        assert json.loads(row["env"]) == (container["Config"]["Env"] or [])
        assert json.loads(row["labels"]) == (container["Config"]["Labels"] or {})
        assert bool(row["privileged"]) == container["HostConfig"]["Privileged"]
        assert row["restart_count"] == container["RestartCount"]
        assert row["rootfs"] == "complete"
        assert row["pod"] is None


@pytest.mark.parametrize("name", names())
def test_mounts_are_as_docker_inspect_has_them(name, carved):
    columns = "container_id, type, source, destination, rw"
    there = "container_id IN (SELECT container_id FROM containers WHERE origin = 'allocated')"
    rows = ask(carved(name), f"SELECT {columns} FROM mounts WHERE type IN ('bind', 'volume') AND {there}")
    found = {tuple(row.values()) for row in rows}
    told = {
        (container["Id"], mount["Type"], mount["Source"], mount["Destination"], int(mount["RW"]))
        for container in truth(name, "containers")
        for mount in container["Mounts"]
    }
    assert found == told


@pytest.mark.parametrize("name", names())
def test_images_are_as_docker_inspect_has_them(name, carved):
    found = by_id(ask(carved(name), "SELECT * FROM images WHERE origin = 'allocated'"), "image_id")
    told = by_id(truth(name, "images"), "Id")
    assert found.keys() == told.keys()
    for key, row in found.items():
        image = told[key]
        assert sorted(json.loads(row["refs"])) == sorted(image["RepoTags"])
        assert row["created_ns"] == nanoseconds(image["Created"])
        assert row["size_bytes"] == image["Size"]
        assert json.loads(row["layers"]) == image["RootFS"]["Layers"]


@pytest.mark.parametrize("name", names())
def test_networks_and_volumes_are_as_docker_inspect_has_them(name, carved):
    found = by_id(ask(carved(name), "SELECT * FROM networks"), "network_id")
    told = by_id(truth(name, "networks"), "Id")
    assert {key: (row["name"], row["driver"]) for key, row in found.items()} == {
        key: (network["Name"], network["Driver"]) for key, network in told.items()
    }
    for key, row in found.items():
        subnets = [subnet["Subnet"] for subnet in told[key]["IPAM"]["Config"] or []]
        assert json.loads(row["subnets"]) == subnets
    volumes = {row["name"]: row["driver"] for row in ask(carved(name), "SELECT * FROM container_volumes")}
    assert volumes == {volume["Name"]: volume["Driver"] for volume in truth(name, "volumes")}


def test_only_the_journal_knows_the_last_moment(carved):
    last = (
        "SELECT path FROM files WHERE container = 'sender' AND path IN ('/root/last', '/etc/group', '/tmp/p', '/root/.profile')"
    )
    assert {row["path"] for row in ask(carved("powercut"), last)} == {"/root/last", "/tmp/p"}
    assert {row["path"] for row in ask(carved("powercut", "--no-journal"), last)} == {"/etc/group", "/root/.profile"}


def test_two_runs_say_the_same(sample, carved, tmp_path):
    again = tmp_path / "again.db"
    run_cli("carve", sample("webshop"), "-o", again)
    for view in ("containers", "images", "layers", "files", "changes", "mounts", "partitions", "host", "stores", "networks"):
        everything = f"SELECT * FROM {view}"
        assert ask(again, everything) == ask(carved("webshop"), everything), view
