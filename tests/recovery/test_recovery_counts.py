"""What was tried and is not recoverable: counted, in the case file and in the summary."""

import json
import sqlite3
from contextlib import closing

import pytest

from forensics.case.schema import VIEWS
from reports.summary import summarise
from support.casebuilder import CaseBuilder
from support.cli import ask

COLUMNS = ("what", "kind", "seen", "whole", "partial", "lost")


@pytest.fixture
def builder(tmp_path):
    made = CaseBuilder(tmp_path / "case.db")
    made.db.executescript(VIEWS)
    return made


def deleted(builder, size, recovered, method="journal", **more):
    builder.insert(
        "deleted_file", partition=1, type="f", method=method, confidence="probable", size=size, recovered_bytes=recovered, **more
    )


def counted(builder):
    with closing(builder.db):
        return [tuple(row) for row in builder.db.execute(f"SELECT {', '.join(COLUMNS)} FROM recovery")]


def test_deleted_files_and_why_their_content_is_lost(builder):
    deleted(builder, 10, 10, extents="[]", reused="none")
    deleted(builder, 10, 4, extents="[]", reused="some", lost="[[4, 6]]")
    deleted(builder, 10, 0, extents="[]", reused="all", lost="[[0, 10]]")
    deleted(builder, 10, 0, extents="[[0, 4096, 10]]", reused="none")
    deleted(builder, None, None, "dtime")
    deleted(builder, 10, 0, extents="[]", reused="none", lost="[[0, 10]]")
    deleted(builder, 0, 0)  # has no content to lose
    deleted(builder, 9, 9, "blocks")
    builder.insert("deleted_file", partition=1, type="d", method="journal", confidence="certain")
    assert counted(builder) == [
        ("contents without a name", "blocks", 1, 1, 0, 0),
        ("deleted files", "dtime", 1, 0, 0, 1),
        ("deleted files", "journal", 5, 1, 1, 3),
        ("lost content", "a part was never told", 1, 0, 0, 1),
        ("lost content", "blocks have other content now", 2, 0, 1, 1),
        ("lost content", "blocks read as zeros", 1, 0, 0, 1),
        ("lost content", "its place is not known", 1, 0, 0, 1),
    ]


def test_removed_containers_images_and_documents(builder):
    whole = {"command": "[]", "env": "[]", "created_ns": 1}
    for number, (name, confidence, more) in enumerate([("a", "certain", whole), ("b", "certain", {}), (None, "possible", {})]):
        builder.container(f"{number}" * 64, name, None, origin="recovered", confidence=confidence, **more)
    for refs, layers in (('["a:1"]', '["x"]'), ("[]", '["x"]'), ("[]", "[]")):
        builder.insert(
            "container_image", store_id=builder.store, engine="docker", image_id=refs + layers, refs=refs, layers=layers,
            origin="recovered", confidence="probable",
        )  # fmt: skip
    for key, value in (("tried", {"OCI spec": 5, "x": 1}), ("lost", {"OCI spec": 4})):
        builder.insert("run", key=key, value=json.dumps(value))
    assert counted(builder) == [
        ("containers", "certain", 2, 1, 1, 0),
        ("containers", "possible", 1, 0, 0, 1),
        ("documents", "OCI spec", 5, 1, 0, 4),
        ("documents", "x", 1, 1, 0, 0),
        ("images", "probable", 3, 1, 1, 1),
    ]


def test_nothing_removed_is_nothing_counted(builder):
    assert counted(builder) == []


def test_the_summary_says_why(builder):
    deleted(builder, 10, 10, extents="[]", reused="none")
    deleted(builder, 10, 0, extents="[[0, 4096, 10]]", reused="none")
    with closing(builder.db):
        facts = dict(summarise(builder.db, builder.path).facts)
    assert facts["deleted files"] == "2: 1 whole, 1 without content (blocks read as zeros: 1)"


@pytest.mark.parametrize("name", ["webshop", "powercut"])
def test_a_samples_counts_are_those_of_its_deleted_files(name, carved):
    case = carved(name)
    (told,) = ask(
        case, "SELECT sum(seen) AS seen, sum(whole) AS whole, sum(lost) AS lost FROM recovery WHERE what = 'deleted files'"
    )
    files = ask(case, "SELECT size, recovered_bytes FROM deleted_files WHERE type = 'f' AND method <> 'blocks'")
    files = [row for row in files if row["size"] != 0]
    assert told["seen"] == len(files)
    assert told["whole"] == sum(row["recovered_bytes"] == row["size"] for row in files)
    assert told["lost"] == sum(not row["recovered_bytes"] for row in files)
    with closing(sqlite3.connect(case)) as db:
        facts = dict(summarise(db, case).facts)
    assert facts["deleted files"].startswith(f"{told['seen']}: {told['whole']} whole")
