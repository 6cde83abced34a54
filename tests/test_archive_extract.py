"""What leaves a case file for the analyst's disk: archives and extracted trees, of hostile views too."""

import io
import os
import tarfile
from contextlib import contextmanager

import pytest

from forensics.archive import write_archive
from forensics.case.lookup import find_container, open_case
from forensics.case.view import merged_view
from forensics.extraction import extract_file, extract_tree
from parsers.errors import UsageError
from support.casebuilder import CaseBuilder
from support.stored import UNREADABLE, StoredContents

NS = 1_600_000_000_123_456_789


@pytest.fixture
def builder(tmp_path):
    return CaseBuilder(tmp_path / "case.db")


@contextmanager
def looked_at(builder, layer):
    builder.container("c1", "web", layer)
    with open_case(builder.finish()) as case:
        yield merged_view(case, find_container(case, "web"))


def archived(builder, layer, contents):
    with looked_at(builder, layer) as view:
        stream = io.BytesIO()
        notes = list(write_archive(view, contents, stream))
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue()), encoding="utf-8", errors="surrogateescape") as tar:
        members = {member.name.encode("utf-8", "surrogateescape"): member for member in tar}
        content = {name: tar.extractfile(member).read() for name, member in members.items() if member.isfile()}
    return notes, members, content


def test_names_of_one_file_are_hard_links_to_the_first(builder):
    layer = builder.layer("one")
    builder.entry(layer, b"/b", inode=50, nlink=3, size=3)
    builder.entry(layer, b"/a", inode=50, nlink=3, size=3, xattrs={"user.x": b"1"})
    builder.entry(layer, b"/other", inode=51, size=3)
    notes, members, content = archived(builder, layer, StoredContents({50: b"abc", 51: b"abc"}))
    assert notes == []
    assert content == {b"a": b"abc", b"other": b"abc"}
    assert (members[b"b"].islnk(), members[b"b"].linkname) == (True, "a")


def test_what_cannot_be_read_is_there_with_what_is_known(builder):
    layer = builder.layer("one")
    builder.entry(layer, b"/bad", inode=50, size=1000, uid=7)
    builder.entry(layer, b"/half", inode=51, size=2000, uid=8)
    builder.entry(layer, b"/good", inode=52, size=3)
    contents = StoredContents({50: UNREADABLE, 51: [b"x" * 700, UNREADABLE], 52: b"abc"})
    notes, members, content = archived(builder, layer, contents)
    assert [(note.path, note.unread) for note in notes] == [(b"/bad", True), (b"/half", True)]
    assert "byte 4711; zeros stand for it from byte 700 on" in notes[1].text
    assert (members[b"bad"].uid, content[b"bad"]) == (7, b"")
    assert (members[b"half"].uid, content[b"half"]) == (8, b"x" * 700 + bytes(1300))
    assert content[b"good"] == b"abc"


def test_a_metacopy_file_has_the_bytes_of_the_file_below(builder):
    base = builder.layer("base")
    data = builder.entry(base, b"/f", size=31, inode=70)
    top = builder.layer("top", lower=base)
    meta = builder.entry(top, b"/f", size=4, mode=0o600, metacopy=1, inode=71)
    orphan = builder.entry(top, b"/orphan", size=4, metacopy=1)
    builder.hide(top, data, "replaced", meta)
    builder.insert("metacopy_data", layer_id=top, entry_id=meta, data_entry=data)
    builder.insert("metacopy_data", layer_id=top, entry_id=orphan, data_entry=None)
    notes, members, content = archived(builder, top, StoredContents({70: b"d" * 31, 71: bytes(4)}))
    assert (content[b"f"], members[b"f"].mode) == (b"d" * 31, 0o600)
    assert content[b"orphan"] == b""
    assert [(note.path, note.unread) for note in notes] == [(b"/orphan", True)]


def test_sockets_and_names_that_lead_out_are_left_out(builder):
    layer = builder.layer("one")
    builder.entry(layer, b"/run.sock", type="s")
    builder.entry(layer, b"/odd", type="?")
    builder.entry(layer, b"/../../etc/cron.d/x")
    builder.entry(layer, b"/a/../../x")
    notes, members, _content = archived(builder, layer, StoredContents())
    assert {note.path for note in notes} == {b"/run.sock", b"/odd", b"/../../etc/cron.d/x", b"/a/../../x"}
    assert not any(note.unread for note in notes)
    assert list(members) == [b"."]


