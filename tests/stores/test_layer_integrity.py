"""Layers of container images against the archives that they were unpacked from; debugfs tampers as an intruder would."""

import bz2
import contextlib
import gzip
import hashlib
import json
import random
import shutil
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.integrity import layer_members
from forensics.layer_archives import unpacked
from forensics.source import Buffer
from parsers.crc64 import Crc64
from parsers.errors import FormatError
from parsers.tar_split import Content, Segment, parse_tar_split
from support.cli import ask, run_cli
from support.disks import run

IMAGES = "SELECT engine, layer, integrity, integrity_reason, path, partition, store FROM layers WHERE kind = 'image'"


@pytest.mark.parametrize("name", ["webshop", "powercut", "snapshots", "podhost"])
def test_layers_that_nobody_touched_are_verified(name, carved):
    states = {row["integrity"] for row in ask(carved(name), IMAGES)}
    assert states == {"verified"}
    assert ask(carved(name), "SELECT * FROM layer_faults") == []
    others = ask(carved(name), "SELECT DISTINCT integrity FROM layers WHERE kind <> 'image'")
    assert [row["integrity"] for row in others] == [None]


def test_layers_that_the_kernel_wrote_to_after_docker_made_them_are_altered(carved):
    """samples/torture reopens each image layer but the lowest."""
    states = sorted(row["integrity"] for row in ask(carved("torture"), IMAGES))
    assert states == ["altered"] * (len(states) - 1) + ["verified"]


def test_nothing_is_said_of_what_was_not_asked(carved):
    assert {row["integrity"] for row in ask(carved("webshop", "--hash", "none"), IMAGES)} == {None}


@pytest.fixture
def tampered(tmp_path, sample, carved):
    """tampered(sample, commands): the verdicts after debugfs ran these on an image layer; {layer} stands for its directory."""

    def tamper(name, *commands, file="f"):
        (offset,) = ask(carved(name), "SELECT offset FROM partitions WHERE filesystem LIKE 'ext%' AND offset IS NOT NULL LIMIT 1")
        found = ask(
            carved(name),
            "SELECT l.layer_number, l.path AS layer, e.path FROM layers l JOIN layer_files e ON e.layer_number = l.layer_number"
            f" WHERE l.kind = 'image' AND e.type = '{file}' AND e.size > 3 AND e.nlink = 1 AND l.path NOT LIKE '%native%'"
            " ORDER BY 1, 3 LIMIT 1",
        )[0]
        disk = tmp_path / "disk.img"
        shutil.copy(sample(name), disk)
        (tmp_path / "new").write_bytes(b"#!/bin/sh\necho owned\n")
        script = "\n".join(commands).format(layer=found["layer"], file=found["layer"] + found["path"], new=tmp_path / "new")
        (tmp_path / "script").write_text(script + "\n")
        run("debugfs", "-w", "-f", tmp_path / "script", f"{disk}?offset={offset['offset']}")
        run_cli("carve", disk, "-o", tmp_path / "case.db", "--force")
        rows = ask(tmp_path / "case.db", IMAGES)
        return found, {row["path"]: row for row in rows}, ask(tmp_path / "case.db", "SELECT * FROM layer_faults")

    return tamper


def test_a_file_whose_bytes_were_changed_is_named(tampered):
    """In place: names, sizes and times stay, which only the content's checksum tells."""
    found, layers, faults = tampered("webshop", "rm {file}", "write {new} {file}")
    assert layers[found["layer"]]["integrity"] == "altered"
    assert [(fault["kind"], "/" + fault["path"]) for fault in faults] == [("altered", found["path"])] * len(faults)
    assert "content" in " ".join(fault["text"] for fault in faults) or "bytes" in " ".join(fault["text"] for fault in faults)
    assert [row["integrity"] for path, row in layers.items() if path != found["layer"]].count("altered") == 0


@pytest.mark.parametrize("name", ["webshop", "snapshots", "podhost"])
def test_one_byte_that_was_changed_in_place_is_found(name, tmp_path, sample, carved):
    """Name, size, times and inode stay as they were; only the content tells."""
    (found,) = ask(
        carved(name),
        "SELECT e.layer_number, e.path, e.content_offset FROM layers l JOIN layer_files e ON e.layer_number = l.layer_number"
        " WHERE l.kind = 'image' AND e.type = 'f' AND e.size > 3 AND e.nlink = 1 AND e.content_offset IS NOT NULL"
        " ORDER BY e.content_offset LIMIT 1",
    )
    raw = bytearray(sample(name).read_bytes())
    raw[found["content_offset"] + 1] ^= 1
    (tmp_path / "disk.img").write_bytes(raw)
    run_cli("carve", tmp_path / "disk.img", "-o", tmp_path / "case.db")
    (fault,) = ask(tmp_path / "case.db", "SELECT * FROM layer_faults")
    assert ("/" + fault["path"], fault["kind"], fault["text"]) == (found["path"], "altered", "has other content")
    altered = ask(tmp_path / "case.db", "SELECT layer_number FROM layers WHERE integrity = 'altered'")
    assert [row["layer_number"] for row in altered] == [found["layer_number"]]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("sif {file} mode 0104755", "mode 4755"),
        ("sif {file} mtime 20200101000000", "another time"),
        ("sif {file} uid 1234", "belongs to 1234"),
    ],
)
def test_metadata_that_were_changed_are_named(tampered, command, says):
    found, layers, faults = tampered("webshop", command)
    assert layers[found["layer"]]["integrity"] == "altered"
    (fault,) = faults
    assert ("/" + fault["path"], fault["kind"]) == (found["path"], "altered")
    assert says in fault["text"]


