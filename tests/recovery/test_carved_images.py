"""Container images of which documents stand in unallocated space."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.recovery.carving.carved import carved_clues
from forensics.recovery.carving.carved_images import References
from forensics.recovery.carving.scan import scan_space
from support.free_space import BLOCK, blocks, space

DIFF = [f"sha256:{number:064x}" for number in (1, 2)]


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(filler=0):
    told = {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "rootfs": {"type": "layers", "diff_ids": DIFF},
        "config": {"Labels": {"x": "y" * filler}},
    }  # fmt: skip
    return json.dumps(told).encode()


def manifest(of=None, pretty=None, sizes=(100, 200)):
    of = config() if of is None else of
    layers = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(b"%d" % size), "size": size} for size in sizes
    ]
    told = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(of), "size": len(of)},
        "layers": layers,
    }  # fmt: skip
    return json.dumps(told, indent=pretty).encode()


def index(of, **annotations):
    each = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(of), "size": len(of)}
    return json.dumps({"schemaVersion": 2, "manifests": [each | {"annotations": annotations}]}).encode()


def images(data, *known, parts=()):
    """What is carved, where records have some (digest, engine, namespace, confidence)."""
    references = References(parts=set(parts))
    for each in known:
        references.add(*each)
    found = carved_clues([scan_space(space(data), lambda size: None)], references=references)
    assert found.containers == []
    return [(each.record, each.confidence) for each in found.images]


@pytest.mark.parametrize("pretty", [None, 1, 2, 3, 4])
def test_a_manifest_whose_digest_a_record_has_is_that_image_for_certain(pretty):
    own = manifest(pretty=pretty)
    ((image, confidence),) = images(blocks(own, config()), (digest(own), "containerd", "k8s.io", "certain"))
    assert (image.engine, image.namespace, image.image_id, confidence) == ("containerd", "k8s.io", digest(own), "certain")
    assert (image.layers, image.architecture, image.config) == (tuple(DIFF), "amd64", config().decode())
    assert image.size_bytes == len(own) + len(config()) + 300
    assert image.source.offset == 0


def test_one_that_ends_in_a_line_break_has_another_digest():
    own = manifest() + b"\n"
    ((image, confidence),) = images(blocks(own), (digest(own), "docker", None, "certain"))
    assert (image.engine, image.image_id, image.layers, image.size_bytes, confidence) == (
        "docker", digest(own), (), len(own) - 1 + len(config()) + 300, "certain",
    )  # fmt: skip


def test_a_manifest_that_nothing_names_is_possible_and_its_config_no_image_of_its_own():
    found = images(blocks(config(), manifest()))
    assert [(image.image_id, image.layers, sure) for image, sure in found] == [(digest(manifest()), tuple(DIFF), "possible")]


def test_an_index_gives_its_manifest_a_name_and_is_no_image():
    listing = index(manifest(), **{"io.containerd.image.name": "registry.test/shop:1", "org.opencontainers.image.ref.name": "1"})
    ((image, confidence),) = images(blocks(listing, manifest()))
    assert (image.image_id, image.refs, confidence) == (digest(manifest()), ("registry.test/shop:1",), "probable")
    assert images(blocks(listing)) == []


def test_an_index_that_a_record_has_is_the_image():
    listing = index(manifest())
    data = blocks(listing, manifest(), config())
    ((image, confidence),) = images(data, (digest(listing), "containerd", "default", "probable"))
    assert (image.image_id, image.layers, confidence) == (digest(listing), tuple(DIFF), "probable")


def test_what_the_content_store_has_is_no_removed_image():
    assert images(blocks(manifest(), config()), parts=[digest(manifest())]) == []


def test_a_config_that_a_record_of_docker_has_is_certain():
    ((image, confidence),) = images(blocks(config()), (digest(config()), "docker", None, "certain"))
    assert (image.engine, image.image_id, confidence) == ("docker", digest(config()), "certain")
    ((image, confidence),) = images(blocks(config()))
    assert (image.engine, confidence) == ("docker", "possible")


def test_documents_over_blocks_are_followed_by_their_content():
    long = config(filler=3 * BLOCK)
    own = manifest(of=long, sizes=range(100, 130))
    assert len(own) > 2 * BLOCK
    ((image, confidence),) = images(blocks(own, b"noise", long), (digest(own), "containerd", "x", "certain"))
    assert (image.labels["x"], confidence) == ("y" * 3 * BLOCK, "certain")


def test_of_two_that_are_mixed_the_digest_tells_which_blocks_are_its_own():
    first, second = manifest(sizes=range(100, 108)), manifest(sizes=range(200, 208))
    assert BLOCK < len(first) == len(second) <= 2 * BLOCK
    one, other = blocks(first), blocks(second)
    found = images(one[:BLOCK] + other + one[BLOCK:], (digest(first), "containerd", "x", "certain"))
    assert {image.image_id: sure for image, sure in found} == {digest(first): "certain", digest(second): "possible"}


def test_a_wrong_byte_makes_another_document():
    own = bytearray(manifest())
    own[own.index(b"sha256:") + 9] ^= 1
    found = images(blocks(bytes(own)), (digest(manifest()), "containerd", "k8s.io", "certain"))
    assert [sure for _, sure in found] == ["possible"]


NONE = [
    b'{"schemaVersion":2,"manifests":[]}',
    b'{"schemaVersion":2,"config":{"digest":"sha256:../../x"},"layers":[]}',
    b'{"schemaVersion":2,"config":5,"layers":[{"digest":"sha256:zz"}]}',
    b'{"layers":["a"],"config":"x"}',
    b'{\n "manifests":' + b"[" * 5000,
    b'{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":["x"]}}',
]


@pytest.mark.parametrize("content", NONE, ids=range(len(NONE)))
def test_what_only_begins_alike_is_none(content):
    assert images(blocks(content)) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_survived_and_never_certain(data):
    own = manifest()
    disk = bytearray(blocks(own, config()))
    at = data.draw(st.integers(0, len(own) - 1))
    disk[at] ^= data.draw(st.integers(1, 255))
    for image, confidence in images(bytes(disk), (digest(own), "containerd", "k8s.io", "certain")):
        assert confidence != "certain"
        assert image.image_id != digest(own)
