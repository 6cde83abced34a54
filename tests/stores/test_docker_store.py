"""Docker's stores of the samples, against what Docker itself said of them, and stores that no engine leaves."""

import json

import pytest

from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place
from parsers.docker_layer import chain_ids
from parsers.go_time import parse_rfc3339
from samples.unpack import SAMPLES, names
from support.docker_stores import docker_root, stack
from support.memory_filesystem import MemoryFilesystem, Node


def truth(sample, name):
    return json.loads((SAMPLES / sample / "truth" / f"{name}.json").read_text())


@pytest.fixture(scope="module", params=names())
def store(request, sample):
    with docker_root(sample(request.param)) as root:
        yield request.param, root, read_docker(root)


def test_nothing_is_damaged(store):
    _, _, contents = store
    assert contents.gaps == ()
    assert (contents.store.engine, contents.store.driver) == ("docker", "overlay2")


def test_containers(store):
    sample, _, contents = store
    told = {container["Id"]: container for container in truth(sample, "containers")}
    assert {container.container_id for container in contents.containers} == told.keys()
    for container in contents.containers:
        inspect = told[container.container_id]
        state, config, host = inspect["State"], inspect["Config"], inspect["HostConfig"]
        assert f"/{container.name}" == inspect["Name"]
        assert (container.state, container.exit_code, container.pid or 0) == (state["Status"], state["ExitCode"], state["Pid"])
        assert (container.error or "", container.oom_killed) == (state["Error"], state["OOMKilled"])
        times = (inspect["Created"], state["StartedAt"], state["FinishedAt"])
        assert (container.created_ns, container.started_ns, container.finished_ns) == tuple(map(parse_rfc3339, times))
        assert (container.image, container.image_id) == (config["Image"], inspect["Image"])
        assert container.command == (inspect["Path"], *inspect["Args"])
        assert list(container.env) == (config["Env"] or [])
        assert container.labels == (config["Labels"] or {})
        user, directory = container.user or "", container.working_dir or ""
        assert (container.hostname, user, directory) == (config["Hostname"], config["User"], config["WorkingDir"])
        assert (container.privileged, container.restart_count) == (host["Privileged"], inspect["RestartCount"])
        policy = host["RestartPolicy"]
        most = f":{policy['MaximumRetryCount']}" if policy["MaximumRetryCount"] else ""
        assert container.restart_policy == policy["Name"] + most
        assert container.log_driver == host["LogConfig"]["Type"]
        assert json.loads(container.config)["ID"] == json.loads(container.hostconfig).get("ID", container.container_id)


def test_mounts(store):
    sample, _, contents = store
    for container in contents.containers:
        (inspect,) = (each for each in truth(sample, "containers") if each["Id"] == container.container_id)
        told = {(m["Type"], m["Source"], m["Destination"], m["RW"], m.get("Name"), m.get("Driver")) for m in inspect["Mounts"]}
        found = {(m.type, m.source, m.destination, m.rw, m.name, m.driver) for m in container.mounts}
        tmpfs = {mount for mount in found if mount[0] == "tmpfs"}
        assert {mount[2] for mount in tmpfs - told} == (inspect["HostConfig"].get("Tmpfs") or {}).keys()
        engine = {mount for mount in found if mount[0] == "engine"}
        assert {mount[1] for mount in engine} == {inspect[key] for key in ("HostnamePath", "HostsPath", "ResolvConfPath")} - {""}
        assert found - engine - tmpfs == told - tmpfs


def test_stacks(store):
    sample, _, contents = store
    for container in contents.containers:
        (inspect,) = (each for each in truth(sample, "containers") if each["Id"] == container.container_id)
        data = inspect["GraphDriver"]["Data"]
        told = [path.split("/")[-2] for path in (data["UpperDir"], *data["LowerDir"].split(":"))]
        assert stack(contents, container.layer) == told