def test_a_file_that_was_removed_and_one_that_was_added(tampered):
    found, layers, faults = tampered("webshop", "rm {file}", "write {new} {layer}/.hidden")
    assert layers[found["layer"]]["integrity"] == "altered"
    kinds = {(fault["kind"], "/" + fault["path"]) for fault in faults}
    assert kinds == {("missing", found["path"]), ("added", "/.hidden")}


def test_a_snapshot_is_held_against_the_blob(tampered):
    found, layers, faults = tampered("snapshots", "rm {file}", "write {new} {file}", "write {new} {layer}/added")
    assert layers[found["layer"]]["integrity"] == "altered"
    assert {(fault["kind"], "/" + fault["path"]) for fault in faults} == {("altered", found["path"]), ("added", "/added")}


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, bytes])
def test_an_archive_that_bursts_ends_at_its_bound(pack):
    blob = Buffer("blob", pack(bytes(64 << 20)))
    archive = unpacked(blob, 8 << 20)
    with pytest.raises(FormatError, match="longer"):
        archive.diff_id()
    assert archive.size <= 8 << 20


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress])
def test_an_archive_that_is_cut_off_is_a_format_error(pack):
    whole = pack(random.Random(1).randbytes(100_000))
    for length in range(5, len(whole), 7919):
        archive = unpacked(Buffer("blob", whole[:length]), 1 << 20)
        with pytest.raises(FormatError):
            archive.diff_id()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress])
def test_archives_of_several_streams_are_read_whole(pack):
    """Little compressible, so that zstd often takes much before it gives anything; pigz, zstd and pbzip2 write several."""
    content = bytes(random.Random(2).choices(range(64), k=3 << 20))
    blob = Buffer("blob", b"".join(pack(content[start : start + (1 << 20)]) for start in range(0, len(content), 1 << 20)))
    assert unpacked(blob, 4 << 20).diff_id() == f"sha256:{hashlib.sha256(content).hexdigest()}"


def header(size, kind=b"0"):
    """A tar header whose size may be anything."""
    info = tarfile.TarInfo("name")
    info.type = kind
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
@pytest.mark.parametrize("size", [b"\xff" * 12, b"77777777777\0", b"\x80" + b"\x7f" * 11])
def test_members_whose_sizes_lie_end(kind, size):
    """Sizes that lead back, gigabytes of a header, more than a file can have."""
    archive = unpacked(Buffer("blob", header(size, kind) * 4), 1 << 20)
    with contextlib.suppress(FormatError, tarfile.TarError, ValueError, OverflowError):
        assert len(list(layer_members(archive))) < 5


def packed(*lines):
    return gzip.compress(b"\n".join(json.dumps(line).encode() for line in lines))


def parts(raw):
    return list(parse_tar_split(lambda offset, size: raw[offset : offset + size]))


LINES = (
    {"type": 2, "payload": "aGVhZA==", "position": 0},
    {"type": 1, "name": "f", "size": 9, "payload": "cst50d3CwpQ=", "position": 1},
)


def test_tar_split_and_its_checksum():
    """The checksum of `layer2 a\\n` as Docker wrote it."""
    head, content = parts(packed(*LINES))
    assert head == Segment(b"head")
    crc = Crc64()
    crc.update(b"lay")
    crc.update(b"er2 a\n")
    assert content == Content(b"f", 9, crc.digest())


@pytest.mark.parametrize(
    "line",
    [
        {"type": 2, "payload": "AA==", "position": 7},
        {"type": 1, "name": "f", "size": -1, "position": 0},
        {"type": 1, "name": "f", "size": 1 << 70, "position": 0},
        {"type": 3, "position": 0},
        {"type": 2, "payload": "?", "position": 0},
        [],
        "text",
    ],
)
def test_wrong_entries_are_format_errors(line):
    with pytest.raises(FormatError):
        parts(packed(line))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 400))
def test_any_damage_is_a_format_error_or_other_parts(at, value, length):
    raw = bytearray(packed(*LINES * 3))
    raw[at % len(raw)] = value
    with contextlib.suppress(FormatError):
        parts(bytes(raw[: max(length, 1)]))


@pytest.mark.parametrize(("commands", "kind"), [
    (("set_inode_field {file} size 0",), "unwritten"),
    (("set_inode_field {file} size 0", "set_inode_field {file} mtime 20300101"), "altered"),
    (("set_inode_field {file} size 1",), "altered"),
])  # fmt: skip
def test_a_file_that_is_empty_and_else_as_it_was_is_told_apart(tampered, commands, kind):
    """As a power cut leaves it; who empties a file changes its time."""
    found, _, faults = tampered("webshop", *commands)
    assert {(each["kind"], "/" + each["path"]) for each in faults} == {(kind, found["path"])}
