"""Directories and archives in the place of a disk image: the same answers, and nothing outside of them is ever read."""

import contextlib
import gzip
import io
import os
import random
import sqlite3
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_disk_image, open_evidence
from forensics.filesystem import lookup, resolve
from forensics.filesystems.collected.archive import open_archive
from forensics.filesystems.collected.directory import open_directory
from forensics.filesystems.open import open_volume
from forensics.source import Buffer
from forensics.survey import survey
from forensics.volumes import find_volumes
from parsers.errors import FormatError
from support.cli import run_cli
from support.disks import run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk image takes root")

SAME = {
    "containers": "SELECT engine, container_id, name, image, state, created_ns, command, env, rootfs, layer FROM containers",
    "images": "SELECT image_id, refs, layers, history FROM images WHERE origin = 'allocated'",
    "files": "SELECT container_id, path, type, mode, uid, gid, iif(type = 'd', NULL, size), mtime_ns, nlink, target, rdev,"
    " sha256, xattrs, layer FROM files",
    "changes": "SELECT container_id, kind, path FROM changes",
    "mounts": "SELECT * FROM mounts",
    "volumes": "SELECT name, path, used_by FROM container_volumes",
}


def answers(case):
    """What a case says of what was not removed: of that, a collection knows nothing."""
    present = " WHERE container_id IN (SELECT container_id FROM containers WHERE origin = 'allocated')"
    with contextlib.closing(sqlite3.connect(case)) as db:
        return {
            name: sorted(map(repr, db.execute(sql + (present if name in ("containers", "files", "changes", "mounts") else ""))))
            for name, sql in SAME.items()
        }


@needs_root
def test_the_same_store_on_a_disk_in_a_directory_and_in_archives(tmp_path, sample, carved):
    """The kernel shows the sample's filesystem, tar packs it; what we say of the three is the same."""
    (tmp_path / "mnt").mkdir()
    with contextlib.closing(sqlite3.connect(carved("webshop"))) as db:
        ((offset,),) = db.execute("SELECT partitions.offset FROM partitions JOIN stores ON partition = number LIMIT 1")
    copy = tmp_path / "copy.img"
    copy.write_bytes(sample("webshop").read_bytes())
    run("mount", "-o", f"loop,offset={offset}", copy, tmp_path / "mnt")
    try:
        tar = tmp_path / "host.tar"
        run("tar", "--xattrs", "--xattrs-include=*", "--format=pax", "--sparse", "-C", tmp_path / "mnt", "-cf", tar, ".")
        run_cli("carve", tmp_path / "mnt", "-o", tmp_path / "directory.db", expect=3)
    finally:
        run("umount", tmp_path / "mnt")
    (tmp_path / "host.tar.gz").write_bytes(gzip.compress(tar.read_bytes(), 1))
    (tmp_path / "host.tar.zst").write_bytes(zstandard.compress(tar.read_bytes()))
    expected = answers(carved("webshop"))
    assert answers(tmp_path / "directory.db") == expected
    for name in ("host.tar", "host.tar.gz", "host.tar.zst"):
        run_cli("carve", tmp_path / name, "-o", tmp_path / "tar.db", "--force", expect=3)
        assert answers(tmp_path / "tar.db") == expected
    with contextlib.closing(sqlite3.connect(tmp_path / "tar.db")) as db:
        told = next(db.execute("SELECT error FROM gaps"))[0]
        assert "no deleted files" in told
        assert "no xattrs at all" not in told
        assert next(db.execute("SELECT count(size) FROM files WHERE type = 'd'")) == (0,)
        container, path, sha = next(db.execute("SELECT container_id, path, sha256 FROM files WHERE type = 'f' AND size > 9"))
    run_cli("cat", tmp_path / "tar.db", container, path, "-o", tmp_path / "file")
    assert run("sha256sum", tmp_path / "file").split()[0] == sha


