"""The Podman sample, carved through the command line, against what Podman, the kernel and fuse-overlayfs said about it."""

import json

import pytest

from parsers.go_time import parse_rfc3339
from samples.unpack import SAMPLES, names
from support.cli import ask, run_cli
from support.compare_export import differences, exported_view, kernel_view

TRUTH = SAMPLES / "podhost" / "truth"
CONTAINERS = sorted(view.name.removesuffix(".jsonl.gz") for view in (TRUTH / "fs").glob("*"))
STORES = {"/var/lib/containers/storage", "/home/alice/.local/share/containers/storage", "/srv/fuse", "/srv/vfs"}


@pytest.fixture(scope="module")
def case(carved):
    return carved("podhost")


def truth(name):
    return json.loads((TRUTH / f"podman-{name}.json").read_text())


def by_id(rows, key):
    return {row[key]: row for row in rows}


def test_it_is_there():
    assert names("podman-containers.json") == ["podhost"]
    assert len(CONTAINERS) == 17


def test_nothing_is_left_unread(case):
    assert ask(case, "SELECT artefact, path, error FROM gaps") == []
    stores = ask(case, "SELECT engine, root, driver FROM stores")
    assert {row["root"] for row in stores} == STORES
    assert {row["driver"] for row in stores if row["root"] == "/srv/vfs"} == {"vfs"}
    assert {row["engine"] for row in stores} == {"podman"}


@pytest.mark.parametrize("container", CONTAINERS)
def test_export_is_what_the_engine_shows(container, case, tmp_path):
    tar = tmp_path / "rootfs.tar"
    run_cli("export", case, container, "-o", tar)
    assert differences(kernel_view(TRUTH / "fs" / f"{container}.jsonl.gz"), exported_view(tar)) == []


def test_each_store_has_its_own_marks(case):
    marks = {
        (row["root"], row["marks"])
        for row in ask(case, "SELECT DISTINCT root, marks FROM layer JOIN store ON store.id = layer.store_id WHERE stacked")
    }
    assert marks == {
        ("/var/lib/containers/storage", "trusted"),
        ("/home/alice/.local/share/containers/storage", "user"),
        ("/srv/fuse", "fuse"),
    }


def test_containers_are_as_podman_inspect_has_them(case):
    found = by_id(ask(case, "SELECT * FROM containers WHERE origin = 'allocated'"), "container_id")
    told = by_id(truth("containers"), "Id")
    assert found.keys() == told.keys()
    for key, row in found.items():
        container, state, config = told[key], told[key]["State"], told[key]["Config"]
        args = container["Args"] if container["Args"] != [container["Path"]] else []
        assert row["name"] == container["Name"]
        assert (row["image"], row["image_id"]) == (container["ImageName"], container["Image"])
        assert (row["state"], row["exit_code"], row["pid"] or 0) == (state["Status"], state["ExitCode"], state["Pid"])
        assert row["created_ns"] == parse_rfc3339(container["Created"])
        assert row["started_ns"] == parse_rfc3339(state["StartedAt"])
        assert row["finished_ns"] == parse_rfc3339(state["FinishedAt"])
        assert json.loads(row["command"]) == [container["Path"], *args]
        assert json.loads(row["env"]) == config["Env"]
        assert json.loads(row["labels"]) == (config["Labels"] or {})
        assert bool(row["privileged"]) == container["HostConfig"]["Privileged"]
        assert row["restart_count"] == container["RestartCount"]
        assert row["rootfs"] == "complete"
        assert row["pod"] == ("crew" if container["Pod"] else None)


def test_mounts_are_as_podman_inspect_has_them(case):
    columns = "container_id, type, source, destination, rw"
    found = {tuple(row.values()) for row in ask(case, f"SELECT {columns} FROM mounts WHERE type IN ('bind', 'volume')")}
    told = {
        (container["Id"], mount["Type"], mount["Source"], mount["Destination"], int(mount["RW"]))
        for container in truth("containers")
        for mount in container["Mounts"]
    }
    assert found == told


def test_images_are_as_podman_inspect_has_them(case):
    """One image may be in several stores, under the same id."""
    found = ask(case, "SELECT * FROM images")
    told = truth("images")
    assert sorted(row["image_id"] for row in found) == sorted(image["Id"] for image in told)
    expected = {
        (
            image["Id"],
            tuple(sorted(image["RepoTags"] + image["RepoDigests"])),
            parse_rfc3339(image["Created"]),
            tuple(image["RootFS"]["Layers"]),
        )
        for image in told
    }
    read = {
        (row["image_id"], tuple(sorted(json.loads(row["refs"]))), row["created_ns"], tuple(json.loads(row["layers"])))
        for row in found
    }
    assert read == expected
    assert sorted(row["size_bytes"] for row in found) == sorted(image["Size"] for image in told)


def test_volumes_and_networks_are_as_podman_inspect_has_them(case):
    volumes = {(row["name"], row["driver"], row["path"]) for row in ask(case, "SELECT * FROM container_volumes")}
    assert volumes == {(volume["Name"], volume["Driver"], volume["Mountpoint"]) for volume in truth("volumes")}
    (network,) = ask(case, "SELECT * FROM networks")
    (told,) = truth("networks")
    assert (network["name"], network["network_id"], network["driver"]) == (told["name"], told["id"], told["driver"])
    assert json.loads(network["subnets"]) == [subnet["subnet"] for subnet in told["subnets"]]


def test_pods_and_the_last_writes_are_told(case):
    pods = ask(case, "SELECT name, details FROM artefacts WHERE kind = 'pod'")
    members = {json.loads(row["details"])["containers"] for row in pods}
    assert members == {container["Id"] for container in truth("containers") if container["Pod"]}
    last = max(parse_rfc3339(container["Created"]) for container in truth("containers"))
    locks = ask(case, "SELECT name, time_ns FROM artefacts WHERE kind = 'lock'")
    assert len(locks) == 12
    assert all(abs(row["time_ns"] - last) < 60 * 10**9 for row in locks)
