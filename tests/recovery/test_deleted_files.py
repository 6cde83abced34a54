"""Deleted files in a case, from the samples: what their containers wrote is known from the scripts that they ran."""

import hashlib
import sqlite3

import pytest

from forensics.recovery.files import deleted
from forensics.recovery.files.deleted_file import DeletedFile
from support.cli import run_cli


def rows(case, sql):
    with sqlite3.connect(case) as db:
        return db.execute(sql).fetchall()


def sha256(text):
    return hashlib.sha256(text).hexdigest()


def test_the_files_of_removed_containers_come_back_in_their_layers(carved):
    case = carved("webshop")
    found = rows(case, "SELECT path, sha256, layer, confidence FROM deleted_files WHERE path LIKE '/root/scan-%' ORDER BY path")
    assert [(path, digest, sure) for path, digest, _, sure in found] == [
        (f"/root/scan-{n}.txt", sha256(b"result of scan-%d\n" % n), "certain") for n in (1, 2)
    ]
    for path, _, layer, _ in found:
        assert run_cli("cat", case, "--layer", layer, path).startswith(b"result of scan-")
        ((origin, kind),) = rows(case, f"SELECT origin, kind FROM layers WHERE layer = '{layer}'")
        assert (origin, kind in ("orphan", "container")) == ("recovered", True)


def test_a_file_that_a_living_container_deleted_is_its_own(carved):
    case = carved("webshop")
    ((container, digest, number),) = rows(
        case, "SELECT container, sha256, deleted_number FROM deleted_files WHERE path = '/tmp/stage2.sh'"
    )
    assert container is not None
    assert digest == sha256(b"#!/bin/sh\n")
    assert number


def test_extract_writes_a_deleted_file(carved, tmp_path):
    case = carved("webshop")
    ((number,),) = rows(case, "SELECT deleted_number FROM deleted_files WHERE path = '/tmp/stage2.sh'")
    run_cli("extract", case, "--deleted", number, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"#!/bin/sh\n"
    run_cli("extract", case, "--deleted", number, "-o", tmp_path / "out", expect=2)
    run_cli("extract", case, "--deleted", 10**9, "-o", tmp_path / "other", expect=2)


def test_extract_says_what_is_lost(carved, tmp_path):
    case = carved("snapshots")
    number, size = rows(
        case, "SELECT deleted_number, size FROM deleted_files WHERE type = 'f' AND recovered_bytes < size ORDER BY 1"
    )[0]
    run_cli("extract", case, "--deleted", number, "-o", tmp_path / "out", expect=3)
    assert (tmp_path / "out").read_bytes() == bytes(size)


def test_a_file_that_was_held_open_has_its_container_and_content(carved):
    case = carved("powercut")
    ((container, digest, confidence),) = rows(
        case, "SELECT container, sha256, confidence FROM deleted_files WHERE method = 'orphan'"
    )
    assert (container, digest) == ("sender", sha256(b"held open\n"))
    assert confidence == "probable"  # of its directory only the container's layer is known


def test_a_removed_container_of_a_data_root_that_was_moved(carved):
    case = carved("powercut")
    ((layer, digest),) = rows(case, "SELECT layer, sha256 FROM deleted_files WHERE path = '/root/key'")
    assert digest == sha256(b"private\n")
    ((mark,),) = rows(case, f"SELECT mark FROM layer_files WHERE layer = '{layer}' AND path = '/etc/motd'")
    assert mark == "whiteout"


@pytest.mark.parametrize("name", ["webshop", "powercut", "snapshots", "podhost", "torture"])
def test_nothing_that_is_lost_is_certain_or_has_a_hash(carved, name):
    case = carved(name)
    assert rows(case, "SELECT path FROM deleted_files WHERE recovered_bytes < size AND sha256 IS NOT NULL") == []
    assert rows(case, "SELECT path FROM deleted_files WHERE recovered_bytes < size AND confidence = 'certain'") == []
    assert rows(case, "SELECT path FROM deleted_files WHERE type = 'f' AND recovered_bytes = size AND sha256 IS NULL") == []
    assert rows(case, "SELECT path FROM deleted_files WHERE reused IN ('some', 'all') AND confidence = 'certain'") == []


def test_a_disk_that_is_read_as_it_lies_shows_nothing_of_the_log_that_was_not_replayed(carved):
    """What a transaction in the log makes anew is no deleted file on a disk without that transaction."""
    live = rows(carved("powercut"), "SELECT count(*) FROM deleted_files WHERE method = 'journal'")
    raw = rows(carved("powercut", "--no-journal"), "SELECT count(*) FROM deleted_files WHERE method = 'journal'")
    assert raw <= live


@pytest.mark.parametrize(
    ("kind", "size", "born", "written", "gone", "confidence"),
    [
        ("f", 0, 100, 100, 101, "probable"),
        ("f", 0, None, None, 101, "probable"),
        ("f", 0, 100, 100, None, "probable"),
        ("f", 0, 100, 190, 200, "probable"),
        ("f", 0, 100, 100, 200, "certain"),
        ("f", 1, 100, 100, 101, "certain"),
        ("d", 0, 100, 100, 101, "certain"),
    ],
)
def test_an_empty_file_that_did_not_last_may_have_had_a_content(monkeypatch, kind, size, born, written, gone, confidence):
    """With delayed allocation a file's size stands on the disk when its blocks do."""
    born, written, gone = (None if time is None else time * 10**9 for time in (born, written, gone))
    file = DeletedFile(b"/x", 5, kind, 0o644, 0, 0, size, "journal", "certain", crtime_ns=born, mtime_ns=written, deleted_ns=gone)
    monkeypatch.setattr(deleted, "find_deleted", lambda fs: [file])
    (found,) = deleted.find_all_deleted({1: None})
    assert (found.number, found.file.confidence) == (1, confidence)
