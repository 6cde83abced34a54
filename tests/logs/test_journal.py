"""systemd's journal files as systemd-journal-remote wrote them, and as they are found after a crash; syslog's files."""

import contextlib
import lzma
import random
import struct
import time
from dataclasses import replace
from datetime import UTC
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.logs.containers import LogOwner
from forensics.logs.journal import journal_lines, wanted
from forensics.logs.lines import LogFile, LogLine
from forensics.logs.mentions import log_mentions
from forensics.logs.reading import Budget
from forensics.logs.syslog import syslog_lines
from forensics.records import Container
from forensics.stores.host_tree import host_trees
from forensics.stores.reading import StoreReader
from parsers.errors import FormatError, UnsupportedFormat
from parsers.journal import JournalFile, unpack_lz4
from parsers.log_record import Damage
from parsers.syslog import parse_syslog, with_years
from support.surveys import survey_of

DATA = Path(__file__).parent.parent / "data" / "journal"
NAMES = sorted(path.name.removesuffix(".journal.xz") for path in DATA.glob("*.journal.xz"))
CID = "a1" * 32


def journal(name):
    return lzma.decompress((DATA / f"{name}.journal.xz").read_bytes())


def exported():
    """The stream that the files were made of: fields by name, the first value of each."""
    raw, entries, fields, at = lzma.decompress((DATA / "export.xz").read_bytes()), [], {}, 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        line, at = raw[at:end], end + 1
        if not line:
            entries.append(fields)
            fields = {}
            continue
        name, mark, value = line.partition(b"=")
        if not mark:
            length = int.from_bytes(raw[at : at + 8], "little")
            value, at = raw[at + 8 : at + 8 + length], at + 9 + length
        fields.setdefault(name, value)
    return entries


def entries(raw, want=lambda value: True):
    damage = Damage()
    return list(JournalFile(lambda at, size: raw[at : at + size], len(raw), damage).entries(want)), damage


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_as_it_was_written(name):
    found, damage = entries(journal(name))
    assert damage.times == 0
    expected = exported()
    assert len(found) == len(expected) > 100
    for entry, fields in zip(found, expected, strict=True):
        assert entry.realtime_ns == int(fields[b"__REALTIME_TIMESTAMP"]) * 1000
        assert entry.boot_id == fields[b"_BOOT_ID"].decode()
        assert entry.fields == {key: value for key, value in fields.items() if not key.startswith(b"__")}


def test_what_nobody_asked_for_is_passed_over():
    found, _ = entries(journal(NAMES[0]), wanted)
    assert not any(entry.fields.get(b"_COMM") == b"cron" or b"kernel" in entry.fields.values() for entry in found)
    assert len(found) == len([f for f in exported() if any(wanted(k + b"=" + v) for k, v in f.items())])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off_or_was_never_closed_gives_what_it_has(name):
    raw = journal(name)
    whole, _ = entries(raw)
    middle = whole[60].offset
    cut, _ = entries(raw[: middle + 20])
    assert cut == whole[:60]
    online = bytearray(raw)
    online[16] = 1  # the state
    struct.pack_into("<Q", online, 96, 0)  # and an arena size that was not written yet
    assert entries(bytes(online))[0] == whole
    holed = bytearray(raw)
    holed[whole[30].offset : whole[31].offset] = b"\xff" * (whole[31].offset - whole[30].offset)
    found, damage = entries(bytes(holed))
    assert damage.times
    assert found[:30] == whole[:30]
    assert found[-1] == whole[-1]
    assert len(found) >= len(whole) - 3


def test_features_and_files_that_are_no_journals():
    raw = bytearray(journal(NAMES[0]))
    struct.pack_into("<I", raw, 12, 1 << 9)
    with pytest.raises(UnsupportedFormat):
        entries(bytes(raw))
    for other in (b"", b"LPKSHHRH", b"x" * 500):
        with pytest.raises(FormatError):
            entries(other)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 30), st.sampled_from(NAMES))
def test_any_damage_is_bounded(seed, name):
    rng, raw = random.Random(seed), bytearray(SMALL[name])
    for _ in range(rng.randrange(1, 6)):
        raw[rng.randrange(8, len(raw))] = rng.choice((0, 0xFF, rng.randrange(256)))
    started = time.monotonic()
    with contextlib.suppress(FormatError):
        entries(bytes(raw[: rng.randrange(len(raw))]) if rng.random() < 0.3 else bytes(raw))
    assert time.monotonic() - started < 10


SMALL = {name: (raw := journal(name))[: entries(raw)[0][-1].offset + 4096] for name in NAMES}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.integers(0, 5000))
def test_lz4_of_anything(data, size):
    try:
        assert len(unpack_lz4(data, size)) <= size
    except FormatError:
        return


def test_little_more_than_the_file_is_read():
    raw, sizes = journal("zstd-compact"), []

    def read(at, size):
        sizes.append(size)
        return raw[at : at + size]

    assert list(JournalFile(read, len(raw), Damage()).entries(wanted))
    assert sum(sizes) < len(raw) + (1 << 20)


def test_a_zeroed_block_costs_what_stood_in_it():
    raw = bytearray(journal("none-regular"))
    whole, _ = entries(bytes(raw))
    first, last = whole[20].offset, whole[30].offset
    raw[first : first + 8192] = bytes(8192)
    found, damage = entries(bytes(raw))
    assert {entry.offset for entry in found} >= {entry.offset for entry in whole[31 + 20 :]}
    assert first < last
    assert damage.times


def test_search_behind_damage_is_bounded():
    raw = journal("none-regular")
    start = int.from_bytes(raw[88:96], "little")
    hostile = raw[:start] + b"\x09" * (40 << 20)
    begun = time.process_time()
    found, damage = entries(hostile)
    assert (found, damage.times > 0) == ([], True)
    assert time.process_time() - begun < 30


