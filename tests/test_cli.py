"""The command line as a whole: help, exit codes, one line for every error, no traceback ever."""

import os
import pty
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forensics import cli
from forensics.commands.tables import LISTINGS
from support.casebuilder import CaseBuilder

LISTED = tuple(listing.name for listing in LISTINGS)
COMMANDS = tuple(command.__name__ for command in cli.COMMANDS)
EXPECTED = (
    "carve", "info", "containers", "images", "layers", "mounts", "volumes", "networks", "stores", "partitions", "gaps", "show",
    "ls", "cat", "extract", "export", "diff", "query",
)  # fmt: skip


@pytest.fixture
def case(tmp_path):
    builder = CaseBuilder(tmp_path / "disk.case.db")
    layer = builder.layer("aaaa1111", kind="container")
    for number in range(3000):
        builder.entry(layer, b"/file-%04d" % number)
    builder.container("8e2a7f125093" + "0" * 52, "web", layer)
    builder.container("8e2b00000000" + "0" * 52, "victim")
    return builder.finish()


def process(*words, program="from forensics.cli import main; main()", **options):
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def failed(capfd, *words):
    """Exit code and the one line of a command that must fail."""
    code = cli.run([str(word) for word in words])
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    return code, printed.err


def test_all_commands_are_there():
    assert set(EXPECTED) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command, capfd):
    assert cli.run([command, "-h"]) == 0
    assert re.search(rf"Examples?: ctrforensics {command} ", capfd.readouterr().out)


def test_each_command_is_summed_up_in_one_line(capfd):
    assert cli.run(["--help"]) == 0
    listed = capfd.readouterr().out.partition("Commands:\n")[2].rstrip().split("\n")
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert not [line for line in listed if line.endswith("...")]


def test_a_bare_call_shows_the_commands_and_is_a_usage_error(capfd):
    assert cli.run([]) == 2
    assert "carve" in capfd.readouterr().out


def test_the_version_is_told(capfd):
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("ctrforensics 0.")


def test_help_does_not_wait_for_what_it_does_not_need():
    heavy = "numpy", "pytsk3", "rich", "construct", "sqlite_utils"
    program = (
        "import sys; from forensics import cli; cli.run(['-h']); print(*(set(sys.argv[1:]) & set(sys.modules)), file=sys.stderr)"
    )
    done = process(*heavy, program=program)
    assert done.communicate()[1].strip() == b""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["frobnicate"], "ctrforensics -h"),
        (["ls"], "ctrforensics ls -h"),
        (["ls", "CASE"], "ctrforensics containers"),
        (["ls", "CASE", "web", "--frob"], "ctrforensics ls -h"),
        (["containers", "CASE", "--format", "xml"], "ctrforensics containers -h"),
        (["containers", "missing.db"], "ctrforensics carve"),
        (["containers", "DIRECTORY"], "directory"),
        (["containers", "TEXT"], "ctrforensics carve"),
        (["containers", "DATABASE"], "no case file"),
        (["carve", "missing.img"], "check the path"),
        (["carve", "DIRECTORY"], "directory"),
        (["carve", "TEXT", "-o", "-"], "-o"),
        (["carve", "TEXT", "-o", "TEXT", "--force"], "-o"),
        (["carve", "TEXT", "-o", "DIRECTORY"], "-o"),
        (["carve", "TEXT", "-o", "/dev/null"], "-o"),
        (["carve", "TEXT", "-o", "DIRECTORY/no/case.db"], "make it first"),
        (["show", "CASE", "nobody"], "ctrforensics containers"),
        (["show", "CASE", "wxb"], "web"),
        (["show", "CASE", "8e2"], "give more of the id"),
        (["show", "CASE", ""], "no container"),
        (["ls", "CASE", "victim"], "gone"),
        (["ls", "CASE", "--layer", "nothing"], "ctrforensics layers"),
        (["ls", "CASE", "web", "/x", "--layer", "aaaa"], "without a CONTAINER"),
        (["ls", "CASE", "web", "/nothing"], "ctrforensics ls"),
        (["cat", "CASE", "web"], "ctrforensics ls"),
        (["cat", "CASE", "web", "/"], "directory"),
        (["cat", "CASE", "web", "/file-0000"], "--image"),
        (["export", "CASE", "web"], "ctrforensics export -h"),
        (["export", "CASE", "extra", "--layer", "aaaa", "-o", "x.tar"], "without a CONTAINER"),
        (["query", "CASE", "selec 1"], "PRAGMA table_list"),
        (["query", "CASE", "DELETE FROM run"], "only read"),
        (["containers", "CASE", "-o", "CASE", "--force"], "-o"),
        (["containers", "CASE", "-o", "TEXT"], "--force"),
    ],
)  # fmt: skip
def test_wrong_requests_end_in_one_line_that_says_what_to_do(words, hint, case, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no SQLite, no disk image")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    stand_ins = {"CASE": case, "DIRECTORY": tmp_path, "TEXT": tmp_path / "text", "DATABASE": tmp_path / "other.db"}
    words = [str(stand_ins.get(word, word)).replace("DIRECTORY", str(tmp_path)) for word in words]
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    code, said = failed(capfd, *words)
    assert code == 2
    assert hint in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_another_schema_is_told_apart(case, capfd):
    with sqlite3.connect(case) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    code, said = failed(capfd, "containers", case)
    assert code == 1
    assert "schema 99" in said


@pytest.mark.parametrize("damage", ["cut", "zeros", "noise"])
def test_a_damaged_case_file_is_one_line(damage, case, capfd):
    data = bytearray(case.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[8192:] = bytes(len(data) - 8192) if damage == "zeros" else os.urandom(len(data) - 8192)
    case.write_bytes(data)
    code, said = failed(capfd, "ls", case, "web", "-R")
    assert code in (1, 2)
    assert "Traceback" not in said


def test_no_damage_to_a_case_file_ends_in_a_traceback(tmp_path, capfd):
    builder = CaseBuilder(tmp_path / "case.db")
    layer = builder.layer("aaaa1111", kind="container")
    for number in range(40):
        builder.entry(layer, b"/f%d" % number, xattrs={"user.a": b"1"}, far={"atime_ns": 2**70})
        builder.entry(layer, b"/d%d" % number, type="c", rdev="7:300")
    number = builder.container("8e" * 32, "web", layer, env='["A=1"]', hostconfig='{"CapAdd": ["ALL"]}')
    builder.change(number, "A", b"/f1")
    whole = builder.finish().read_bytes()
    chance = random.Random(2)
    words = (
        ["show", "web"],
        ["ls", "web", "-lR"],
        ["diff", "web"],
        ["containers"],
        ["layers", "-f", "csv"],
        ["ls", "web", "-f", "json"],
    )
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 10, 100))):
            data[chance.randrange(100, len(data))] ^= 1 << chance.randrange(8)
        builder.path.write_bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        command, *rest = chance.choice(words)
        assert cli.run([command, str(builder.path), *rest]) in (0, 1, 2)
        assert capfd.readouterr().err.count("\n") <= 1


