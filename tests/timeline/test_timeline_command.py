"""The command timeline: filters, and the exports that other tools read."""

import csv
import io
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from rich.console import Console

from forensics.case.timeline import iso
from forensics.commands import table
from forensics.commands.table import write_table
from forensics.commands.times import parse_time
from forensics.text import utc
from parsers.errors import UsageError
from support.cli import ask, run_cli
from support.timelines import S, T, analysed, run, upper, whiteout

# -- the command


def test_filters(builder, capfdbinary):
    for name in (b"/tmp/a", b"/tmp/b", b"/srv/c"):
        upper(builder, name, T + 5 * S)
    case = analysed(builder)

    def listed(*words):
        out, _ = run(capfdbinary, "timeline", case, "-f", "jsonl", *words)
        return [json.loads(line) for line in out.splitlines()]

    assert {e["path"] for e in listed("--path", "/tmp/*")} == {"/tmp/a", "/tmp/b"}
    assert {e["event"] for e in listed("--event", "file c*", "--event", "container exited")} == {
        "file created", "file changed", "container exited"}  # fmt: skip
    since, until = str(T // S + 5), utc(T + 5 * S)
    assert {e["time_ns"] for e in listed("--since", since, "--until", until)} == {T + 5 * S}
    assert listed("--until", "1970-01-01") == []
    assert {e["container"] for e in listed("-c", "web")} == {"web"}
    run(capfdbinary, "timeline", case, "-c", "nobody", expect=2)
    _, said = run(capfdbinary, "timeline", case, "--since", "2h", expect=2)
    assert "is no time" in said


def test_a_table_has_one_row_for_one_file_at_one_time(builder, capfdbinary):
    upper(builder, b"/new", T + 5)
    out, _ = run(capfdbinary, "timeline", analysed(builder), "--path", "/new")
    assert out.decode().splitlines()[1].split("  ")[2:] != []
    assert b"file created, modified, changed, accessed" in out
    assert out.count(b"/new") == 1


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T00:00:00Z", "2026-11-21 01:00+01:00", "@1795219200", "1795219200.0"])
def test_times_are_read_as_people_write_them(text):
    assert parse_time(text) == 1_795_219_200 * S


@pytest.mark.parametrize("text", ["", "yesterday", "2h", "2026-13-01", "2026-11-21T25:00", "٢٠٢٦-11-21", "99999999999999"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError):
        parse_time(text)


@pytest.mark.parametrize("ns", [0, 1, -1, T + 123_456_789, -5 * S - 1, 253_402_300_799 * S + 999_999_999, -62_135_596_800 * S])
def test_sql_writes_times_as_we_do(ns):
    with closing(sqlite3.connect(":memory:")) as db:
        if -(1 << 63) <= ns < 1 << 63:
            assert db.execute(f"SELECT {iso('t')} FROM (SELECT ? AS t)", (ns,)).fetchone()[0] == utc(ns)


# -- exports


@pytest.fixture
def hostile(builder):
    """Names and texts that would be formulas, fields, escape codes or other lines."""
    for name in (b"/=1+1", b"/a|b", b"/100%41", b"/new\nline", b"/esc\x1b[31m", b"/\xff\xfe", "/bidi\u202eexe".encode(), b"/-rf"):
        upper(builder, name, T + 5)
    upper(builder, b"/link", T + 5, target=b"to|there")
    log = builder.insert("log_file", format="journald", partition=1, path="+x", origin="allocated")
    builder.insert("log_line", file=log, time_ns=T, text="=cmd|' /C calc'!A0", source="@dockerd")
    whiteout(builder, b"/gone", T + 5, T + 6)
    return analysed(builder)


def test_a_csv_has_no_formula(hostile, capfdbinary):
    for form in ("csv", "l2tcsv"):
        out, _ = run(capfdbinary, "timeline", hostile, "-f", form)
        rows = list(csv.reader(io.StringIO(out.decode(), newline="")))
        assert len({len(row) for row in rows}) == 1
        assert [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")] == []
        assert len(rows) == ask(hostile, "SELECT count(*) AS n FROM timeline")[0]["n"] + 1


def test_l2tcsv_has_the_header_that_its_readers_know(hostile, capfdbinary):
    out, _ = run(capfdbinary, "timeline", hostile, "-f", "l2tcsv")
    head = b"date,time,timezone,MACB,source,sourcetype,type,user,host,short,desc,version,filename,inode,notes,format,extra"
    assert out.splitlines()[0] == head


def test_timesketch_has_its_fields_in_every_line(hostile, capfdbinary):
    out, _ = run(capfdbinary, "timeline", hostile, "-f", "timesketch")
    lines = out.decode().split("\n")[:-1]
    assert len(lines) == ask(hostile, "SELECT count(*) AS n FROM timeline")[0]["n"]
    for line in lines:
        event = json.loads(line)
        assert event["message"] and event["timestamp_desc"]
        assert event["datetime"].endswith("+00:00")
        assert event["timestamp"] == event["time_ns"] // 1000


def test_the_body_file_is_one_line_a_file(hostile, capfdbinary):
    out, _ = run(capfdbinary, "timeline", hostile, "-f", "bodyfile")
    fields = [line.split(b"|") for line in out.splitlines()]
    assert {len(each) for each in fields} == {11}
    names = {each[1] for each in fields}
    assert names >= {
        b"web:/a%7Cb",
        b"web:/100%2541",
        b"web:/new%250Aline",
        b"web:/esc%1B[31m",
        b"web:/%FF%FE",
        b"web:/gone (whiteout)",
    }
    assert b"web:/link -> to%7Cthere" in names
    run(capfdbinary, "timeline", hostile, "-f", "bodyfile", "--event", "file*", expect=2)


@pytest.mark.skipif(not shutil.which("mactime"), reason="mactime (sleuthkit) is not there")
def test_mactime_reads_the_body_file_whole(carved, tmp_path):
    case, body = carved("webshop"), tmp_path / "body"
    run_cli("timeline", case, "-f", "bodyfile", "-o", body)
    done = subprocess.run(["mactime", "-b", body, "-d", "-y", "-z", "UTC"], capture_output=True, check=True, timeout=120)
    assert done.stderr == b""
    rows = csv.reader(io.StringIO(done.stdout.decode("utf-8", "surrogateescape"), newline=""))
    read = [row for row in rows if row][1:]
    written = [line.split(b"|") for line in body.read_bytes().splitlines()]
    assert any(b"%250A" in fields[1] for fields in written)
    assert len(read) == len({(fields[1], fields[2], int(time)) for fields in written for time in fields[7:11] if int(time) >= 0})


def test_a_long_table_is_as_rich_would_print_it(monkeypatch):
    rows = [[f"{n}", "日本" * (n % 3), "[b]x[/b]", None if n % 2 else "a\nb  "] for n in range(40)]
    columns = ["number", "Länge", "x", "y"]
    ours, theirs = io.BytesIO(), io.BytesIO()
    write_table(rows, columns, ours, False)
    monkeypatch.setattr(table, "_plain", as_rich_prints)
    write_table(rows, columns, theirs, False)
    assert ours.getvalue() == theirs.getvalue()


def as_rich_prints(rows, columns, widths, with_head):
    text = io.StringIO()
    printed = table._table(rows, columns, table._least_widths(rows, columns), with_head=with_head)
    Console(file=text, width=table.NO_FOLD, highlight=False).print(printed)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()).encode()
