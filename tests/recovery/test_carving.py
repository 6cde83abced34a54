"""Carving: what is found in unallocated space, and what is not believed."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.recovery.carving.carved import carved_clues
from forensics.recovery.carving.scan import OBJECT, SPEC, Scanner, scan_space
from forensics.recovery.carving.space import FREE, JOURNAL
from samples.unpack import SAMPLES
from support.cli import ask, run_cli
from support.ext4_images import make
from support.free_space import BLOCK, blocks, space

ID, OTHER = "a1" * 32, "b2" * 32


def config(cid=ID, name="web", filler=0, **more):
    """config.v2.json as Docker 26 writes it, as far as it is read."""
    root = f"/var/lib/docker/containers/{cid}"
    document = {
        "StreamConfig": {},
        "State": {"Running": False, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "2026-01-01T00:00:02Z"},
        "ID": cid,
        "Created": "2026-01-01T00:00:00Z",
        "Path": "sh",
        "Args": ["-c", "x" * filler],
        "Config": {"Hostname": cid[:12], "Env": [f"NAME={name}"], "Image": "shop:1"},
        "Image": f"sha256:{OTHER}",
        "LogPath": f"{root}/{cid}-json.log",
        "Name": f"/{name}",
        "HostsPath": f"{root}/hosts",
    }
    return json.dumps(document | more, separators=(",", ":")).encode() + b"\n"


def carve(data, **where):
    where = space(data, **where)
    return carved_clues([scan_space(where, lambda size: None)])


def test_a_whole_config_is_a_container():
    (clue,) = carve(blocks(b"\0", config(), b"noise")).containers
    record = clue.record
    assert (record.container_id, record.name, record.image, record.command) == (ID, "web", "shop:1", ("sh", "-c", ""))
    assert (record.env, record.state, clue.confidence) == (("NAME=web",), "exited", "probable")
    assert (record.source.offset, record.source.how) == (BLOCK, FREE)


def test_the_journal_is_told_apart():
    (clue,) = carve(blocks(config()), journal=True).containers
    assert clue.record.source.how == JOURNAL


def test_one_that_goes_on_in_the_next_blocks_is_read_to_its_end():
    (clue,) = carve(blocks(config(filler=5000))).containers
    assert (len(clue.record.command[2]), clue.record.name, clue.confidence) == (5000, "web", "probable")


def test_two_whose_blocks_are_mixed_are_told_apart_by_what_they_say():
    """The second block of each is where the other's would be; both continue either as JSON."""
    first, second = blocks(config(filler=500)), blocks(config(OTHER, "db", filler=500))
    assert len(first) == len(second) == 2 * BLOCK
    mixed = first[:BLOCK] + second[BLOCK:] + second[:BLOCK] + first[BLOCK:]
    found = {clue.record.container_id: clue for clue in carve(mixed).containers}
    assert {key: clue.record.name for key, clue in found.items()} == {ID: "web", OTHER: "db"}
    assert {clue.confidence for clue in found.values()} == {"possible"}
    assert all("not neighbours" in clue.record.source.how for clue in found.values())