def test_a_full_disk_is_one_line(case, capfd):
    code, said = failed(capfd, "ls", case, "web", "-o", "/dev/full")
    assert code == 1
    assert "No space left" in said


def test_a_reader_that_had_enough_is_no_error(case):
    for words in (["ls", case, "web", "-lR"], ["query", case, "SELECT * FROM files", "-f", "jsonl"], ["containers", case]):
        with process(*words) as child:
            child.stdout.close()
            said = child.stderr.read()
            assert child.wait(60) == 1
        assert said == b""


def test_ctrl_c_stops_even_a_query_that_never_ends(case):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    # a shell that runs the tests in the background has them ignore Ctrl-C, and what they start
    with process("query", case, endless, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as child:
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        _out, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert said == b"ctrforensics: stopped\n"


BROKEN = "from forensics import cli\ndef run(arguments): raise ValueError('\\x1b[31mboo')\ncli.run = run\ncli.main()"


def test_what_nobody_foresaw_is_one_line_too():
    child = process(program=BROKEN)
    _out, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert said.count(b"\n") == 1
    assert b"ValueError: \\x1b[31mboo" in said
    assert b"CTRFORENSICS_TRACEBACK=1" in said


def test_a_developer_gets_the_traceback():
    child = process(program=BROKEN, env=os.environ | {"CTRFORENSICS_TRACEBACK": "1"})
    assert b"Traceback" in child.communicate(timeout=60)[1]


def test_nothing_is_written_to_the_case_file_or_beside_it(case, tmp_path, capfd):
    before, times = case.read_bytes(), case.stat()
    for command in COMMANDS:
        if command in LISTED:
            assert cli.run([command, str(case)]) == 0
    for words in (["ls", case, "web"], ["show", case, "web"], ["diff", case, "web"], ["query", case, "SELECT 1"]):
        assert cli.run([str(word) for word in words]) == 0
    capfd.readouterr()
    assert case.read_bytes() == before
    assert case.stat().st_mtime_ns == times.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == [case.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_case_file_in_wal_mode_is_read_where_nothing_may_be_written(case, tmp_path, capfd):
    with sqlite3.connect(case) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    tmp_path.chmod(0o500)
    try:
        assert cli.run(["containers", str(case)]) == 0
    finally:
        tmp_path.chmod(0o700)


def test_on_a_terminal_hostile_text_is_shown_not_obeyed(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    layer = builder.layer("bbbb")
    builder.entry(layer, b"/\x1b]0;owned\x07\n\xe2\x80\xaetxt.exe")
    builder.container("cc" * 32, "\x1b[2J\u202eweb", layer, image="\x9b31m")
    case = builder.finish()
    plain = (["containers", case], ["ls", case, "cccc"], ["ls", case, "cccc", "-lR"], ["show", case, "cccc"])
    for words in (*plain, ["containers", case, "-f", "json"], ["containers", case, "-f", "csv"], ["diff", case, "no\x1b[2J"]):
        text = on_a_terminal(*words)
        assert not set("\x07\u202e\x9b") & set(text)
        assert "\x1b]" not in text
        assert "\x1b[2J" not in text


def on_a_terminal(*words):
    """What a person would see; styles that we set ourselves, and line ends, are left in."""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "from forensics.cli import main; main()", *map(str, words)]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm", "COLUMNS": "80"}):
        os.close(slave)
        text = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # how Linux tells that the other side is closed
                break
            if not chunk:
                break
            text += chunk
    os.close(master)
    return text.decode()


def test_a_long_job_shows_how_far_it_is(sample, tmp_path):
    seen = on_a_terminal("carve", sample("webshop"), "-o", tmp_path / "case.db", "--hash-image")
    assert "looking for volumes" in seen
    assert "hashing the disk image" in seen
    assert "MB/s" in seen


def test_wide_tables_fit_a_narrow_terminal(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    builder.container("dd" * 32, "a-name-that-is-rather-long-for-a-column", None, image="registry.example.org/team/" + "x" * 90)
    lines = on_a_terminal("containers", builder.finish()).replace("\r", "").split("\n")
    assert max(len(strip_styles(line)) for line in lines) <= 80
    assert "x" * 90 not in "".join(lines)


def strip_styles(line):
    return "".join(part.partition("m")[2] if number else part for number, part in enumerate(line.split("\x1b[")))


def test_the_program_is_installed_under_its_name():
    assert Path(sys.executable).with_name("ctrforensics").exists()
