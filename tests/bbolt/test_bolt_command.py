"""bolt on the command line: what bbolt lists, from a file or from inside a disk image, and what is gone."""

import base64
import json
import subprocess
import sys

import pytest

from support.bolt_files import ENGINES, bolt_bytes, listing, opened, triples
from support.cli import run_cli

LOCAL_KV = "/var/lib/docker/network/files/local-kv.db"


@pytest.fixture
def database(tmp_path):
    def write(name, data=None):
        path = tmp_path / f"{name}.db"
        path.write_bytes(bolt_bytes(name) if data is None else data)
        return path

    return write


def rows(*words, expect=0):
    return [json.loads(line) for line in run_cli("bolt", *words, "--format", "jsonl", expect=expect).splitlines()]


def raw(row):
    """A row's bucket, key and value as bytes; no bucket where its beginning is not known."""
    if row["bucket"][:1] == [None]:
        return None
    names = json.loads(row["bucket_raw"]) if row["bucket_raw"] else [name.encode().hex() for name in row["bucket"]]
    key = base64.b64decode(row["key_raw"]["encoded"]) if row["key_raw"] else row["key"].encode()
    value = base64.b64decode(row["value"]["encoded"]) if row["value"] else None
    return tuple(map(bytes.fromhex, names)), key, value


@pytest.mark.parametrize("name", [*ENGINES, "binary", "overflow", "many"])
def test_the_listing_is_bbolts(name, database):
    assert [raw(row) for row in rows(database(name))] == [row[:3] for row in listing(name, "live")]


@pytest.mark.parametrize("name", [*ENGINES, "removed-one", "many"])
def test_deleted_adds_what_is_not_live(name, database):
    data = bolt_bytes(name)
    found = rows(database(name), "--deleted")
    live = [raw(row) for row in found if row["state"] == "live"]
    assert live == [row[:3] for row in listing(name, "live")]
    gone = [row for row in found if row["state"] != "live"]
    assert len(gone) == len(list(opened(data).deleted()))
    for row in gone:
        assert raw(row) not in triples(listing(name, "live"))
        assert row["page"] >= 2
        assert data[row["offset"] :].startswith(row["key"].encode() if not row["key_raw"] else b"")


def test_a_table_is_the_tree_for_people(database):
    lines = run_cli("bolt", database("containerd-2.1-meta"), "--deleted").decode().splitlines()
    assert lines[0].split() == ["state", "page", "offset", "key"]
    assert any(line.startswith("live") and line.endswith("    default  bucket: page 10") for line in lines)
    assert any(
        line.startswith("stale") and "v1/default/containers/spare4/image  text: registry.test/tiny:1" in line for line in lines
    )


def test_one_bucket_and_one_value(database):
    path = database("containerd-2.1-meta")
    found = rows(path, "-b", "v1", "-b", "default", "-b", "containers")
    assert {tuple(row["bucket"][:3]) for row in found} == {("v1", "default", "containers")}
    assert run_cli("bolt", path, "-b", "v1", "-k", "version") == b"\x08"
    spec = run_cli("bolt", path, "-b", "v1", "-b", "default", "-b", "containers", "-b", "redis", "-k", "spec")
    assert b"ociVersion" in spec


def test_names_that_cannot_be_typed_are_typed_as_they_are_shown(database):
    path = database("binary")
    assert run_cli("bolt", path, "-b", "\\x00\\xff", "-k", "\\x07") == bytes([248, 0, 7])


def test_pages_and_faults(database):
    path = database("removed-one")
    pages = rows(path, "--pages")
    assert [page["page"] for page in pages] == list(range(len(pages)))
    assert {page["state"] for page in pages} == {"live", "free", "unused"}
    assert len(run_cli("bolt", path, "--pages").splitlines()) == len(pages) + 1
    assert rows(path, "--check") == []


def test_what_is_broken_is_told_and_the_exit_code_says_so(database):
    data = bytearray(bolt_bytes("nested"))
    broken = next(page for page in opened(data).pages() if page.state == "live" and page.kind == "leaf" and page.count > 3)
    data[broken.id * 4096 : broken.id * 4096 + 16] = b"\xff" * 16
    path = database("nested", data)
    left = [raw(row) for row in rows(path, expect=3)]
    assert 0 < len(left) < len(listing("nested", "live"))
    faults = rows(path, "--check", expect=3)
    assert (broken.id, broken.id * 4096) in {(fault["page"], fault["offset"]) for fault in faults}


def test_a_file_inside_a_disk_image_is_read_in_place(sample, tmp_path):
    image = sample("webshop")
    found = rows(LOCAL_KV, "--image", image)
    assert {row["bucket"][0] for row in found if row["bucket"]} == {"libnetwork"}
    with image.open("rb") as disk:
        for row in found:
            disk.seek(row["disk_offset"])
            assert disk.read(len(row["key"].encode())) == row["key"].encode()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.db"], "no such file"),
        ([__file__], "is it a bbolt file"),
        ([__file__, "--pages", "--check"], "exclude each other"),
        ([__file__, "--partition", "1"], "--partition needs --image"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(words, message):
    command = [sys.executable, "-c", "from forensics.cli import main; main()", "bolt", *words]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_name_that_is_not_there_tells_which_are(database):
    path = database("containerd-2.1-meta")
    command = [sys.executable, "-c", "from forensics.cli import main; main()", "bolt", str(path), "-b", "v1", "-k", "x"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (2, "ctrforensics: there is no key x here, but version\n")


def test_the_database_is_not_written_over(database):
    path = database("fresh")
    run_cli("bolt", path, "-o", path, "--force", expect=2)
    assert path.read_bytes() == bolt_bytes("fresh")
