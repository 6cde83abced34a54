"""Names in directories' slack: e2fsprogs removed what they named, and leaves the entry as it was, as Linux before 5.13 does."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.evidence import open_disk_image
from forensics.filesystem import lookup
from forensics.filesystems.ext4.slack import directory_slack
from forensics.survey import survey
from parsers.ext4_slack import slack_names
from support.cli import ask, run_cli
from support.ext4_images import debugfs, make

IDS = [f"{number:02x}" * 32 for number in (0xA1, 0xB2, 0xC3, 0xD4)]
ANY = re.compile(rb"[0-9a-f]{64}")
LINK = f"shop_default_web-{'e5' * 32}.log"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A host of which two of four containers, and a link of the kubelet, were removed."""
    path = make(tmp_path_factory.mktemp("slack") / "disk.img")
    tree = ["/etc", "/var", "/var/lib", "/var/lib/docker", "/var/lib/docker/containers", "/var/lib/docker/image", "/var/log",
            "/var/lib/docker/image/overlay2", "/var/lib/docker/image/overlay2/layerdb", "/var/log/containers",
            "/var/lib/docker/image/overlay2/layerdb/mounts", "/var/lib/docker/image/overlay2/layerdb/sha256",
            "/var/lib/docker/overlay2", "/var/lib/docker/overlay2/l", "/var/lib/docker/volumes"]  # fmt: skip
    lines = [f"mkdir {each}" for each in tree]
    for own in IDS:
        lines.append(f"mkdir /var/lib/docker/containers/{own}")
    lines.append(f"symlink /var/log/containers/{LINK} ../pods/x")
    lines += [f"rmdir /var/lib/docker/containers/{own}" for own in (IDS[1], IDS[2])]
    lines.append(f"rm /var/log/containers/{LINK}")
    (path.parent / "hostname").write_text("h\n")
    lines += [f"write {path.parent / 'hostname'} /etc/hostname", f"write {path.parent / 'hostname'} /etc/os-release"]
    debugfs(path, *lines)
    return path


def test_deleted_entries_are_found_and_live_ones_are_not(disk):
    with open_disk_image(disk) as opened:
        (partition,) = survey(opened).partitions
        fs = partition.filesystem
        found = list(directory_slack(fs, lookup(fs, b"/var/lib/docker/containers"), ANY))
    assert {each.name.name.decode() for each in found} == {IDS[1], IDS[2]}
    raw = disk.read_bytes()
    for each in found:
        assert raw[each.offset + 8 : each.offset + 72] == each.name.name
        assert each.name.type == "d"


def test_they_are_probable_containers(disk, tmp_path):
    run_cli("carve", disk, "-o", tmp_path / "case.db", expect=3)  # the live ones have no configuration: gaps
    rows = {row["container_id"]: row for row in ask(tmp_path / "case.db", "SELECT * FROM containers")}
    assert rows.keys() == {*IDS, "e5" * 32}
    for own in IDS[1:3]:
        assert (rows[own]["origin"], rows[own]["confidence"], rows[own]["engine"]) == ("recovered", "probable", "docker")
        assert "slack of the directory" in {each["how"] for each in json.loads(rows[own]["sources"])}
    assert [rows[own]["origin"] for own in (IDS[0], IDS[3])] == ["allocated", "allocated"]
    link = rows["e5" * 32]
    assert (link["name"], link["pod"], link["confidence"]) == ("web", "default/shop", "probable")


def entry(inode, name, kind=2, length=None):
    """An entry without what may follow it up to its rec_len."""
    natural = 8 + len(name) + 3 & ~3
    head = inode.to_bytes(4, "little") + (length or natural).to_bytes(2, "little") + bytes([len(name), kind])
    return (head + name).ljust(natural, b"\0")


def test_what_is_no_entry_is_left_out():
    own, wanted = IDS[0].encode(), ANY
    dead = entry(12, own)
    assert [each.name for each in slack_names(entry(11, b"live", length=12 + len(dead)) + dead, wanted)] == [own]
    assert list(slack_names(entry(11, own, length=1024).ljust(1024, b"\0"), wanted)) == []  # it is there
    for broken in (entry(12, own, kind=9), entry(12, own)[:-4], entry(12, own, length=70), entry(12, own[:63] + b"/")):
        block = (entry(11, b"live", length=12 + len(broken)) + broken)[: 12 + len(broken)]
        assert list(slack_names(block, wanted)) == []
    assert [each.offset for each in slack_names(entry(0, own), wanted)] == [0]  # the first of a block has no one before it


@given(st.binary(max_size=400), st.integers(0, 100))
def test_any_bytes_end(data, at):
    for name in slack_names(data[:at] + entry(5, IDS[0].encode()) + data[at:], ANY):
        assert len(name.name) == 64