def test_every_name_is_kept_byte_by_byte(builder):
    layer = builder.layer("one")
    hostile = [b"/\xff\xfe", b"/new\nline", b"/-rf", b"/\x1b[31m", "/\u202eexe.txt".encode(), b"/" + b"x" * 255, rb"/\xff"]
    for name in hostile:
        builder.entry(layer, name)
    _notes, members, _content = archived(builder, layer, StoredContents())
    assert {b"/" + name for name in members} - {b"/."} == set(hostile)


def extracted(builder, layer, contents, into, path=b"/", replace=False):
    with looked_at(builder, layer) as view:
        return list(extract_tree(view, contents, view.follow(path), into, replace))


def test_a_tree_is_made_harmless(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/bin", type="d", mode=0o1555, mtime_ns=NS)
    builder.entry(layer, b"/bin/su", mode=0o6755, size=3, inode=50, mtime_ns=NS, uid=0)
    builder.entry(layer, b"/bin/secret", mode=0, inode=51, size=2)
    builder.entry(layer, b"/null", type="c", rdev="1:3")
    builder.entry(layer, b"/pipe", type="p")
    builder.entry(layer, b"/\xff\n", inode=52, size=1)
    into = tmp_path / "out"
    notes = extracted(builder, layer, StoredContents({50: b"abc", 51: b"xy", 52: b"z"}), into)
    assert {(note.path, note.text) for note in notes} == {(b"/null", "a character device"), (b"/pipe", "a fifo")}
    assert (into / "bin/su").read_bytes() == b"abc"
    assert (into / "bin/su").stat().st_mode & 0o7777 == 0o755
    assert (into / "bin/su").stat().st_mtime_ns == NS
    assert (into / "bin").stat().st_mode & 0o7777 == 0o755
    assert (into / "bin").stat().st_mtime_ns == NS
    assert (into / "bin/secret").stat().st_mode & 0o7777 == 0o400
    assert sorted(os.listdir(os.fsencode(into))) == [b"bin", b"\xff\n"]


@pytest.mark.parametrize(
    ("target", "made"),
    [
        (b"file", True),
        (b"./sub/deep", True),
        (b"..", True),
        (b"../top", True),
        (b"../../top", True),
        (b"../../..", False),
        (b"../../../x", False),
        (b"/etc/passwd", False),
        (b"//etc", False),
        (b"sub/../../../..", False),
        (b"sub/..", False),
        (b"", False),
    ],
)
def test_symlinks_are_made_only_where_they_stay_inside(target, made, builder, tmp_path):
    layer = builder.layer("one")
    for path in (b"/a", b"/a/b"):
        builder.entry(layer, path, type="d")
    builder.entry(layer, b"/a/b/link", target=target)
    into = tmp_path / "out"
    notes = extracted(builder, layer, StoredContents(), into)
    link = into / "a/b/link"
    assert link.is_symlink() == made
    assert bool(notes) != made
    if made:
        assert link.resolve().is_relative_to(into.resolve())


def test_nothing_is_written_outside_whatever_the_view_says(builder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("mine")
    layer = builder.layer("one")
    builder.entry(layer, b"/up", target=b"../outside")
    builder.entry(layer, b"/out", target=os.fsencode(outside))
    builder.entry(layer, b"/dir", type="d")
    builder.entry(layer, b"/dir/kept", inode=50, size=4)
    builder.entry(layer, b"/up/kept", inode=50, size=4)
    builder.entry(layer, b"/out/kept", inode=50, size=4)
    builder.entry(layer, b"/../outside/kept", inode=50, size=4)
    builder.entry(layer, b"/./kept2", inode=50, size=4)
    builder.entry(layer, b"//kept3", inode=50, size=4)
    builder.entry(layer, b"/missing/kept4", inode=50, size=4)
    for path in (b"/..", b"/dir/..", b"/../outside", b"/.", b"/new/../.."):
        builder.entry(layer, path, type="d", mode=0o777, mtime_ns=1)
    into = tmp_path / "out"
    into.mkdir()
    (into / "dir").symlink_to(outside)  # what an earlier extraction, or somebody, may have left there
    before = tmp_path.stat().st_mode, outside.stat().st_mode
    notes = extracted(builder, layer, StoredContents({50: b"evil"}), into, replace=True)
    assert (tmp_path.stat().st_mode, outside.stat().st_mode) == before
    assert min(tmp_path.stat().st_mtime_ns, outside.stat().st_mtime_ns) > 10**18
    assert (outside / "kept").read_text() == "mine"
    assert os.listdir(outside) == ["kept"]
    assert {note.path for note in notes} >= {
        b"/up/kept",
        b"/out/kept",
        b"/../outside/kept",
        b"/dir",
        b"/dir/kept",
        b"/up",
        b"/out",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.db", "out", "outside"]


def test_the_evidence_is_not_replaced_by_a_file_of_its_name(builder, tmp_path):
    into = tmp_path / "work"
    into.mkdir()
    (into / "disk.img").write_text("evidence")
    (into / "notes").write_text("old")
    layer = builder.layer("one")
    builder.entry(layer, b"/disk.img", inode=50, size=4)
    builder.entry(layer, b"/notes", inode=50, size=4)
    with looked_at(builder, layer) as view:
        contents = StoredContents({50: b"evil"})
        notes = list(extract_tree(view, contents, view.follow(b"/"), into, True, (into / "disk.img", builder.path)))
    assert [note.path for note in notes] == [b"/disk.img"]
    assert (into / "disk.img").read_text() == "evidence"
    assert (into / "notes").read_text() == "evil"


def test_a_subtree_lands_right_below_the_destination(builder, tmp_path):
    layer = builder.layer("one")
    for path in (b"/etc", b"/etc/ssh", b"/etcetera"):
        builder.entry(layer, path, type="d")
    builder.entry(layer, b"/etc/ssh/config", inode=50, size=2)
    assert extracted(builder, layer, StoredContents({50: b"ok"}), tmp_path / "out", b"/etc") == []
    assert [str(path.relative_to(tmp_path / "out")) for path in sorted((tmp_path / "out").rglob("*"))] == ["ssh", "ssh/config"]


def test_a_file_that_cannot_be_read_is_not_left_half(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/bad", inode=50, size=9)
    builder.entry(layer, b"/good", inode=51, size=2)
    notes = extracted(builder, layer, StoredContents({50: [b"half", UNREADABLE], 51: b"ok"}), tmp_path / "out")
    assert [(note.path, note.unread) for note in notes] == [(b"/bad", True)]
    assert os.listdir(tmp_path / "out") == ["good"]


def test_holes_take_no_room(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/sparse", inode=50, size=(64 << 20) + 1)
    contents = StoredContents({50: [bytes(1 << 20)] * 64 + [b"\0"]})
    extracted(builder, layer, contents, tmp_path / "out")
    made = (tmp_path / "out/sparse").stat()
    assert made.st_size == (64 << 20) + 1
    assert made.st_blocks * 512 < 1 << 20


def test_a_time_that_this_disk_cannot_hold_is_told(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/far", inode=50, mtime_ns=None, far={"mtime_ns": 2**90})
    notes = extracted(builder, layer, StoredContents(), tmp_path / "out")
    assert [note.path for note in notes] == [b"/far"]
    assert (tmp_path / "out/far").exists()


def test_a_directory_that_is_not_empty_is_left_alone(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/f", inode=50, size=2)
    into = tmp_path / "out"
    into.mkdir()
    (into / "f").write_text("mine")
    with looked_at(builder, layer) as view:
        with pytest.raises(UsageError, match="--force"):
            extract_tree(view, StoredContents(), view.follow(b"/"), into, False)
        assert list(extract_tree(view, StoredContents({50: b"ok"}), view.follow(b"/"), into, True)) == []
    assert (into / "f").read_text() == "ok"


def test_one_file_gets_the_name_it_is_given(builder, tmp_path):
    layer = builder.layer("one")
    builder.entry(layer, b"/f", inode=50, size=2, mode=0o4777)
    with looked_at(builder, layer) as view:
        assert list(extract_file(view, StoredContents({50: b"ok"}), view.follow(b"/f"), tmp_path / "copy", False)) == []
    assert (tmp_path / "copy").read_bytes() == b"ok"
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o777