def test_layers(store):
    sample, root, contents = store
    kinds = {layer.name: layer.kind for layer in contents.layers}
    assert sorted(kinds.values()).count("container") == sorted(kinds.values()).count("init") == len(truth(sample, "containers"))
    assert "orphan" not in kinds.values()
    for layer in contents.layers:
        assert root.place.fs.inode(layer.directory).type == "d"
        assert (layer.marks, layer.stacked, layer.partition) == ("trusted", True, root.place.partition)


def test_images(store):
    sample, _, contents = store
    told = {image["Id"]: image for image in truth(sample, "images")}
    assert {image.image_id for image in contents.images} == told.keys()
    layers = {layer.key: layer for layer in contents.layers}
    for image in contents.images:
        inspect = told[image.image_id]
        assert sorted(image.refs) == sorted(inspect["RepoTags"] + inspect["RepoDigests"])
        assert (image.created_ns, image.size_bytes) == (parse_rfc3339(inspect["Created"]), inspect["Size"])
        assert (image.architecture, image.os) == (inspect["Architecture"], inspect["Os"])
        assert (image.parent_image or "", image.labels) == (inspect["Parent"], inspect["Config"]["Labels"] or {})
        assert image.updated_ns == parse_rfc3339(inspect["Metadata"]["LastTagTime"])
        assert image.layers == tuple(inspect["RootFS"]["Layers"])
        assert layers[image.top].chain_id == chain_ids(image.layers)[-1]
        assert layers[image.top].name == inspect["GraphDriver"]["Data"]["UpperDir"].split("/")[-2]
        assert sum(not step.empty for step in image.history) == len(image.layers)


def test_volumes_and_networks(store):
    sample, _, contents = store
    told = {volume["Name"]: volume for volume in truth(sample, "volumes")}
    assert {volume.name: (volume.driver, volume.path) for volume in contents.volumes} == {
        name: (volume["Driver"], volume["Mountpoint"]) for name, volume in told.items()
    }
    for volume in contents.volumes:
        assert (volume.labels, volume.options) == (told[volume.name]["Labels"] or {}, told[volume.name]["Options"] or {})
        assert volume.created_ns // 10**9 == parse_rfc3339(told[volume.name]["CreatedAt"]) // 10**9
    networks = {network["Id"]: network for network in truth(sample, "networks")}
    assert {network.network_id for network in contents.networks} == networks.keys()
    for network in contents.networks:
        inspect = networks[network.network_id]
        assert (network.name, network.driver) == (inspect["Name"], inspect["Driver"])
        assert network.created_ns == parse_rfc3339(inspect["Created"])
        assert network.subnets == tuple(pool["Subnet"] for pool in inspect["IPAM"]["Config"] or ())
        assert {(e.container_id, e.endpoint_id, e.address or "", e.mac or "") for e in network.endpoints} == {
            (cid, e["EndpointID"], e["IPv4Address"], e["MacAddress"]) for cid, e in inspect["Containers"].items()
        }


def test_provenance_is_where_the_bytes_are(store, sample):
    name, root, contents = store
    image = sample(name).read_bytes()
    fs = root.place.fs
    for record in (*contents.containers, *contents.images):
        content = fs.read(record.source.inode)
        assert image[record.source.offset :][: min(len(content), fs.block_size)] == content[: fs.block_size]
        assert record.source.partition == root.place.partition
    for record in (*contents.networks, *contents.volumes):
        told = getattr(record, "network_id", record.name).encode()
        assert told in image[record.source.offset :][:200]


CID, OTHER = "c" * 64, "d" * 64
OWN, BASE, LEFT = "1" * 64, "2" * 64, "3" * 64
DIFF = "sha256:" + "e" * 64


def layer(link, lower=None, crtime_ns=None, **more):
    directory = {"diff": {}, "link": link.encode(), **more}
    if lower is not None:
        directory["lower"] = ":".join(f"l/{name}" for name in lower).encode()
    return Node(directory, crtime_ns)


