"""Histories of shells and logs of package managers: what they tell of a container, and how surely."""

import gzip
import shutil
import subprocess
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.case.schema import INDEXES, VIEWS
from forensics.timeline.guest_logs import guest_events
from parsers.package_log import parse_package_log
from parsers.shell_history import MAX_TEXT, parse_history
from support.casebuilder import CaseBuilder

S = 1_000_000_000
NOON = 1_795_262_400 * S  # 2026-11-21T12:00:00Z


def commands(data, shell="bash"):
    return [(c.text, c.time_ns) for c in parse_history(data, shell)]


# -- histories


def test_bash_keeps_a_commands_lines_together_where_it_writes_times():
    data = b"#1795262400\nfor i in 1 2\ndo echo $i\ndone\n#1795262401\nls\n"
    assert commands(data) == [(b"for i in 1 2\ndo echo $i\ndone", NOON), (b"ls", NOON + S)]


def test_bash_without_times_has_a_command_a_line():
    assert commands(b"ls\n# a comment\n\nid") == [(b"ls", None), (b"# a comment", None), (b"id", None)]


def test_a_time_in_the_middle_of_a_history_is_the_next_lines_only():
    assert commands(b"old\n#1795262400\nnew\nold again\n") == [(b"old", None), (b"new", NOON), (b"old again", None)]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not there")
def test_what_bash_itself_wrote(tmp_path):
    history = tmp_path / "history"
    typed = f"HISTFILE={history}; HISTTIMEFORMAT=%s; set -o history\necho one\nif true\nthen echo two\nfi\nhistory -a\n"
    subprocess.run(["bash", "--norc"], input=typed.encode(), check=True, capture_output=True, timeout=60)
    found = commands(history.read_bytes())
    assert [text for text, _ in found][:1] == [b"echo one"]
    assert all(time is not None for _, time in found)
    assert any(b"then echo two" in text for text, _ in found)


def test_zsh():
    data = b": 1795262400:0;echo one\\\ntwo\nplain\n: 1795262401:5;caf\xc3\x83\x89\n"
    assert commands(data, "zsh") == [(b"echo one\ntwo", NOON), (b"plain", None), (b"caf\xc3\xa9", NOON + S)]


def test_fish():
    data = b"- cmd: echo one\\ntwo\n  when: 1795262400\n  paths:\n    - /etc\n- cmd: C:\\\\x\n"
    assert commands(data, "fish") == [(b"echo one\ntwo", NOON), (b"C:\\x", None)]


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=400), st.sampled_from(["bash", "zsh", "fish"]))
def test_any_bytes_are_a_history(data, shell):
    for command in parse_history(data, shell):
        assert len(command.text) <= MAX_TEXT
        assert 0 <= command.position < len(data)


# -- package managers


def actions(text, kind, year=2026):
    return [(a.time_ns, a.local, a.what, a.text) for a in parse_package_log(text.encode(), kind, year)]


def test_dpkg():
    text = """2026-11-21 12:00:00 startup archives unpack
2026-11-21 12:00:00 install curl:amd64 <none> 8.14.1-2
2026-11-21 12:00:01 status half-installed curl:amd64 8.14.1-2
2026-11-21 12:00:01 upgrade tar:amd64 1.34 1.35
2026-11-21 12:00:02 remove vim:amd64 9.1 <none>
"""
    assert actions(text, "dpkg") == [
        (NOON, True, "installed", "curl:amd64 8.14.1-2"), (NOON + S, True, "upgraded", "tar:amd64 1.34 to 1.35"),
        (NOON + 2 * S, True, "removed", "vim:amd64 9.1")]  # fmt: skip


def test_apt():
    text = "\nStart-Date: 2026-11-21  12:00:00\nCommandline: apt-get install -y nmap\nInstall: nmap:amd64 (7.95)\n"
    text += "End-Date: 2026-11-21  12:00:09\n"
    assert actions(text, "apt") == [(NOON, True, "run", "apt-get install -y nmap | Install: nmap:amd64 (7.95)")]


def test_yums_log_tells_no_year():
    text = "Dec 31 23:59:59 Installed: a-1.x86_64\nNov 21 12:00:00 Erased: b\n"
    assert [(a[0], a[2]) for a in actions(text, "yum")] == [(NOON - 325 * 86400 * S + 43199 * S, "installed"), (NOON, "removed")]


def test_dnf_zypper_and_pacman():
    assert actions("2026-11-21T13:00:00+0100 SUBDEBUG Installed: curl-8.9-1.x86_64\n", "dnf") == [
        (NOON, False, "installed", "curl-8.9-1.x86_64")]  # fmt: skip
    text = "2026-11-21 12:00:00|command|root@h|'zypper' 'in' 'x'|\n# comment\n"
    text += "2026-11-21 12:00:01|install|x|1-2|x86_64|root@h|repo|sum|\n"
    assert [(a[0], a[2]) for a in actions(text, "zypp")] == [(NOON, "run"), (NOON + S, "installed")]
    text = "[2026-11-21T12:00:00+0000] [PACMAN] Running 'pacman -S nmap'\n"
    text += "[2026-11-21T12:00:01+0000] [ALPM] installed nmap (7.95-1)\n"
    text += "[2013-01-02 03:04] [ALPM] removed old (1)\n"
    assert [(a[1], a[2], a[3]) for a in actions(text, "pacman")] == [
        (False, "run", "'pacman -S nmap'"), (False, "installed", "nmap (7.95-1)"), (True, "removed", "old (1)")]  # fmt: skip


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=300), st.sampled_from(["dpkg", "apt", "yum", "dnf", "zypp", "pacman"]), st.integers(1970, 9999))
def test_any_text_is_a_package_log(text, kind, year):
    parse_package_log(text.encode("utf-8", "surrogatepass"), kind, year)