def test_files_are_read_in_the_order_in_which_they_were_begun():
    older = bytearray(journal("none-regular"))
    older[184:192] = (1).to_bytes(8, "little")
    names = {"system.journal": journal("zstd-compact"), "system@0-1.journal": bytes(older), "bad.journal~": b"LPKSHHRH"}
    found, _ = survey_of({"var": {"log": {"journal": {"m" * 32: names}}}})
    reader = StoreReader()
    rows = [row for row in journal_lines(reader, host_trees(found), [], count(1), {}) if isinstance(row, LogFile)]
    told = [row.path.rpartition(b"/")[2] for row in rows]
    assert told == sorted(told, key=lambda name: name == b"system.journal")
    assert {*told} == {b"system.journal", b"system@0-1.journal"}
    assert len(reader.gaps) == 1


def run_journal(raw, *containers):
    found, _ = survey_of({"var": {"log": {"journal": {"m" * 32: {"system.journal": raw, "notes.txt": b"no"}}}}})
    reader = StoreReader()
    owners = [LogOwner(number, "docker:p1:/var/lib/docker", 1, each) for number, each in enumerate(containers, 1)]
    rows = list(journal_lines(reader, host_trees(found), owners, count(1), {}))
    return [row for row in rows if isinstance(row, LogFile)], [row for row in rows if isinstance(row, LogLine)], reader.gaps


def test_lines_go_to_their_containers_and_the_engines():
    files, lines, gaps = run_journal(journal("zstd-compact"), Container("docker", None, CID, "web"))
    assert gaps == []
    by_container = {file.container_id: file for file in files}
    assert set(by_container) == {None, CID, "c3" * 32}
    assert (by_container[CID].container, by_container[CID].container_name, by_container["c3" * 32].container) == (1, "web", None)
    own = [line for line in lines if line.container == 1]
    assert own[0].text == "container says 0"
    assert (own[0].stream, own[1].stream) == ("stderr", "stdout")
    assert own[0].time_ns == 1795225741224001000  # the journal's, as docker logs prints it; SYSLOG_TIMESTAMP is another
    assert own[-1].text == "x" * 16384 + "y" * 100
    engines = [line for line in lines if line.file == by_container[None].number]
    assert {line.source for line in engines} >= {"dockerd", "containerd", "kubelet", "podman", "systemd"}
    assert any(line.text_raw == b"multi\nline \xff\xfe bytes" for line in engines)


def test_a_damaged_journal_is_one_gap():
    _, _, gaps = run_journal(b"LPKSHHRH" + bytes(300))
    assert [gap.artefact for gap in gaps] == ["journal"]


SYSLOG = b"""\
Dec 31 23:59:58 box dockerd[12]: last of the year
Jan  1 00:00:01 box dockerd[12]: first of the year
Jan  1 00:00:02 box cron[9]: dockerd is not the program
Feb 29 12:00:00 box containerd: a leap day
2024-03-01T10:00:00.5+01:00 box kubelet[1]: with a zone
"""


def test_syslog_lines_and_the_years_that_they_do_not_have():
    found, _ = survey_of({"var": {"log": {"syslog": SYSLOG}}}, timezone="Europe/Vienna")
    fs = found.partitions[0].filesystem
    original = fs.inode
    fs.inode = lambda number: _with_mtime(original(number), 1_709_300_000 * 10**9)
    rows = list(syslog_lines(StoreReader(), host_trees(found), [SimpleNamespace(timezone="Europe/Vienna")], count(1), Budget()))
    file, *lines = rows
    assert (file.format, file.confidence) == ("syslog", "probable")
    assert [(line.source, line.text) for line in lines] == [
        ("dockerd", "last of the year"),
        ("dockerd", "first of the year"),
        ("containerd", "a leap day"),
        ("kubelet", "with a zone"),
    ]  # fmt: skip
    assert [line.time_ns for line in lines] == [
        1_704_063_598 * 10**9, 1_704_063_601 * 10**9, 1_709_204_400 * 10**9, 1_709_283_600_500_000_000,
    ]  # fmt: skip


def _with_mtime(inode, mtime_ns):
    return replace(inode, mtime_ns=mtime_ns)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=120))
def test_any_line_is_a_syslog_line_or_none(line):
    parse_syslog(0, line)
    parse_syslog(0, b"Feb 30 25:61:61 h p: " + line)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 13), st.integers(0, 32), st.integers(0, 25), st.integers(0, 61), st.integers(0, 61))),
    st.integers(-(1 << 63), 1 << 63),
)
def test_years_of_any_clock(clocks, last):
    for zone in (UTC, ZoneInfo("Europe/Vienna")):
        assert len(with_years(clocks, last, zone)) == len(clocks)


@pytest.mark.parametrize("name", ["zstd-compact", "none-regular", "cut"])
def test_a_journal_that_was_walked_over_for_mentions_gives_the_same_lines_without_another_walk(monkeypatch, name):
    raw = journal("zstd-compact")[:-70_000] if name == "cut" else journal(name)
    found, _ = survey_of({"var": {"log": {"journal": {"m" * 32: {"system.journal": raw}}}}})
    alone, after, journals = StoreReader(), StoreReader(), {}
    expected = list(journal_lines(alone, host_trees(found), [], count(1), {}))
    log_mentions(host_trees(found), ["docker"], journals)
    monkeypatch.setattr(JournalFile, "_objects", None)
    assert list(journal_lines(after, host_trees(found), [], count(1), journals)) == expected
    assert [gap.error for gap in after.gaps] == [gap.error for gap in alone.gaps]
    assert expected
