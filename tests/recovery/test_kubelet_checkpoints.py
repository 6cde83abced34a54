"""Checkpoints that a kubelet made: archives as Python's tarfile and GNU's headers have them."""

import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.recovery.containers.kubelet_checkpoints import checkpoint_clues
from forensics.stores.host_tree import host_trees
from support.surveys import survey_of

ID = "a1" * 32
UID = "11111111-aaaa-bbbb-cccc-000000000001"
CONFIG = {"id": ID, "name": f"web_shop_default_{UID}_0", "rootfsImageName": "shop:1", "createdTime": "2026-01-01T00:00:01Z"}
SPEC = {"process": {"args": ["sh"], "env": ["A=1"]}, "hostname": "shop"}


def archive(members, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def clues(data, *engines):
    name = "checkpoint-shop_default-web-2026-01-01T00:00:00Z.tar"
    found, _ = survey_of({"var": {"lib": {"kubelet": {"checkpoints": {name: data}}}}, "etc": {"hostname": b"h\n"}})
    return list(checkpoint_clues(host_trees(found), engines or ("containerd",)))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("before", ["", "./"])
def test_a_checkpoint_tells_of_its_container(form, before):
    members = [("checkpoint/pages-1.img", b"x" * 5000), (f"{before}config.dump", json.dumps(CONFIG).encode()),
               (f"{before}spec.dump", json.dumps(SPEC).encode())]  # fmt: skip
    (clue,) = clues(archive(members, form))
    record = clue.record
    assert (record.container_id, record.name, record.pod, record.image) == (ID, "web", "default/shop", "shop:1")
    assert (record.command, record.env, record.hostname, clue.confidence) == (("sh",), ("A=1",), "shop", "certain")
    assert (record.engine, record.namespace, record.created_ns) == ("containerd", "k8s.io", 1767225601000000000)


def test_without_a_spec_the_rest_is_told():
    (clue,) = clues(archive([("config.dump", json.dumps(CONFIG).encode()), ("spec.dump", b"{")]), "crio")
    assert (clue.record.engine, clue.record.namespace, clue.record.command) == ("crio", None, None)


@pytest.mark.parametrize("config", [{"id": ID[:12]}, {"id": 5}, {}, []])
def test_a_short_id_makes_no_container(config):
    assert clues(archive([("config.dump", json.dumps(config).encode())])) == []


@given(st.binary(max_size=2000), st.integers(0, 1500))
def test_any_bytes_end(noise, at):
    whole = archive([("config.dump", json.dumps(CONFIG).encode())])
    for data in (noise, whole[:at] + noise + whole[at:], whole[:at]):
        for clue in clues(data):
            assert clue.record.container_id == ID


def test_a_header_that_lies_about_a_size_ends():
    info = tarfile.TarInfo("pages")
    info.size = 1 << 60
    assert clues(info.tobuf(tarfile.GNU_FORMAT) + archive([("config.dump", json.dumps(CONFIG).encode())])) == []
    info.size = 0
    assert clues(info.tobuf() * 6000) == []