@pytest.mark.parametrize("kind", ["dpkg", "apt", "yum", "dnf", "zypp", "pacman"])
def test_days_that_no_month_has_are_left_out(kind):
    text = (
        "2026-02-30 12:00:00 install a <none> 1\nStart-Date: 2026-02-30  12:00:00\nFeb 30 12:00:00 Installed: a\n"
        "2026-02-30T12:00:00Z INFO Installed: a\n2026-02-30 12:00:00|install|a|1\n[2026-02-30 12:00] [ALPM] installed a (1)\n"
    )
    assert actions(text, kind) == []


# -- in a case


class Files:
    """A filesystem of files by inode."""

    def __init__(self, contents):
        self.contents = contents

    def read(self, number, offset=0, size=None):
        return self.contents[number][offset:][:size]


def events_of(tmp_path, files, **container):
    """What a container's files tell: files by path."""
    builder = CaseBuilder(tmp_path / "case.db")
    own = builder.layer("own", None, "container")
    builder.container("a" * 64, "web", own, created_ns=NOON - S, **container)
    contents = {}
    for number, (path, data) in enumerate(files.items(), 100):
        contents[number] = data
        builder.entry(own, path, inode=number, size=len(data), mtime_ns=NOON + 9 * S)
    gaps = []
    with closing(builder.db):
        builder.db.executescript(INDEXES + VIEWS)
        return list(guest_events(builder.db, {1: Files(contents)}, gaps)), gaps


def test_a_history_without_times_is_bounded_by_its_files(tmp_path):
    found, _ = events_of(tmp_path, {b"/root/.ash_history": b"wget http://x/y\n", b"/home/a/.bash_history": b"#1795262400\nid\n"})
    assert [(e.event, e.time_ns, e.confidence, e.path) for e in found] == [
        ("shell command (latest)", NOON + 9 * S, "possible", b"/root/.ash_history"),
        ("shell command", NOON, "probable", b"/home/a/.bash_history")]  # fmt: skip
    assert found[0].message.startswith("wget http://x/y (typed at an unknown time")


def test_local_times_are_read_in_the_containers_zone(tmp_path):
    log = b"2026-11-21 13:00:00 install nmap:amd64 <none> 7.95\n"
    (found,), _ = events_of(tmp_path, {b"/var/log/dpkg.log": log}, env='["TZ=Europe/Vienna"]')
    assert (found.event, found.time_ns) == ("package installed", NOON)
    assert "taken as Europe/Vienna" in found.message


def test_what_happened_before_the_container_is_the_images(tmp_path):
    log = gzip.compress(b"2025-01-01 00:00:00 install base:amd64 <none> 1\n")
    (found,), _ = events_of(tmp_path, {b"/var/log/dpkg.log.2.gz": log})
    assert "before this container was created" in found.message


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "Nowhere/Land", "", ":", "A" * 5000])
def test_a_zone_that_is_none_is_utc(tmp_path, zone):
    log = b"2026-11-21 12:00:00 install nmap:amd64 <none> 7.95\n"
    (found,), _ = events_of(tmp_path, {b"/var/log/dpkg.log": log}, env=f'["TZ={zone}"]')
    assert found.time_ns == NOON


def test_a_log_that_cannot_be_unpacked_is_a_gap(tmp_path):
    found, gaps = events_of(tmp_path, {b"/var/log/dpkg.log.2.gz": b"no gzip", b"/root/.bash_history": b"id\n"})
    assert [e.event for e in found] == ["shell command (latest)"]
    assert [gap.path for gap in gaps] == ["/var/log/dpkg.log.2.gz"]


def test_more_than_can_be_told_is_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr("forensics.timeline.guest_logs.MAX_EVENTS", 3)
    found, gaps = events_of(tmp_path, {b"/a/.bash_history": b"1\n2\n3\n4\n", b"/b/.bash_history": b"5\n"})
    assert [e.message[0] for e in found] == ["1", "2", "3"]
    assert [gap.path for gap in gaps] == ["/a/.bash_history"]


@pytest.mark.parametrize(
    ("bound", "error"),
    [("MAX_COMMANDS", "only its first 2 entries were read"), ("MAX_FILE", "8 bytes long; only its last 2 were read"),
     ("MAX_TOTAL", "more histories and package logs than are read")],
)  # fmt: skip
def test_what_of_a_long_history_is_left_out_is_a_gap(tmp_path, monkeypatch, bound, error):
    monkeypatch.setattr(f"forensics.timeline.guest_logs.{bound}", 2)
    monkeypatch.setattr("parsers.shell_history.MAX_COMMANDS", 2)
    _, gaps = events_of(tmp_path, {b"/a/.bash_history": b"1\n2\n3\n4\n", b"/b/.bash_history": b"5\n"})
    assert error in [gap.error for gap in gaps]
