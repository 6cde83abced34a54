"""The summary of a carve: what tells two containers apart is shown, and nothing that says the same of all."""

import json
from contextlib import closing

import pytest

from forensics.case.schema import VIEWS
from reports.summary import summarise
from support.casebuilder import CaseBuilder


@pytest.fixture
def builder(tmp_path):
    return CaseBuilder(tmp_path / "case.db")


def summary(builder):
    builder.db.executescript(VIEWS)
    with closing(builder.db):
        return summarise(builder.db, builder.path)


def columns(builder):
    """The table of containers, each column by its name."""
    names, *rows = summary(builder).containers
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def test_one_store_and_namespace_are_not_repeated(builder):
    builder.container("a" * 64, "web", namespace="default")
    builder.container("b" * 64, "db", namespace="default")
    assert columns(builder).keys() == {"id", "container", "state"}


def test_namespaces_and_engines_are_told_where_there_are_several(builder):
    builder.container("web", "web", engine="containerd", namespace="default")
    builder.container("web", "web", engine="containerd", namespace="other")
    builder.container("c" * 64, "web")
    shown = columns(builder)
    assert shown["engine"] == ("containerd", "containerd", "docker")
    assert shown["namespace"] == ("default", "other", None)
    assert "store" not in shown


def test_stores_of_one_engine_are_told_apart_also_on_two_partitions(builder):
    first = builder.store
    builder.container("a" * 64, "web")
    builder.store = builder.insert(
        "store", key="docker:p2:/var/lib/docker", engine="docker", root="/var/lib/docker", partition=2, origin="allocated"
    )
    builder.container("b" * 64, "web")
    builder.store = first
    assert columns(builder)["store"] == ("/var/lib/docker (p1)", "/var/lib/docker (p2)")


def test_what_was_removed_is_never_said_to_run(builder):
    builder.container("a" * 64, "web", state="running")
    for number, state in enumerate(("running", "removing", "exited", None)):
        builder.container(f"{number}" * 64, "x", state=state, exit_code=3, origin="recovered", confidence="probable")
    states = columns(builder)["state"]
    assert sorted(states) == ["removed", "removed", "removed; last known exited (3)", "removed; last known running", "running"]


def test_a_pods_sandbox_is_told_as_one(builder):
    labels = json.dumps({"io.cri-containerd.kind": "sandbox"})
    builder.container("a" * 64, "shop", engine="containerd", state="running", pod="default/shop", labels=labels)
    builder.container("b" * 64, "web", engine="containerd", state="running", pod="default/shop")
    shown = columns(builder)
    assert shown["container"] == ("default/shop", "default/shop/web")
    assert shown["state"] == ("pod sandbox, running", "running")


def test_one_of_a_thing_is_no_plural(builder):
    layer = builder.layer("own", None, "container")
    builder.layer("gone", None, "orphan")
    builder.db.execute("UPDATE layer SET origin = 'recovered' WHERE kind = 'orphan'")
    builder.container("a" * 64, "web", layer, origin="recovered", confidence="certain")
    builder.insert(
        "network", store_id=builder.store, engine="docker", name="none", network_id="n", subnets="[]", endpoints="[]",
        origin="allocated",
    )  # fmt: skip
    facts = dict(summary(builder).facts)
    assert facts["layers"] == "2 (1 container, 1 removed and empty), 2 entries"
    assert (facts["also"], facts["recovered"]) == ("1 network", "1 container (1 certain)")