def spec(cid, filler):
    """What Docker has containerd run, as far as it is read."""
    document = {
        "ociVersion": "1.2.0",
        "process": {"args": ["sh"], "env": [f"HOSTNAME={cid[:12]}", "FILLER=" + "x" * filler]},
        "mounts": [{"destination": "/etc/hosts", "type": "bind", "source": f"/var/lib/docker/containers/{cid}/hosts"}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def test_two_specs_whose_blocks_are_mixed_are_told_apart_by_the_host_name():
    first, second = blocks(spec(ID, 900)), blocks(spec(OTHER, 900))
    assert len(first) == len(second) == 2 * BLOCK
    found = {clue.record.container_id: clue for clue in carve(first[:BLOCK] + second + first[BLOCK:]).containers}
    assert {key: clue.record.env[0] for key, clue in found.items()} == {
        ID: f"HOSTNAME={ID[:12]}", OTHER: f"HOSTNAME={OTHER[:12]}",
    }  # fmt: skip
    assert (found[ID].confidence, found[OTHER].confidence) == ("possible", "probable")


def test_a_spec_with_line_breaks_is_found_at_the_beginning_of_a_block():
    (clue,) = carve(blocks(json.dumps(json.loads(spec(ID, 10)), indent="\t").encode())).containers
    assert (clue.record.container_id, clue.confidence) == (ID, "probable")


def test_where_two_blocks_would_complete_it_neither_is_taken():
    whole = blocks(config(filler=500))
    other = blocks(config(name="wrb", filler=500))
    data = whole[:BLOCK] + blocks(b"noise") + other[BLOCK:] + blocks(b"noise") + whole[BLOCK:]
    found = [clue for clue in carve(data).containers if "first block" in clue.record.source.how]
    assert [(clue.record.name, clue.record.container_id, clue.confidence) for clue in found] == [(None, ID, "possible")]


def test_of_one_that_is_cut_off_the_beginning_is_kept():
    (clue,) = carve(blocks(config(filler=5000))[:BLOCK] + blocks(b"other text")).containers
    assert (clue.record.container_id, clue.record.created_ns, clue.record.name) == (ID, 1767225600 * 10**9, None)
    assert clue.confidence == "possible"


def test_of_one_whose_beginning_is_gone_the_name_is_kept():
    document = config(filler=500)
    at = document.index(b'"HostsPath"')
    tail = b'"HostnamePath":"/h",' + b'"HostsPath":"/var/lib/docker/containers/%s/hosts","LogPath":"","Name":"/web"' % ID.encode()
    assert at > 0
    (clue,) = carve(blocks(b'end of a text",' + tail + b',"Driver":"overlay2"}')).containers
    assert (clue.record.container_id, clue.record.name, clue.confidence) == (ID, "web", "possible")


def test_a_config_of_which_the_paths_are_anothers_is_not_believed_whole():
    document = config(filler=2000, LogPath=f"/var/lib/docker/containers/{OTHER}/x-json.log")
    (clue,) = carve(blocks(document)).containers
    assert clue.confidence == "possible"


def test_a_list_of_layers_is_no_container_that_was_lost():
    layers = json.dumps([{"id": ID, "created": "2026-01-01T00:00:00Z", "diff-digest": f"sha256:{OTHER}"}], separators=(",", ":"))
    assert carve(blocks(layers.encode())).tried == {}
    images = json.dumps([{"id": ID, "names": ["shop:1"], "layer": OTHER}], separators=(",", ":"))
    assert carve(blocks(images.encode())).tried == {"containers/storage JSON": 1}


def test_only_free_blocks_are_looked_at():
    data = blocks(config(), config(OTHER, "db"))
    assert [clue.record.name for clue in carve(data, runs=[(0, 1)]).containers] == ["web"]
    assert carve(data, runs=[]).containers == []


def test_an_image_config_is_an_image_and_no_container():
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["A=1"]},
        "created": "2026-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{ID}"]},
    }
    found = carve(blocks(json.dumps(document).encode()))
    assert found.containers == []
    (image,) = found.images
    assert (image.record.layers, image.confidence) == ((f"sha256:{ID}",), "possible")


