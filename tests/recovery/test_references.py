"""Removed containers that records of container images and of other containers refer to."""

import json
from dataclasses import replace

import pytest

from forensics.records import Container, ContainerImage, Provenance, Store, StoreContents
from forensics.recovery.containers.references import reference_clues
from support.cli import ask

ID, OTHER = "a1" * 32, "b2" * 32
SOURCE = Provenance(1, "/x", 9, 512)
CONFIG = {"container": ID, "container_config": {"Image": "shop:1", "Cmd": ["sh", "-c", "x"], "Env": ["A=1"], "Hostname": ID[:12]}}


def image(config=CONFIG, **more):
    made = ContainerImage("docker", None, f"sha256:{OTHER}", ("shop:2",), None, None, (), parent_image="sha256:1", source=SOURCE)
    return replace(made, config=config if isinstance(config, str) else json.dumps(config), **more)


def clues(*records):
    images = tuple(each for each in records if isinstance(each, ContainerImage))
    containers = tuple(each for each in records if isinstance(each, Container))
    return list(reference_clues(StoreContents(Store("k", "docker", "/r", None, None, 1), images=images, containers=containers)))


def test_a_committed_image_tells_of_its_container():
    (clue,) = clues(image())
    record = clue.record
    assert (record.container_id, record.image, record.command, record.env) == (ID, "shop:1", ("sh", "-c", "x"), ("A=1",))
    assert (record.image_id, clue.confidence, record.source.offset) == ("sha256:1", "possible", 512)
    assert record.source.how == "record of shop:2, which was committed from it"


@pytest.mark.parametrize(
    "made",
    [
        image(parent_image=None),  # pulled: the container was another host's
        image({"container": ID[:12]}),
        image({"container": 5}),
        image("{" * 5000),
        image(config="[]"),
        image({"container": None, "container_config": {"Cmd": ["sh"]}}),
    ],
)
def test_no_container_of_another_host_and_none_of_a_short_id(made):
    assert clues(made) == []


def test_labels_and_shared_namespaces():
    own = Container(
        "docker", None, OTHER, "web", source=SOURCE, hostconfig=json.dumps({"NetworkMode": f"container:{ID}", "PidMode": "host"}),
        labels={"io.kubernetes.sandbox.id": "c3" * 32, "io.kubernetes.pod.name": "shop", "io.kubernetes.pod.namespace": "default",
                "com.docker.compose.replace": "d4" * 32},
    )  # fmt: skip
    found = {clue.record.container_id: clue.record for clue in clues(own)}
    assert found.keys() == {ID, "c3" * 32, "d4" * 32}
    assert found["c3" * 32].pod == "default/shop"
    assert found[ID].source.how == "NetworkMode of web"
    assert clues(replace(own, labels={"io.kubernetes.sandbox.id": "x"}, hostconfig='{"NetworkMode":"container:web"}')) == []


def test_images_of_a_sample_name_the_containers_that_they_were_committed_from(carved):
    rows = ask(carved("webshop"), "SELECT container_id, sources FROM containers WHERE origin = 'recovered'")
    images = ask(carved("webshop"), "SELECT config FROM images WHERE parent_image IS NOT NULL AND config IS NOT NULL")
    named = {config["container"] for row in images if (config := json.loads(row["config"])).get("container")}
    telling = {
        row["container_id"] for row in rows if any("committed from it" in each["how"] for each in json.loads(row["sources"]))
    }
    assert telling == named
    assert named
