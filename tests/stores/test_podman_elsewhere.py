"""Layers and records of a graphroot that are not in it: other image stores, additional layer stores, its run root."""

import json

import pytest

from forensics.stores.host_tree import HostTree
from forensics.stores.podman.config import Configured
from forensics.stores.podman.discover import GraphRoot
from forensics.stores.podman.store import read_graph_root
from forensics.stores.reading import Place
from support.docker_stores import stack
from support.memory_filesystem import MemoryFilesystem
from support.storage_trees import BASE, CID, IMAGE, LINKS, OWN, SECOND, document, graph_root, layer


def read(tree, run=None, neighbours=()):
    """What the graphroot /g on a host tells; run and neighbours: paths."""
    fs = MemoryFilesystem(tree)
    top = Place(1, fs, fs.root, b"/")
    host = HostTree({b"/": top})
    places = tuple(host.resolve(path) for path in neighbours)
    configured = Configured(b"/g", "default")
    root = GraphRoot(host.resolve(b"/g"), b"/g", "default", host, configured, places, host.resolve(run) if run else None)
    return read_graph_root(root)


def test_an_image_store_that_no_configuration_names():
    """podman --imagestore: only the short names of what is below tell where that is."""
    own, images = graph_root(), graph_root()
    for name in (BASE, SECOND):
        del own["overlay"][name], own["overlay"]["l"][LINKS[name]]
    own["overlay-layers"]["layers.json"] = document({"id": OWN, "parent": SECOND})
    del images["overlay"][OWN], images["overlay"]["l"][LINKS[OWN]]
    stranger = {"overlay": {"l": {"Z" * 26: "../x/diff"}}, "overlay-layers": {}, "overlay-containers": {}}
    contents = read({"g": own, "images": images, "other": stranger}, neighbours=(b"/other", b"/images"))
    assert stack(contents, contents.containers[0].layer) == [OWN, SECOND, BASE]
    assert {each.name: each.path.split("/")[1] for each in contents.layers} == {OWN: "g", SECOND: "images", BASE: "images"}
    assert "overlay lower" not in {gap.artefact for gap in contents.gaps}


def test_a_layer_in_an_additional_layer_store():
    where = "/als/bG9jYWxob3N0L3g6MQ==/sha256:1/diff"
    tree = graph_root(**{f"overlay__{BASE}": {**layer(BASE), "diff": where, "additionallayer": where[:-5].encode()}})
    there = {"als": {"bG9jYWxob3N0L3g6MQ==": {"sha256:1": {"diff": {"etc": {}}, "info": b"{}", "blob": b""}}}}
    contents = read({"g": tree, **there})
    assert {each.name: each.path for each in contents.layers}[BASE] == where
    assert [gap.artefact for gap in contents.gaps if gap.artefact != "container image config"] == []
    contents = read({"g": tree})  # a layer store is often mounted by a program, and then its files are on no disk
    assert {each.name: each.directory is None for each in contents.layers} == {BASE: True, SECOND: False, OWN: False}
    assert "additional layer store" in {gap.artefact for gap in contents.gaps}


@pytest.mark.parametrize("where", [f"/g/overlay/{BASE}/diff", "diff", "../x", "/", "/file", "", "/a/../" * 200 + "als"])
def test_links_of_layers_that_lead_nowhere_good(where):
    """To itself, relative ones, to the whole host, to no directory: read as the engine would, or told, and it ends."""
    tree = graph_root(**{f"overlay__{BASE}": {**layer(BASE), "diff": where}})
    contents = read({"g": tree, "file": b"x"})
    assert len(contents.layers) == 3
    (base,) = (each for each in contents.layers if each.name == BASE)
    assert base.path == "/" if where == "/" else base.directory is None
    assert where == "/" or {"additional layer store", "overlay2 diff"} & {gap.artefact for gap in contents.gaps}


def test_the_records_of_a_transient_store_are_in_its_run_root():
    tree = graph_root(**{"overlay-containers__containers.json": b"[]"})
    tree["overlay-layers"]["layers.json"] = document({"id": BASE}, {"id": SECOND, "parent": BASE})
    spec = json.dumps({"process": {"args": ["sleep"]}}).encode()
    run = {
        "overlay": {},
        "overlay-layers": {"volatile-layers.json": document({"id": OWN, "parent": SECOND})},
        "overlay-containers": {
            "volatile-containers.json": document({"id": CID, "names": ["web"], "layer": OWN, "image": IMAGE}),
            CID: {"userdata": {"config.json": spec}},
        },
    }
    contents = read({"g": tree, "r": run}, run=b"/r")
    (container,) = contents.containers
    assert (container.name, container.command) == ("web", ("sleep",))
    assert stack(contents, container.layer) == [OWN, SECOND, BASE]
    assert read({"g": tree}).containers == ()


def test_what_a_running_container_wrote_to_an_overlay_volume():
    """--volume /srv/x:/x:O; one that wrote nothing has nothing to show."""
    volumes = {"111": {"upper": {"new": b"x"}, "work": {}, "merge": {}}, "222": {"upper": {}, "work": {}}}
    contents = read({"g": graph_root(**{f"overlay-containers__{CID}": {"userdata": {"overlay": volumes}}})})
    (written,) = (each for each in contents.layers if each.key.startswith("overlay-volume/"))
    assert (written.name, written.path) == (f"{CID}/overlay/111", f"/g/overlay-containers/{CID}/userdata/overlay/111/upper")
    assert (written.kind, written.lower, written.marks) == ("container", None, "trusted")
    assert stack(contents, contents.containers[0].layer) == [OWN, SECOND, BASE]
