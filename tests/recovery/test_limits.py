"""Where a bound of recovery cuts something off, a gap says so."""

import lzma
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from forensics.filesystems.past import paths as past_paths
from forensics.recovery.carving import bolt_pages, carved, documents
from forensics.recovery.carving.scan import scan_space
from forensics.recovery.containers import host_traces, libpod_bolt, libpod_rows
from forensics.recovery.containers.deleted_clues import deleted_clues
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.small_files import LIMIT
from forensics.recovery.limits import Limits
from forensics.stores import users
from forensics.stores.host_tree import host_trees, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from support.bolt_files import bolt_bytes
from support.free_space import blocks, space
from support.memory_filesystem import MemoryFilesystem
from support.surveys import survey_of

BOLT_STATE = Path(__file__).parent.parent / "data/podman43/bolt_state.db.xz"


def never(partition, offset):
    return False


def pages():
    return [scan_space(space(bolt_bytes("cri-2.1-meta")), lambda size: None)]


def told(limits):
    return [gap.error for gap in limits.gaps]


def test_what_is_not_cut_off_is_no_gap():
    limits = Limits()
    assert list(limits.first(range(3), 3, "things")) == [0, 1, 2]
    assert limits.gaps == []
    assert list(limits.first(range(4), 3, "things", 1, "/x")) == [0, 1, 2]
    assert list(limits.first(range(4), 3, "things", 1, "/x")) == [0, 1, 2]
    ((artefact, error, partition, path),) = [(gap.artefact, gap.error, gap.partition, gap.path) for gap in limits.gaps]
    assert (artefact, partition, path) == ("recovery", 1, "/x")
    assert error == "more than 3 things: the rest was not looked at"


@pytest.mark.parametrize(("name", "most"), [("MAX_FOUND", 2), ("MAX_KEYS", 3), ("MAX_ALL", 3)])
def test_pages_and_keys_of_lost_bbolt_files(name, most, monkeypatch):
    limits = Limits()
    assert list(bolt_pages.lost_databases(pages(), {}, [], never, limits))
    assert limits.gaps == []
    monkeypatch.setattr(bolt_pages, name, most)
    list(bolt_pages.lost_databases(pages(), {}, [], never, limits))
    assert [f"more than {most} " in error for error in told(limits)] == [True]


def test_links_between_pages(monkeypatch):
    limits = Limits()
    monkeypatch.setattr(bolt_pages, "Steps", lambda: bolt_pages.carved_keys.__globals__["Steps"](0))
    list(bolt_pages.lost_databases(pages(), {}, [], never, limits))
    assert told(limits) == ["too many links between the pages of a lost bbolt file: the buckets of some are not known"]


def test_documents_and_their_parts(monkeypatch):
    text = b'{"StreamConfig":{},"ID":"' + b"a" * 3000
    hits = [scan_space(space(blocks(text, text, b"text of a log", b"other text")), lambda size: None)]
    limits = Limits()
    monkeypatch.setattr(carved, "MAX_DOCUMENTS", 1)
    monkeypatch.setattr(carved, "MAX_TRIES", 1)
    monkeypatch.setattr(documents, "MAX_TRIES", 1)
    carved.carved_clues(hits, never, limits=limits)
    assert told(limits) == [
        "more than 1 places where a document may stand: the rest was not looked at",
        "more than 1 blocks tried as parts of documents: no more of those were put together",
    ]


def test_journals_and_old_keys_of_podman(monkeypatch):
    limits = Limits()
    monkeypatch.setattr(libpod_rows, "MAX_JOURNALS", 1)
    journal = bytes.fromhex("d9d505f920a163d7")
    list(libpod_rows.journal_clues([scan_space(space(blocks(journal, journal)), lambda size: None)], [], limits))
    monkeypatch.setattr(libpod_bolt, "MAX_KEYS", 1)
    fs = MemoryFilesystem({"bolt_state.db": lzma.decompress(BOLT_STATE.read_bytes())})
    list(libpod_bolt.bolt_clues(Place(1, fs, fs.root, b"/"), "k", limits))
    assert told(limits) == [
        "more than 1 rollback journals: the rest was not looked at",
        "more than 1 keys: the rest was not looked at",
    ]