def short(letter):
    return letter * 26


def made_up(**changes):
    """A store with one container of one layer, as a dict of which `changes` replaces parts."""
    tree = {
        "containers": {CID: {"config.v2.json": json.dumps({"ID": CID, "Name": "/web", "Driver": "overlay2"}).encode(),
                             "hostconfig.json": b"{}"}},
        "image": {"overlay2": {"layerdb": {
            "sha256": {"e" * 64: {"cache-id": BASE.encode(), "diff": DIFF.encode(), "size": b"7"}},
            "mounts": {CID: {"mount-id": OWN.encode(), "init-id": f"{OWN}-init".encode(), "parent": DIFF.encode()}},
        }}},
        "overlay2": {
            OWN: layer(short("A"), [short("B"), short("C")]),
            f"{OWN}-init": layer(short("B"), [short("C")]),
            BASE: layer(short("C")),
            "l": {short("A"): f"../{OWN}/diff", short("B"): f"../{OWN}-init/diff", short("C"): f"../{BASE}/diff"},
        },
    }  # fmt: skip
    for path, value in changes.items():
        *way, last = path.split("/")
        at = tree
        for part in way:
            at = at[part].content if isinstance(at[part], Node) else at[part]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return tree


def read(tree):
    fs = MemoryFilesystem(tree)
    return read_docker(DockerRoot(Place(1, fs, fs.root, b"/"), b"/var/lib/docker", "default"))


def test_made_up_store_is_whole():
    contents = read(made_up())
    assert contents.gaps == ()
    (container,) = contents.containers
    assert stack(contents, container.layer) == [OWN, f"{OWN}-init", BASE]


def test_what_a_removal_left_over():
    removing = {"cache-id": LEFT.encode(), "diff": DIFF.encode(), "size": b"7"}
    contents = read(made_up(**{
        f"overlay2/{LEFT}": layer(short("D"), [short("C")]),
        f"overlay2/l/{short('D')}": f"../{LEFT}/diff",
        f"image/overlay2/layerdb/sha256/{'f' * 64}-{'0' * 64}-removing": removing,
    }))  # fmt: skip
    (orphan,) = (each for each in contents.layers if each.kind == "orphan")
    assert (orphan.name, orphan.chain_id, orphan.lower) == (LEFT, f"sha256:{'f' * 64}", f"overlay2/{BASE}")
    assert contents.gaps == ()


@pytest.mark.parametrize("parts", [{"diff": DIFF.encode(), "size": b"7"}, {"diff": b"\xff"}, {}])
def test_what_a_pull_that_was_cut_off_left(parts):
    contents = read(made_up(**{
        f"overlay2/{LEFT}": layer(short("D"), [short("C")]),
        f"overlay2/l/{short('D')}": f"../{LEFT}/diff",
        "image/overlay2/layerdb/tmp": {"write-set-123": {"cache-id": LEFT.encode(), **parts}, "else": {}},
    }))  # fmt: skip
    (orphan,) = (each for each in contents.layers if each.kind == "orphan")
    assert (orphan.name, orphan.chain_id, orphan.size_bytes) == (LEFT, None, 7 if "size" in parts else None)
    assert orphan.diff_id == (DIFF if "size" in parts else None)
    assert len(contents.gaps) == (parts == {"diff": b"\xff"})


@pytest.mark.parametrize("raft, told", [
    ({"wal-v3-encrypted": {"0000000000000000-0000000000000000.wal": b"\0" * 512}, "snap-v3-encrypted": {}}, ["Swarm's state"]),
    ({"wal-v3-encrypted": {}}, []),
    ({}, []),
])  # fmt: skip
def test_the_state_of_a_swarm_is_told_as_a_gap_where_there_is_one(raft, told):
    contents = read(made_up(swarm={"raft": raft, "worker": {}}))
    assert [gap.artefact for gap in contents.gaps] == told
    assert [gap.path for gap in contents.gaps] == ["/swarm/raft/wal-v3-encrypted"] * len(told)