def test_a_link_out_of_a_directory_is_a_string(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the examiner's own")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "out").symlink_to(secret)
    (root / "etc" / "up").symlink_to("../../secret")
    (root / "all").symlink_to("/")
    (root / os.fsdecode(b"\xff\nname")).write_text("x")
    fs = open_directory(root)
    assert fs.target(lookup(fs, b"etc/out")) == os.fsencode(secret)
    assert resolve(fs, b"/etc/out") is None
    assert resolve(fs, b"/etc/up") is None
    assert resolve(fs, b"/all/etc") == lookup(fs, b"etc")
    assert sorted(fs.tree(fs.root).names) == sorted([b"", b"etc", b"out", b"up", b"all", b"\xff\nname"])
    assert all(b"examiner" not in fs.read(entry.inode) for entry in fs.entries(fs.root) if entry.type == "f")


def test_an_archive_without_xattrs_says_so(tmp_path):
    with tarfile.open(tmp_path / "host.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("etc"))
    with open_evidence([tmp_path / "host.tar"]) as evidence:
        (volume,), _ = find_volumes(evidence)
        assert "no xattrs at all" in open_volume(volume).problems[0].error


def test_a_file_that_is_replaced_by_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("the examiner's own")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("evidence")
    fs = open_directory(tmp_path / "root")
    number = lookup(fs, b"file")
    (tmp_path / "root" / "file").unlink()
    (tmp_path / "root" / "file").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError):
        fs.read(number)


def test_the_case_file_never_lies_in_the_evidence(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    run_cli("carve", ".", expect=2)
    assert list((tmp_path / "root").iterdir()) == []


KINDS = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)


def archive(*members, form=tarfile.PAX_FORMAT):
    """Members: (name, content or kind, more fields)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content, more in members:
            info = tarfile.TarInfo(name)
            data = b"" if content in KINDS else content
            info.size = len(data)
            info.type = content if content in KINDS else tarfile.REGTYPE
            for field, value in more.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def names(fs):
    tree = fs.tree(fs.root)
    return {tree.names[row]: int(tree.inode[row]) for row in range(1, len(tree))}


def collected(folder, *prefixes):
    """What a triage tool leaves: a host's files below a directory of their own, its own output beside it."""
    for prefix in prefixes:
        for name in ("etc", "var/lib/docker", "usr/lib"):
            (folder / prefix / name).mkdir(parents=True)
        (folder / prefix / "etc/hostname").write_text("shop-01\n")
        (folder / prefix / "usr/lib/os-release").write_text('PRETTY_NAME="Debian"\n')
        (folder / prefix / "etc/os-release").symlink_to("/usr/lib/os-release")
    (folder / "live_response").mkdir()
    (folder / "live_response/ps.txt").write_text("1 init\n")


@pytest.mark.parametrize("prefix", ["[root]", "uploads/auto"])
def test_the_hosts_root_is_found_in_a_triage_collection(tmp_path, prefix):
    collected(tmp_path / "c", prefix)
    run("tar", "-C", tmp_path / "c", "-cf", tmp_path / "c.tar", ".")
    for path in (tmp_path / "c", tmp_path / "c.tar"):
        with open_evidence([path]) as evidence:
            found = survey(evidence)
            fs = found.partitions[0].filesystem
            assert (found.hosts[1].hostname, found.hosts[1].os) == ("shop-01", "Debian")
            assert resolve(fs, b"/var/lib/docker") is not None
            assert any(f"those in /{prefix}, which is / here" in problem.error for problem in fs.problems)


def test_of_two_hosts_in_a_collection_none_is_the_root(tmp_path):
    collected(tmp_path, "a/[root]", "b/[root]")
    fs = open_directory(tmp_path)
    assert [entry.name for entry in fs.entries(fs.root)] == [b"a", b"b", b"live_response"]


def test_what_pax_records_tell():
    fs = open_archive(Buffer("x.tar", archive(
        ("./d", tarfile.DIRTYPE, {"mode": 0o1777}),
        ("d/f", b"content", {"pax_headers": {
            "mtime": "1700000000.123456789", "atime": "-1.5", "ctime": "1700000001", "LIBARCHIVE.creationtime": "5.000000001",
            "SCHILY.xattr.user.x": "a\udcff=\0b",
            "LIBARCHIVE.xattr.security%2ecapability": "AQAAAg", "RHT.security.selinux": "u:r:t",
        }}),
        ("d/white", tarfile.CHRTYPE, {"devmajor": 0, "devminor": 0}),
        ("d/hard", tarfile.LNKTYPE, {"linkname": "d/f"}),
        ("d/soft", tarfile.SYMTYPE, {"linkname": "../../etc/passwd"}),
    )))  # fmt: skip
    found = names(fs)
    inode = fs.inode(found[b"f"])
    assert (inode.mtime_ns, inode.atime_ns, inode.ctime_ns) == (1_700_000_000_123_456_789, -1_500_000_000, 1_700_000_001 * 10**9)
    assert (inode.crtime_ns, inode.nlink, inode.size) == (5_000_000_001, 2, 7)
    assert found[b"hard"] == found[b"f"]
    assert fs.xattrs(found[b"f"]) == {
        b"user.x": b"a\xff=\0b", b"security.capability": b"\x01\0\0\x02", b"security.selinux": b"u:r:t"
    }  # fmt: skip
    assert fs.read(found[b"f"], 2, 3) == b"nte"
    assert fs.inode(found[b"white"]).rdev == (0, 0)
    assert fs.target(found[b"soft"]) == b"../../etc/passwd"
    assert fs.inode(found[b"d"]).mode == 0o1777
    assert [problem.what for problem in fs.problems] == ["collection"]


def test_the_last_of_a_name_counts_and_nothing_leads_out():
    fs = open_archive(Buffer("x.tar", archive(
        ("f", b"old", {}), ("f", b"new", {}), ("/abs/f2", b"absolute", {}), ("../../etc/cron.d/x", b"no", {}),
        ("a/../../x", b"no", {}), ("link", tarfile.LNKTYPE, {"linkname": "gone"}), ("f/below", b"no", {}),
    )))  # fmt: skip
    found = names(fs)
    assert set(found) == {b"f", b"abs", b"f2"}
    assert fs.read(found[b"f"]) == b"new"
    assert len([problem for problem in fs.problems if problem.what == "archive member"]) == 4


def test_sparse_members(tmp_path):
    with (tmp_path / "holes").open("wb") as file:
        for at, data in ((1 << 20, b"first"), (5 << 20, b"second"), ((9 << 20) - 1, b"\0")):
            file.seek(at)
            file.write(data)
    for form in ("gnu", "pax"):
        run("tar", "--sparse", f"--format={form}", "-C", tmp_path, "-cf", tmp_path / "x.tar", "holes")
        raw = (tmp_path / "x.tar").read_bytes()
        fs = open_archive(Buffer("x.tar", raw))
        number = names(fs)[b"holes"]
        assert fs.read(number) == (tmp_path / "holes").read_bytes()
        assert len(raw) < 1 << 20


def test_an_archive_that_is_cut_short_gives_what_it_has(tmp_path):
    raw = archive(*((f"f{n}", random.Random(n).randbytes(5000), {}) for n in range(20)))
    fs = open_archive(Buffer("x.tar", raw[:60_000]))
    assert len(names(fs)) == 11
    assert fs.read(names(fs)[b"f9"]) == random.Random(9).randbytes(5000)
    with pytest.raises(FormatError, match="ends before"):
        fs.read(names(fs)[b"f10"])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw)[:50_000])
    with open_disk_image(tmp_path / "x.tar.gz") as disk:
        assert "cannot be unpacked beyond" in disk.problems[0]
        assert disk.read(0, 5000) == raw[:5000]


def test_an_archive_and_a_disk_are_one_case(tmp_path):
    (tmp_path / "x.tar").write_bytes(archive(("etc/os-release", b'PRETTY_NAME="Test OS"\n', {}), ("etc/hostname", b"box\n", {})))
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    with open_evidence([tmp_path / "disk.img", tmp_path / "x.tar"]) as evidence:
        found = survey(evidence)
        assert [(p.volume.number, p.kind) for p in found.partitions] == [(1, None), (2, "tar")]
        assert found.hosts[2].hostname == "box"


WHOLE = archive(("d", tarfile.DIRTYPE, {}), ("d/f", b"content", {"pax_headers": {"mtime": "5.5"}}), ("d/g", b"x" * 3000, {}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=5), st.integers(0, len(WHOLE))
)
def test_any_damage_is_a_gap(changes, length):
    raw = bytearray(WHOLE)
    for at, value in changes:
        raw[at] = value
    fs = open_archive(Buffer("x.tar", bytes(raw[:length])))
    tree = fs.tree(fs.root)
    for row in range(len(tree)):
        if tree.type[row] == ord("f"):
            with contextlib.suppress(FormatError):
                fs.read(int(tree.inode[row]), 0, 10_000)
