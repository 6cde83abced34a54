"""The sample `snapshots`, carved through the command line, against what Docker, ctr and the kernel said about it."""

import json
import re
from datetime import UTC, datetime

import pytest

from samples.unpack import SAMPLES
from support.cli import ask, run_cli
from support.compare_export import differences, exported_view, kernel_view

TRUTH = SAMPLES / "snapshots/truth"
NAMESPACES = ("default", "k8s.io")
VIEWS = sorted(view.name.removesuffix(".jsonl.gz") for view in (TRUTH / "fs").glob("*"))


def truth(name):
    return json.loads((TRUTH / f"{name}.json").read_text())


def nanoseconds(text):
    """RFC 3339 as Go writes it; its zero time is None."""
    if text.startswith("0001-01-01"):
        return None
    whole, fraction = re.fullmatch(r"(.{19})(?:\.(\d+))?Z", text).groups()
    return int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))


@pytest.fixture(scope="module")
def case(carved):
    return carved("snapshots")


def test_nothing_is_left_unread(case):
    assert ask(case, "SELECT * FROM gaps") == []


def test_there_are_views():
    assert len(VIEWS) == 11


@pytest.mark.parametrize("view", VIEWS)
def test_export_is_what_the_kernel_shows(view, case, tmp_path):
    tar = tmp_path / "rootfs.tar"
    run_cli("export", case, "/".join(view.split("-", 1)), "-o", tar)
    assert differences(kernel_view(TRUTH / "fs" / f"{view}.jsonl.gz"), exported_view(tar)) == []


def test_docker_containers_are_as_docker_inspect_has_them(case):
    rows = ask(case, "SELECT * FROM containers WHERE engine = 'docker' AND origin = 'allocated'")
    found = {row["container_id"]: row for row in rows}
    told = {each["Id"]: each for each in truth("docker-containers")}
    assert found.keys() == told.keys()
    for key, row in found.items():
        container, state = told[key], told[key]["State"]
        assert row["name"] == container["Name"].lstrip("/")
        assert (row["image"], row["image_id"]) == (container["Config"]["Image"], container["Image"])
        assert (row["state"], row["exit_code"], row["pid"] or 0) == (state["Status"], state["ExitCode"], state["Pid"])
        assert (row["started_ns"], row["finished_ns"]) == (nanoseconds(state["StartedAt"]), nanoseconds(state["FinishedAt"]))
        assert bool(row["privileged"]) == container["HostConfig"]["Privileged"]
        assert row["rootfs"] == "complete"


def test_docker_images_are_as_docker_inspect_has_them(case):
    found = {row["image_id"]: row for row in ask(case, "SELECT * FROM images WHERE engine = 'docker' AND origin = 'allocated'")}
    told = {each["Id"]: each for each in truth("docker-images")}
    assert found.keys() == told.keys()
    for key, row in found.items():
        assert sorted(json.loads(row["refs"])) == sorted(told[key]["RepoTags"] + told[key]["RepoDigests"])
        assert json.loads(row["layers"]) == told[key]["RootFS"]["Layers"]
        assert (row["size_bytes"], row["created_ns"]) == (told[key]["Size"], nanoseconds(told[key]["Created"]))
        assert json.loads(row["labels"]) == (told[key]["Config"]["Labels"] or {})


def test_changes_are_those_of_docker_diff(case):
    ids = {each["Id"] for each in truth("docker-containers")}
    found = {key: set() for key in ids}
    for row in ask(case, "SELECT container_id, kind, coalesce(path_raw, path) AS path FROM changes"):
        path = row["path"] if isinstance(row["path"], str) else row["path"].decode("utf-8", "replace")
        if row["container_id"] in ids:
            found[row["container_id"]].add((row["kind"], path))
    assert found == {key: {("CAD"[c["Kind"]], c["Path"]) for c in changes} for key, changes in truth("diff").items()}


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_containers_are_as_ctr_has_them(namespace, case):
    rows = ask(
        case, f"SELECT * FROM containers WHERE engine = 'containerd' AND namespace = '{namespace}' AND origin = 'allocated'"
    )
    found = {row["container_id"]: row for row in rows}
    told = {each["ID"]: each for each in truth(f"ctr-{namespace}")["containers"]}
    assert found.keys() == told.keys() == {"bound", "live", "redis", "spare"}
    for key, row in found.items():
        process = told[key]["Spec"]["process"]
        assert (row["name"], row["image"]) == (key, told[key]["Image"])
        assert row["created_ns"] == nanoseconds(told[key]["CreatedAt"])
        assert json.loads(row["command"]) == process["args"]
        assert json.loads(row["env"]) == process["env"]
        assert json.loads(row["labels"]) == told[key]["Labels"]
        assert bool(row["privileged"]) == (key == "live")
        assert row["rootfs"] == "complete"
    assert found["live"]["state"] == "running"
    assert found["redis"]["state"] is None  # no file says whether it ended or was never run


def test_a_container_whose_layer_was_never_mounted_was_created_only(case):
    rows = ask(case, "SELECT state FROM containers WHERE container_id = 'spare' AND namespace = 'default'")
    assert rows == [{"state": "created"}]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_mounts_are_those_that_were_asked_for(namespace, case):
    rows = ask(case, "SELECT container_id, type, source, destination, rw FROM mounts")
    bound = [row for row in rows if row["container_id"] == "bound"]
    assert bound[0] == {"container_id": "bound", "type": "bind", "source": "/etc", "destination": "/hostetc", "rw": 0}
    assert len(bound) == len(NAMESPACES)
    assert not [row for row in rows if row["container_id"] == "redis"]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_images_have_the_targets_that_ctr_lists(namespace, case):
    rows = ask(case, f"SELECT * FROM images WHERE engine = 'containerd' AND namespace = '{namespace}' AND origin = 'allocated'")
    told = {}
    for line in truth(f"ctr-{namespace}")["images"][1:]:
        name, _, digest = line.split()[:3]
        told.setdefault(digest, []).append(name)
    assert {row["image_id"]: json.loads(row["refs"]) for row in rows} == {digest: sorted(names) for digest, names in told.items()}
    by_name = {name: digest for digest, names in told.items() for name in names}
    for row in ask(case, f"SELECT image, image_id FROM containers WHERE namespace = '{namespace}' AND origin = 'allocated'"):
        assert row["image_id"] == by_name[row["image"]]


def test_each_layer_stands_once_with_its_kind(case):
    rows = ask(case, "SELECT engine, kind, path FROM layers WHERE origin = 'allocated'")
    assert len({row["path"] for row in rows}) == len(rows)
    kinds = {(row["engine"], row["kind"]) for row in rows}
    assert kinds == {(engine, kind) for engine in ("docker", "containerd") for kind in ("image", "container")} | {
        ("docker", "init")
    }


def test_namespaces_keep_their_labels(case):
    rows = ask(case, "SELECT name, details FROM artefacts WHERE kind = 'namespace' ORDER BY name")
    assert [(row["name"], json.loads(row["details"])) for row in rows] == [("default", {"tier": "back"}), ("k8s.io", {})]