def test_a_journal_that_is_longer_than_is_read(monkeypatch):
    limits = Limits()
    pages = b"".join(
        number.to_bytes(4, "big") + bytes(512) + bytes(4) for number in range(1, 9)
    )  # the sum of zeros is the nonce: 0
    header = struct.pack(">8sIIIII", bytes.fromhex("d9d505f920a163d7"), 0xFFFFFFFF, 0, 8, 512, 512).ljust(512, b"\0")
    hits = [scan_space(space(blocks(header + pages)), lambda size: None)]
    list(libpod_rows.journal_clues(hits, [], limits))
    assert told(limits) == []
    monkeypatch.setattr(libpod_rows, "MAX_JOURNAL", 2048)
    list(libpod_rows.journal_clues(hits, [], limits))
    assert told(limits) == ["a rollback journal of more than 2,048 bytes: the rest of it was not read"]


def test_a_deleted_file_of_an_engine_that_is_too_long():
    limits = Limits()
    path = b"/var/lib/docker/containers/" + b"a1" * 32 + b"/config.v2.json"
    file = DeletedFile(path, 5, "f", 0o600, 0, 0, LIMIT + 1, "journal", "certain", inline=b"{}")
    deleted_clues({1: MemoryFilesystem({})}, [Numbered(1, 1, file)], limits)
    assert [(gap.path, gap.error.partition(":")[0]) for gap in limits.gaps] == [(path.decode(), f"{LIMIT + 1:,} bytes long")]


def test_names_of_one_inode(monkeypatch):
    """A whiteout has one name for each file that it hides."""
    monkeypatch.setattr(past_paths, "MOST_NAMES", 2)
    fs = SimpleNamespace(root=2, directories=list, problems=[])
    names = {5: [past_paths.Name(0, 9, 2, 1, b"a%d" % number) for number in range(3)]}
    paths = past_paths.PastPaths(fs, names, {})
    assert len(paths.paths(5, 4)) == len(paths.paths(5, 5)) == 2
    assert [(each.where, each.error) for each in fs.problems] == [
        ("inode 5", "it had more than 2 names; the others are not told")
    ]  # fmt: skip


def test_names_on_the_host(monkeypatch):
    limits = Limits()
    monkeypatch.setattr(host_traces, "MAX_FILES", 1)
    units = {f"{name}.service": b"[Unit]" for name in ("a", "b")}
    found, _ = survey_of({"etc": {"systemd": {"system": units}}})
    list(host_traces.host_clues(host_trees(found), (), limits))
    assert [(gap.path, gap.error) for gap in limits.gaps] == [
        ("/etc/systemd/system", "more than 1 names in a directory of the host's: the rest was not looked at")
    ]


def test_files_and_homes_of_a_host(monkeypatch):
    found, _ = survey_of({"etc": {"passwd": b"root:x:0:0::/root:/bin/sh\na:x:1:1::/home/a:/bin/sh\n"}, "d": {"1": b"", "2": b""}})
    (tree,) = host_trees(found)
    reader = StoreReader()
    assert len(users.users(reader, tree)) == 2
    assert len(reader.children(resolve_or_none(tree, b"/d"), "f", 2)) == 2
    assert reader.gaps == []
    monkeypatch.setattr(users, "MAX_USERS", 1)
    assert len(users.users(reader, tree)) == 1
    assert len(reader.children(resolve_or_none(tree, b"/d"), "f", 1)) == 1
    assert [(gap.path, gap.error.partition(";")[0]) for gap in reader.gaps] == [
        ("/etc/passwd", "2 homes of users"), ("/d", "2 names of the kind that is looked for"),
    ]  # fmt: skip