def test_a_container_of_which_only_layers_are_left():
    contents = read(made_up(**{f"containers/{CID}": None}))
    (container,) = contents.containers
    assert (container.container_id, container.state, container.name) == (CID, None, None)
    assert stack(contents, container.layer) == [OWN, f"{OWN}-init", BASE]
    assert [gap.artefact for gap in contents.gaps] == ["container"]


def test_a_container_whose_layer_is_gone():
    contents = read(made_up(**{f"overlay2/{OWN}": None, f"overlay2/l/{short('A')}": None}))
    (container,) = contents.containers
    assert container.layer == f"overlay2/{OWN}"
    (own,) = (each for each in contents.layers if each.name == OWN)
    assert (own.directory, own.kind, own.lower) == (None, "container", f"overlay2/{OWN}-init")
    assert any("gone" in gap.error for gap in contents.gaps)


def test_a_layer_that_lower_names_and_nobody_has():
    ghost = [short("G"), short("B"), short("C")]
    contents = read(made_up(**{f"overlay2/{OWN}": layer(short("A"), ghost), "image": {}}))
    assert stack(contents, f"overlay2/{OWN}") == [OWN, f"l/{short('G')}", f"{OWN}-init", BASE]
    assert any(short("G") in gap.error for gap in contents.gaps)


def test_lower_is_what_a_mount_uses():
    contents = read(made_up(**{
        f"overlay2/{LEFT}": layer(short("D")),
        f"overlay2/l/{short('D')}": f"../{LEFT}/diff",
        f"overlay2/{OWN}-init": layer(short("B"), [short("D")]),
    }))  # fmt: skip
    assert stack(contents, f"overlay2/{OWN}") == [OWN, f"{OWN}-init", LEFT]
    assert any("layerdb tells of" in gap.error for gap in contents.gaps)
    assert {each.name: each.kind for each in contents.layers}[LEFT] == "image"


@pytest.mark.parametrize("target", [f"../{OWN}/diff", f"../{OWN}-init/diff"])
def test_a_stack_in_a_circle_is_no_trouble(target):
    contents = read(made_up(**{f"overlay2/l/{short('C')}": target}))
    assert contents.containers[0].layer == f"overlay2/{OWN}"
    assert contents.gaps != ()


def test_without_layerdb_the_times_of_making_tell_whose_layer_is_whose():
    second = 10**9
    config = json.dumps({"ID": OTHER, "Name": "/other"}).encode()
    tree = made_up(**{
        "image": {},
        f"containers/{OTHER}": Node({"config.v2.json": config, "hostconfig.json": b"{}"}, 105 * second),
        f"overlay2/{OWN}": layer(short("A"), [short("B"), short("C")], 100 * second - 5),
        f"overlay2/{LEFT}": layer(short("D"), [short("E"), short("C")], 105 * second - 5),
        f"overlay2/{LEFT}-init": layer(short("E"), [short("C")], 105 * second - 9),
        f"overlay2/l/{short('D')}": f"../{LEFT}/diff",
        f"overlay2/l/{short('E')}": f"../{LEFT}-init/diff",
    })  # fmt: skip
    tree["containers"][CID] = Node(tree["containers"][CID], 100 * second)
    contents = read(tree)
    assert {each.container_id: each.layer for each in contents.containers} == {CID: f"overlay2/{OWN}", OTHER: f"overlay2/{LEFT}"}
    assert sum("inferred" in gap.error for gap in contents.gaps) == 2
    assert {each.name: each.kind for each in contents.layers}[BASE] == "image"