HOSTILE = [
    b'{"StreamConfig":' + b"[" * 100_000,
    b'{"StreamConfig":{},"ID":"' + b"a" * 3_000_000,
    b'{"ID":"../../etc/passwd","Path":"x","State":{}}',
    b'{"ID":"' + ID.upper().encode() + b'","Path":"x"}',
    b'{"StreamConfig":{},"ID":' + b"9" * 5000 + b"}",
    b'{"Repositories":{"x":{"y":"sha256:../../"}}}',
    b'[{"id":"' + ID.encode() + b'","layer":5,"metadata":"{"}]',
    b'{"ociVersion":"1.0","linux":{"cgroupsPath":"/default/../../x"}}',
    b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(">5I", 0xFFFFFFFF, 1, 1, 512, 65535),
    b"[{" * 4000,
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_content_makes_no_container(content):
    assert carve(blocks(content, content)).containers == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_survived(data):
    disk = bytearray(blocks(config(filler=1500), b'{"spec":{"ociVersion":"1.0"', config(OTHER, "db")))
    for _ in range(data.draw(st.integers(1, 8))):
        disk[data.draw(st.integers(0, len(disk) - 1))] = data.draw(st.integers(0, 255))
    for clue in carve(disk).containers:
        assert clue.confidence in ("probable", "possible")


def test_what_is_known_to_be_zeros_is_not_read():
    data = blocks(config(), bytes(64 * BLOCK), b"text of a log", bytes(9 * BLOCK), config(OTHER, "db"), bytes(30 * BLOCK))
    known, heard = [], []

    def data_from(position):
        found = next((at for at in range(position, len(data)) if data[at]), len(data)) // BLOCK * BLOCK
        known.append(found > position)
        return max(found, position)

    whole = scan_space(space(data), lambda size: None)
    short = scan_space(space(data, [(0, 10), (10, len(data) // BLOCK - 10)]), heard.append, data_from)
    assert any(known)
    assert sum(heard) == len(data)
    assert short.found == whole.found
    assert short.texts.tolist() == whole.texts.tolist()


def test_what_lies_across_two_pieces_is_found():
    data = blocks(b"\0" * 5000 + b'{"ociVersion":"1.2.0","linux":{"cgroupsPath":"/default/job"}}', config())
    whole = scan_space(space(data), lambda size: None)
    for step in (700, 1024, 5001, 5003):
        scanner = Scanner(space(data))
        for at in range(0, len(data), step):
            scanner.look_within(at, data[at : at + step])
        assert (scanner.hits().of(OBJECT), scanner.hits().of(SPEC)) == (whole.of(OBJECT), whole.of(SPEC))
    assert len(whole.of(SPEC)) == 1


@pytest.mark.parametrize(("name", "expected"), [("webshop", {"scan-1", "scan-2"}), ("powercut", {"lost"})])
def test_every_removed_container_of_a_sample_comes_back(name, expected, carved):
    """As `docker inspect` had it before it was removed. (`moved` was removed too late: that is not on the disk.)"""
    rows = {row["container_id"]: row for row in ask(carved(name), "SELECT * FROM containers WHERE origin = 'recovered'")}
    told = {each["Id"]: each for each in json.loads((SAMPLES / name / "truth/removed.json").read_text())}
    found = {key: rows[key] for key in told if key in rows}
    assert {row["name"] for row in found.values()} == expected
    for key, row in found.items():
        container = told[key]
        assert row["name"] == container["Name"].lstrip("/")
        assert (row["image"], row["image_id"]) == (container["Config"]["Image"], container["Image"])
        assert json.loads(row["command"]) == [container["Path"], *container["Args"]]
        assert json.loads(row["env"]) == (container["Config"]["Env"] or [])
        assert row["confidence"] in ("certain", "probable")
    for key in rows.keys() - told.keys():  # the steps of `docker build` and `docker commit` were containers, too
        assert json.loads(rows[key]["command"] or "[]")[:2] in (["/bin/sh", "-c"], ["sh", "-c"], [])


def test_carving_can_be_left_out(sample, tmp_path):
    case = tmp_path / "case.db"
    run_cli("carve", sample("podhost"), "-o", case, "--carve", "none", "--hash", "none")
    rows = ask(case, "SELECT sources FROM containers WHERE origin = 'recovered'")
    assert not any("carved" in source["how"] for row in rows for source in json.loads(row["sources"]))


def test_a_pass_that_hashes_finds_the_same(sample, carved, tmp_path):
    case = tmp_path / "case.db"
    run_cli("carve", sample("webshop"), "-o", case, "--hash-image")
    everything = "SELECT container_id, name, confidence, sources FROM containers WHERE origin = 'recovered'"
    assert ask(case, everything) == ask(carved("webshop"), everything)


def test_what_stands_in_a_file_is_no_evidence_of_a_container(tmp_path):
    """A container may hold files that look like the host's; they are its own."""
    tree = tmp_path / "tree/var/lib/docker/overlay2" / ID / "diff/srv"
    tree.mkdir(parents=True)
    (tree / "config.v2.json").write_bytes(config())
    (tree / "data").write_bytes(blocks(config(OTHER, "db")))
    image = tmp_path / "disk.img"
    make(image, "-d", tmp_path / "tree", "-b", "1024")
    case = tmp_path / "case.db"
    for which in ("unallocated", "all"):
        run_cli("carve", image, "-o", case, "--force", "--carve", which, expect=3)  # the layer has no metadata
        assert ask(case, "SELECT name FROM containers") == []


def test_a_document_at_the_end_of_a_disk_that_is_cut_off_ends():
    data = blocks(config(filler=5000))[: 2 * BLOCK + 10]
    (clue,) = carve(data, runs=[(0, 40)]).containers
    assert (clue.record.container_id, clue.confidence) == (ID, "possible")
