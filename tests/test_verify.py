"""verify: a case file and its evidence agree, and whatever is changed in either of them is told."""

import csv
import io
import shutil
import sqlite3
from contextlib import closing

import pytest

from support.cli import ask, run_cli

CHECKS = (
    "case file", "disk image", "volumes", "records", "bolt keys", "log files", "entries", "contents", "deleted files",
    "layer integrity",
)  # fmt: skip


def verified(case, *options, expect=0):
    """The checks by name, and what differs."""
    out = run_cli("verify", case, *options, "--format", "csv", expect=expect).decode()
    rows = list(csv.DictReader(io.StringIO(out)))
    checks = {row["check"]: row for row in rows if row["facts"]}
    return checks, [row for row in rows if not row["facts"]]


@pytest.fixture(scope="module")
def original(sample, carved):
    return sample("webshop"), carved("webshop", "--hash-image")


@pytest.fixture
def mine(original, tmp_path):
    """A disk image and a case file that may be changed."""
    disk, case = (tmp_path / path.name for path in original)
    for source, copy in zip(original, (disk, case), strict=True):
        shutil.copyfile(source, copy)
    return disk, case


def change(disk, offset, byte=None):
    with disk.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 0x01]) if byte is None else byte)


@pytest.mark.parametrize("name", ["webshop", "snapshots", "podhost", "powercut", "torture"])
def test_what_was_carved_agrees(carved, name):
    checks, differences = verified(carved(name))
    assert tuple(checks) == CHECKS
    assert differences == []
    assert {row["state"] for row in checks.values()} <= {"agrees", "not checked"}
    assert (
        int(checks["entries"]["facts"])
        == ask(carved(name), "SELECT sum(entries) AS n FROM layer WHERE first_entry IS NOT NULL AND directory >= 0")[0]["n"]
    )
    assert int(checks["contents"]["facts"]) == ask(carved(name), "SELECT count(*) AS n FROM content")[0]["n"]


def test_a_second_carve_gives_the_same_rows(original):
    checks, differences = verified(original[1], "--again")
    assert differences == []
    assert checks["carved again"]["state"] == checks["disk image"]["state"] == "agrees"
    assert int(checks["carved again"]["facts"]) > 1000


def test_without_a_hash_it_says_how_to_get_one(carved):
    assert "--hash-image" in verified(carved("torture"))[0]["disk image"]["detail"]


def test_a_changed_content_is_named(mine):
    disk, case = mine
    (file,) = ask(
        case, "SELECT container, path, content_offset, offset FROM files WHERE type = 'f' AND layer_kind = 'container'"
        " AND content_offset IS NOT NULL AND size > 0 ORDER BY path LIMIT 1"
    )  # fmt: skip
    change(disk, file["content_offset"])
    checks, differences = verified(case, "--image", disk, expect=1)
    assert {name for name, row in checks.items() if row["state"] == "differs"} == {"disk image", "contents"}
    assert [row["path"].endswith(file["path"]) for row in differences if row["check"] == "contents"] == [True]
    assert str(file["content_offset"]) in [row["offset"] for row in differences]


def test_a_changed_inode_is_named(mine):
    disk, case = mine
    (file,) = ask(case, "SELECT path, offset FROM files WHERE type = 'f' AND layer_kind = 'container' ORDER BY path LIMIT 1")
    change(disk, file["offset"] + 0x10)  # i_mtime, Linux fs/ext4/ext4.h
    _checks, differences = verified(case, "--image", disk, expect=1)
    told = [row for row in differences if row["check"] == "entries"]
    assert [row["path"].endswith(file["path"]) for row in told] == [True]
    assert told[0]["detail"].startswith("mtime_ns is ")
    assert told[0]["offset"] == str(file["offset"])


def test_a_changed_key_of_a_bbolt_file_is_named(mine):
    disk, case = mine
    (key,) = ask(case, "SELECT key, offset FROM bolt_key WHERE state = 'live' ORDER BY id LIMIT 1")
    change(disk, key["offset"])
    _checks, differences = verified(case, "--image", disk, expect=1)
    assert [row["offset"] for row in differences if row["check"] == "bolt keys"] == [str(key["offset"])]


def test_a_container_whose_id_is_elsewhere_is_named(mine):
    disk, case = mine
    (container,) = ask(case, "SELECT name, source_offset AS at, container_id FROM container WHERE origin = 'allocated' LIMIT 1")
    with closing(sqlite3.connect(case)) as db, db:
        db.execute("UPDATE container SET source_offset = 4096 WHERE container_id = ?", (container["container_id"],))
    _checks, differences = verified(case, "--image", disk, expect=1)
    assert {row["check"] for row in differences} == {"records"}
    assert all(row["path"] == f"container {container['name']}" for row in differences)


@pytest.mark.parametrize(
    ("change_of_it", "check"),
    [
        ("UPDATE entry SET mode = mode | 4095 WHERE id = 5", "entries"),
        ("UPDATE entry SET path = path || 'x' WHERE id = 5", "entries"),
        ("DELETE FROM entry WHERE id = (SELECT max(e.id) FROM entry e JOIN layer l ON l.id = e.layer_id WHERE l.directory > 0)",
         "entries"),
        ("UPDATE content SET sha256 = printf('%064d', 0) WHERE inode = (SELECT min(inode) FROM content WHERE inode > 0)",
         "contents"),
        ("UPDATE deleted_file SET sha256 = printf('%064d', 0) WHERE id = (SELECT id FROM deleted_file WHERE sha256 IS NOT NULL)",
         "deleted files"),
        ("UPDATE layer SET integrity = 'altered' WHERE integrity = 'verified'", "layer integrity"),
        ("UPDATE partition SET uuid = 'other' WHERE uuid IS NOT NULL", "volumes"),
        ("UPDATE disk_image SET sha256 = printf('%064d', 0)", "disk image"),
        ("UPDATE container SET command = '[\"other\"]'", "carved again"),
        ("DELETE FROM log_line WHERE id = 1", "carved again"),
        ("UPDATE container SET layer_id = 999999", "case file"),
    ],
)  # fmt: skip
def test_a_changed_case_is_told(mine, change_of_it, check):
    disk, case = mine
    with closing(sqlite3.connect(case)) as db, db:
        assert db.execute(change_of_it).rowcount > 0
    again = ("--again",) if check == "carved again" else ()
    checks, differences = verified(case, "--image", disk, *again, expect=1)
    assert {name for name, row in checks.items() if row["state"] == "differs"} == {check}
    assert {row["check"] for row in differences} == {check}


def test_the_table_is_short_and_says_where_the_rest_is(mine):
    disk, case = mine
    with closing(sqlite3.connect(case)) as db, db:
        db.execute("UPDATE entry SET uid = 4711")
    shown = run_cli("verify", case, "--image", disk, expect=1).decode()
    assert "more; --format csv lists them all" in shown
    assert len(shown.splitlines()) < 60


def test_another_disk_image_is_no_evidence_of_this_case(original, sample):
    run_cli("verify", original[1], "--image", sample("torture"), expect=2)