def test_a_write_that_was_cut_off_stands_in_for_a_damaged_config():
    config = json.dumps({"ID": CID, "Name": "/web", "State": {"Running": True}}).encode()
    contents = read(made_up(**{
        f"containers/{CID}/config.v2.json": b"", f"containers/{CID}/.tmp-config.v2.json1234": config,
    }))  # fmt: skip
    (container,) = contents.containers
    assert (container.name, container.state) == ("web", "running")
    assert container.source.path.endswith("/.tmp-config.v2.json1234")
    assert len(contents.gaps) == 2


def test_a_host_name_may_have_letters_of_any_script():
    contents = read(made_up(**{f"containers/{CID}/hostname": "höst.example.org\n".encode()}))
    assert [each.hostname for each in contents.containers] == ["höst.example.org"]
    assert [gap for gap in contents.gaps if gap.artefact == "hostname"] == []


def test_a_damaged_config_leaves_what_others_tell():
    host = json.dumps({"Binds": ["/etc:/hostetc:ro"], "Privileged": True, "Tmpfs": {"/run": "ro"}}).encode()
    contents = read(made_up(**{
        f"containers/{CID}/config.v2.json": bytes(500),
        f"containers/{CID}/hostconfig.json": host,
        f"containers/{CID}/hostname": b"shop-1\n",
        f"containers/{CID}/{CID}-json.log": b"",
    }))  # fmt: skip
    (container,) = contents.containers
    assert (container.name, container.state, container.privileged, container.hostname) == (None, None, True, "shop-1")
    assert [(m.type, m.source, m.destination, m.rw) for m in container.mounts] == [
        ("bind", "/etc", "/hostetc", False), ("tmpfs", None, "/run", False),
    ]  # fmt: skip
    assert (container.log_driver, container.log_path) == (
        "json-file", f"/var/lib/docker/containers/{CID}/{CID}-json.log",
    )  # fmt: skip
    assert stack(contents, container.layer) == [OWN, f"{OWN}-init", BASE]


def test_a_rootless_store_has_user_marks():
    contents = read(made_up(**{f"overlay2/{OWN}/diff": Node({}, None, {b"user.overlay.impure": b"y"})}))
    assert {each.marks for each in contents.layers} == {"user"}


def test_docker_before_content_addresses():
    base, top = "a" * 64, "b" * 64
    tree = {
        "containers": {CID: {"config.json": json.dumps({"ID": CID, "Name": "/old", "Image": top, "Driver": "aufs"}).encode(),
                             "hostconfig.json": b"{}"}},
        "graph": {base: {"json": json.dumps({"id": base, "os": "linux"}).encode(), "layersize": b"5"},
                  top: {"json": json.dumps({"id": top, "parent": base}).encode(), "layersize": b"2"}},
        "repositories-aufs": b'{"Repositories": {"busybox": {"latest": "%s"}}}' % top.encode(),
    }  # fmt: skip
    contents = read(tree)
    assert [(image.image_id, image.refs, image.size_bytes, image.layers) for image in contents.images] == [
        (base, (), 5, (base,)), (top, ("busybox:latest",), 7, (base, top)),
    ]  # fmt: skip
    assert (contents.containers[0].name, contents.containers[0].image_id, contents.store.driver) == ("old", top, "aufs")
    assert [gap.artefact for gap in contents.gaps] == ["graph driver"]


def test_other_drivers_are_told_from_their_metadata():
    tree = made_up(overlay2=None)
    tree["image"] = {"zfs": tree["image"]["overlay2"]}
    contents = read(tree)
    assert [(each.name, each.kind, each.directory, each.lower) for each in contents.layers] == [
        (OWN, "container", None, f"zfs/{OWN}-init"), (f"{OWN}-init", "init", None, f"zfs/{BASE}"), (BASE, "image", None, None),
    ]  # fmt: skip
    assert contents.containers[0].layer == f"zfs/{OWN}"
    assert [gap.artefact for gap in contents.gaps] == ["graph driver", "graph driver"], "zfs is not read, overlay2 is not there"
