"""The timeline: what each time means, filters, and the exports that other tools read."""

import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from forensics import cli
from forensics.case.timeline import iso
from forensics.commands import table
from forensics.commands.table import write_table
from forensics.commands.times import parse_time
from forensics.text import utc
from forensics.timeline.all import read_events
from forensics.timeline.copy_up import lower_entries
from forensics.timeline.old_keys import old_key_events
from forensics.timeline.past_configs import past_config_events
from forensics.timeline.removals import removal_events
from parsers.errors import UsageError
from support.casebuilder import CaseBuilder
from support.cli import ask, run_cli
from support.memory_filesystem import MemoryFilesystem

S = 1_000_000_000
README = Path(__file__).resolve().parent.parent.parent / "README.md"
T = 1_795_000_000 * S


def analysed(builder):
    """The case file, with the events that its records and layers tell."""
    for each in lower_entries(builder.db, {}):
        builder.insert("lower_entry", entry_id=each.entry, lower=each.lower, copied=each.copied)
    for event in list(read_events(builder.db, {}, [])):
        path = None if event.path is None else event.path.decode("utf-8", "backslashreplace")
        builder.insert(
            "event", time_ns=event.time_ns, event=event.event, source=event.source, container=event.container, path=path,
            message=event.message, confidence=event.confidence, partition=event.partition, offset=event.offset,
        )  # fmt: skip
    return builder.finish()


@pytest.fixture
def builder(tmp_path):
    made = CaseBuilder(tmp_path / "case.db")
    made.image = made.layer("image")
    made.own = made.layer("own", made.image, "container")
    made.web = made.container("a" * 64, "web", made.own, created_ns=T, started_ns=T + 1, finished_ns=T + 9, image="tiny:1")
    return made


def upper(builder, path, born, **row):
    """An entry of the container's layer. Layers' entries are numbered in one run."""
    number = builder.entry(builder.own, path, crtime_ns=born, atime_ns=born, **({"ctime_ns": born, "mtime_ns": born} | row))
    builder.db.execute("UPDATE layer SET entries = ? - first_entry + 1 WHERE id = ?", (number, builder.own))
    return number


def events(case, condition="1"):
    return ask(case, f"SELECT * FROM timeline WHERE {condition} ORDER BY time_ns, rank")


def run(capfdbinary, *words, expect=0):
    code = cli.run([str(word) for word in words])
    printed = capfdbinary.readouterr()
    assert code == expect, printed.err.decode()
    return printed.out, printed.err.decode()


# -- what the times of files mean


def test_a_files_four_times_are_four_events(builder):
    upper(builder, b"/new", T + 5, mtime_ns=T + 6, ctime_ns=T + 7)
    found = events(analysed(builder), "path = '/new'")
    assert [(e["event"], e["time_ns"] - T) for e in found] == [
        ("file created", 5), ("file accessed", 5), ("file modified", 6), ("file changed", 7)]  # fmt: skip
    assert {e["confidence"] for e in found} == {"certain"}


def test_a_copied_up_file_was_modified_only_if_its_mtime_is_its_own(builder):
    kept = builder.entry(builder.image, b"/kept", mtime_ns=T - 50)
    written = builder.entry(builder.image, b"/written", mtime_ns=T - 50)
    for path, lower, mtime in ((b"/kept", kept, T - 50), (b"/written", written, T + 9)):
        origin = {"trusted.overlay.origin": b""}
        builder.hide(builder.own, lower, "replaced", upper(builder, path, T + 5, mtime_ns=mtime, private=origin))
    case = analysed(builder)
    assert [e["event"] for e in events(case, "path = '/kept' AND source = 'mtime'")] == ["file modified before copy-up"]
    assert [e["event"] for e in events(case, "path = '/written' AND source = 'mtime'")] == ["file modified"]
    (copied,) = events(case, "path = '/kept' AND source = 'crtime'")
    assert copied["event"] == "file copied up"
    assert f"image layer #{builder.image} /kept" in copied["message"]


def test_a_name_made_anew_is_no_copy_up(builder):
    lower = builder.entry(builder.image, b"/etc/passwd", mtime_ns=T - 50)
    builder.hide(builder.own, lower, "replaced", upper(builder, b"/etc/passwd", T + 5))
    linked = builder.entry(builder.image, b"/hard", mtime_ns=T - 50, nlink=2)
    builder.hide(builder.own, linked, "replaced", upper(builder, b"/hard", T + 5))
    found = events(analysed(builder), "source = 'crtime' AND path IN ('/etc/passwd', '/hard')")
    assert [(e["path"], e["event"], e["confidence"]) for e in found] == [
        ("/etc/passwd", "file replaced", "certain"), ("/hard", "file copied up", "possible")]  # fmt: skip


def test_a_time_before_the_files_birth_was_set(builder):
    upper(builder, b"/tmp/tool", T + 5, mtime_ns=T - 500 * S)
    (found,) = events(analysed(builder), "source = 'mtime' AND path = '/tmp/tool'")
    assert (found["event"], found["confidence"]) == ("file time set back", "possible")


def whiteout(builder, path, born, changed, **row):
    lower = builder.entry(builder.image, path)
    number = upper(builder, path, born, ctime_ns=changed, type="c", mark="whiteout", rdev="0:0", **row)
    builder.hide(builder.own, lower, "whiteout", number)


@pytest.mark.parametrize(
    ("born", "changed", "directory", "expected"),
    [
        (5, 5, (1, 5), [("file deleted", 5, "certain")]),
        # a shared whiteout: born at another deletion, changed by the next mount
        (3, 90, (4, 8), [("file deleted (earliest)", 4, "certain"), ("file deleted (latest)", 8, "probable")]),
        (3, 90, (5, 5), [("file deleted", 5, "probable")]),
        (6, 7, (2, 40), [("file deleted (earliest)", 6, "certain"), ("file deleted (latest)", 7, "certain")]),
        # the directory's time was set back, so that it bounds nothing
        (6, 7, (2, 3), [("file deleted (earliest)", 6, "certain"), ("file deleted (latest)", 7, "certain")]),
    ],
)
def test_a_deletion_has_bounds_that_may_meet(builder, born, changed, directory, expected):
    upper(builder, b"/d", T + directory[0], type="d", mtime_ns=T + directory[1])
    whiteout(builder, b"/d/gone", T + born, T + changed)
    found = events(analysed(builder), "event LIKE '% deleted%'")
    assert [(e["event"], e["time_ns"] - T, e["confidence"]) for e in found] == expected
    assert {e["path"] for e in found} == {"/d/gone"}


def test_a_directory_made_anew_bounds_the_old_ones_deletion(builder):
    upper(builder, b"/usr", T + 4, type="d")
    made = upper(builder, b"/usr/doc", T + 6, type="d")
    for path in (b"/usr/doc", b"/usr/doc/file"):
        builder.hide(builder.own, builder.entry(builder.image, path, type="d"), "opaque", made)
    found = events(analysed(builder), "event LIKE '% deleted%'")
    assert [(e["path"], e["event"], e["time_ns"] - T) for e in found] == [
        ("/usr/doc", "directory deleted (earliest)", 4), ("/usr/doc", "directory deleted (latest)", 6)]  # fmt: skip


# -- what records tell


def test_a_containers_life(builder):
    config = {"State": {"Health": {"Log": [
        {"Start": "2026-11-18T11:00:00Z", "End": "2026-11-18T11:00:01.5Z", "ExitCode": 1, "Output": "refused"}]}}}  # fmt: skip
    builder.container(
        "b" * 64, "db", None, state="exited", exit_code=137, oom_killed=1, created_ns=T, started_ns=T + 1, finished_ns=T + 2,
        config=json.dumps(config), source_path="/c/config.v2.json", source_partition=1, source_offset=77,
    )  # fmt: skip
    builder.container("c" * 64, "now", None, state="running", created_ns=T, started_ns=T + 8, finished_ns=T + 4)
    builder.container("d" * 64, "torn", None, state="running", exit_code=None, started_ns=T + 8, finished_ns=T + 9)
    case = analysed(builder)
    found = events(case, "container = 'db'")
    assert sorted(e["event"] for e in found) == [
        "container created", "container exited", "container out of memory", "container started", "health check"]  # fmt: skip
    assert {(e["source"], e["partition"], e["offset"]) for e in found} == {("docker config.v2.json", 1, 77)}
    assert "exit code 137" in next(e["message"] for e in found if e["event"] == "container exited")
    assert "unhealthy, exit code 1: refused" in {e["message"] for e in found}
    (earlier,) = events(case, "container = 'now' AND event = 'container exited'")
    assert "the run before" in earlier["message"]
    assert [e["message"] for e in events(case, "container = 'torn' AND event = 'container exited'")] == [
        "torn: an unknown exit code"
    ]


def test_a_step_that_images_share_is_one_event(builder):
    steps = [{"created_ns": T, "created_by": "sh -c make", "comment": None, "author": None, "empty": False}]
    for number in (1, 2):
        builder.insert(
            "container_image", store_id=builder.store, engine="docker", image_id=f"sha256:{number:064x}",
            refs=f'["app:{number}"]', created_ns=T + number, layers="[]", history=json.dumps(steps), origin="allocated",
        )  # fmt: skip
    case = analysed(builder)
    (step,) = events(case, "event = 'image history step'")
    assert "app:1, app:2: sh -c make" in step["message"]
    assert len(events(case, "event = 'image created'")) == 2


def test_deleted_files_and_log_lines_are_in_the_view(builder):
    builder.insert(
        "deleted_file", container=builder.web, layer_id=builder.own, partition=1, path="/tmp/x", type="f", mode=0o644, size=5,
        mtime_ns=T + 3, deleted_ns=T + 4, deleted_means="before", inode=99, method="journal", confidence="probable",
        offset=4096,
    )  # fmt: skip
    log = builder.insert("log_file", container=builder.web, format="json-file", partition=1, path="/x.log", origin="allocated")
    builder.insert("log_line", file=log, container=builder.web, time_ns=T + 2, stream="stdout", text="hello")
    case = analysed(builder)
    assert [(e["event"], e["confidence"]) for e in events(case, "path = '/tmp/x'")] == [
        ("deleted file modified", "probable"), ("file deleted (latest)", "probable")]  # fmt: skip
    (line,) = events(case, "event = 'log line'")
    assert (line["message"], line["source"], line["container"]) == ("hello", "json-file stdout", "web")


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


# -- what engines and kernels wrote


def test_events_of_a_real_host_are_in_the_order_of_its_life(carved):
    case = carved("webshop")
    started = "SELECT name FROM containers WHERE started_ns IS NOT NULL AND origin = 'allocated'"
    for name in (row["name"] for row in ask(case, started)):
        times = {e["event"]: e["time_ns"] for e in events(case, f"container = '{name}' AND source NOT LIKE '%time'")}
        assert times["container created"] < times["container layer created"] < times["container started"]
        assert times["container layer created"] < times["layer first mounted (earliest)"] <= times["layer last mounted"]


def test_no_deletion_is_bounded_by_nonsense(carved):
    for name in ("webshop", "powercut", "podhost", "snapshots"):
        found = ask(carved(name), "SELECT container_number, path, event, time_ns FROM timeline WHERE event LIKE '% deleted (%'")
        bounds = {(e["container_number"], e["path"], e["event"].endswith("(latest)")): e["time_ns"] for e in found}
        for (container, path, is_latest), ns in bounds.items():
            if is_latest and (container, path, False) in bounds:
                assert bounds[container, path, False] < ns, path


def test_two_runs_give_the_same_timeline(carved, sample, tmp_path):
    again = tmp_path / "again.db"
    run_cli("carve", sample("webshop"), "-o", again)
    assert run_cli("timeline", again, "-f", "jsonl") == run_cli("timeline", carved("webshop"), "-f", "jsonl")


# -- pulls


def test_pulled_layers_are_told_by_what_docker_rmi_leaves(builder):
    details = {"repositories": "docker.io/library/nginx", "digests": "sha256:aa"}
    labels = {"containerd.io/distribution.source.docker.io": "library/redis", "size": "5"}
    for kind, told, name in (("pulled layer", details, "sha256:11"), ("content", labels, "sha256:22")):
        builder.insert(
            "artefact", store_id=builder.store, engine="docker", kind=kind, name=name, time_ns=T, details=json.dumps(told),
            origin="allocated",
        )  # fmt: skip
    found = {e["event"]: e["message"] for e in events(analysed(builder), "time_ns = " + str(T))}
    assert "from docker.io/library/nginx" in found["image layer pulled"]
    assert "from docker.io/library/redis" in found["content ingested"]


# -- times that somebody set


def suspected(case):
    return [(e["path"], e["confidence"], e["time_ns"] - T) for e in events(case, "event = 'timestomp suspected'")]


def birth_of_layer(builder):
    builder.db.execute("UPDATE entry SET crtime_ns = ? WHERE layer_id = ? AND path = '/'", (T, builder.own))


def test_a_time_before_the_layer_is_pointed_out_when_it_was_set(builder):
    birth_of_layer(builder)
    old = T - 500 * S
    upper(builder, b"/tmp/.tool", T + 5, mtime_ns=old, ctime_ns=T + 6)
    upper(builder, b"/opt/kept", T + 5, mtime_ns=T - S // 2)  # cp -p by a program that keeps whole seconds
    future = upper(builder, b"/future", T + 5, mtime_ns=T + 9 * S)
    case = analysed(builder)
    assert future and suspected(case) == [("/future", "probable", 5), ("/tmp/.tool", "possible", 6)]
    (found,) = events(case, "event = 'timestomp suspected' AND path = '/tmp/.tool'")
    assert utc(old) in found["message"]
    assert "in whole seconds" in found["message"]


def test_a_changed_file_with_the_images_time_is_pointed_out_and_an_unchanged_one_is_not(builder):
    birth_of_layer(builder)
    for path, size in ((b"/kept", 5), (b"/trojan", 6)):
        lower = builder.entry(builder.image, path, mtime_ns=T - 500 * S, size=5)
        origin = {"trusted.overlay.origin": b""}
        number = upper(builder, path, T + 5, mtime_ns=T - 500 * S, size=size, private=origin)
        builder.hide(builder.own, lower, "replaced", number)
    assert suspected(analysed(builder)) == [("/trojan", "probable", 5)]


def test_what_an_archive_held_is_one_event_but_for_the_odd_file_among_it(builder):
    birth_of_layer(builder)
    for number in range(30):
        upper(builder, f"/opt/app/f{number}".encode(), T + 5 + number, mtime_ns=T - 500 * S)
    upper(builder, b"/tmp/.x", T + 40, mtime_ns=T - 500 * S)
    case = analysed(builder)
    assert suspected(case) == [("/tmp/.x", "possible", 40)]
    (unpacked,) = events(case, "event = 'files unpacked'")
    assert unpacked["message"].startswith("30 files")


# -- removals


@pytest.mark.parametrize(("changed", "expected"), [(T + S, []), (T + 9 * S, ["container removed"])])
def test_a_directory_that_changed_after_all_containers_were_made_tells_a_removal(builder, changed, expected):
    class Disk(MemoryFilesystem):
        def inode(self, number):
            return replace(super().inode(number), mtime_ns=changed)

    disk = Disk({"docker": {"containers": {}}})
    builder.db.execute("UPDATE partition SET mount_point = '/var/lib'")
    with closing(builder.db):
        found = list(removal_events(builder.db, {1: disk}))
    assert [event.event for event in found] == expected


# -- deleted versions of config.v2.json


def version(builder, container_id, written, **state):
    """A deleted version of a container's configuration. state: as Docker has it, but for `name` and `gone`."""
    gone = state.pop("gone", None)
    config = {"ID": container_id, "Name": "/" + state.pop("name", "web"), "Created": stamp(1), "State": state}
    data = json.dumps(config).encode()
    builder.insert(
        "deleted_file", partition=1, path=f"/docker/containers/{container_id}/config.v2.json", type="f", mode=0o600,
        size=len(data), crtime_ns=T + written * S, inode=50, recovered_bytes=len(data), method="journal", confidence="certain",
        inline=data, deleted_ns=None if gone is None else T + gone * S, deleted_means=None if gone is None else "at",
    )  # fmt: skip


def stamp(seconds):
    return utc(T + seconds * S)


def past(builder):
    with closing(builder.db):
        disk = MemoryFilesystem({})
        return [
            (e.event, (e.time_ns - T) / S, e.message, e.container) for e in past_config_events(builder.db, {1: disk})
        ]  # fmt: skip


def test_old_configurations_tell_earlier_runs_and_names(builder):
    version(builder, "a" * 64, 2, name="old", Running=True, StartedAt=stamp(2))
    version(builder, "a" * 64, 4, Running=True, StartedAt=stamp(2))
    version(builder, "a" * 64, 6, Running=False, StartedAt=stamp(2), FinishedAt=stamp(6), ExitCode=7)
    version(builder, "a" * 64, 8, Running=True, StartedAt=stamp(8), FinishedAt=stamp(6))
    assert past(builder) == [
        ("container started", 2, "old: a run was seen to have started", builder.web),
        ("container exited", 6, "web: the end of a run, exit code 7", builder.web),
        ("container started", 8, "web: a run was seen to have started", builder.web),
        ("container renamed", 4, "web: was called old before", builder.web),
    ]


def test_a_removed_containers_configurations_tell_its_whole_life(builder):
    version(builder, "d" * 64, 3, name="gone", Running=False, StartedAt=stamp(2), FinishedAt=stamp(3), ExitCode=0, gone=9)
    assert [(event, time, container) for event, time, _, container in past(builder)] == [
        ("container created", 1, None), ("container started", 2, None), ("container exited", 3, None),
        ("container removed", 9, None)]  # fmt: skip


def test_a_block_that_another_file_has_now_tells_nothing(builder):
    version(builder, "a" * 64, 3, Running=True, StartedAt=stamp(2))
    builder.db.execute("UPDATE deleted_file SET path = replace(path, 'a', 'b')")
    version(builder, "c" * 64, 3, Running=True, StartedAt=stamp(2))
    builder.db.execute("UPDATE deleted_file SET inline = x'00000000', size = 4, recovered_bytes = 4 WHERE path LIKE '%ccc%'")
    assert past(builder) == []


def test_old_bolt_keys_tell_of_records_that_are_gone(builder):
    moment = bytes.fromhex("010000000EE292EFB813E5968FFFFF")
    for bucket, state in (
        (["v1", "default", "snapshots", "overlayfs", "doomed"], "stale"),
        (["v1", "default", "content", "blob", "sha256:1"], "live"),
        ([], "stale"),
        (["v1", "default", "containers", "a" * 64], "previous"),
    ):  # fmt: skip
        for key, value in (("createdat", moment), ("updatedat", moment), ("size", b"12345678901234567")):
            builder.insert(
                "bolt_key", file="/x/meta.db", bucket=json.dumps(bucket), key=key, value=value, value_bytes=len(value), page=5,
                offset=99, state=state, partition=1,
            )  # fmt: skip
    with closing(builder.db):
        found = [(e.event, e.confidence, e.container, e.source) for e in old_key_events(builder.db)]
    assert found == [
        ("snapshot created", "probable", None, "stale key of meta.db"),
        ("record created", "possible", None, "stale key of meta.db"),
        ("container created", "probable", builder.web, "previous key of meta.db"),
    ]


# -- layers of other kinds


def test_fuse_overlayfs_marks_one_name_each_and_a_directorys_own_mark_is_no_deletion(builder):
    builder.db.execute("UPDATE layer SET marks = 'fuse' WHERE id = ?", (builder.own,))
    upper(builder, b"/d", T + 4, type="d", mtime_ns=T + 5)
    upper(builder, b"/d/.wh..wh..opq", T + 5, mark="whiteout")
    upper(builder, b"/d/.wh..opq", T + 5, mark="whiteout", type="c")
    number = upper(builder, b"/d/.wh.gone", T + 5, mark="whiteout")
    builder.hide(builder.own, builder.entry(builder.image, b"/d/gone"), "whiteout", number)
    found = events(analysed(builder), "event LIKE '% deleted%'")
    assert [(e["path"], e["event"]) for e in found] == [("/d/gone", "file deleted")]


def test_a_whole_root_filesystem_is_the_engines_copy(builder):
    builder.db.execute("UPDATE layer SET stacked = 0 WHERE id = ?", (builder.own,))
    upper(builder, b"/bin/sh", T + 5, mtime_ns=T - 500 * S)
    found = {e["source"]: (e["event"], e["confidence"]) for e in events(analysed(builder), "path = '/bin/sh'")}
    assert found["crtime"] == ("file created", "possible")
    assert found["mtime"] == ("file modified before copy-up", "possible")


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


# -- the README


@pytest.mark.parametrize("name", ["webshop", "powercut", "torture", "podhost", "snapshots"])
def test_each_event_is_told_in_the_readme(carved, name):
    readme = README.read_text(encoding="utf-8")
    kinds = re.compile(r"^(deleted )?(?:directory|symlink|device|fifo|socket|inode) ")
    for row in ask(carved(name), "SELECT DISTINCT event FROM timeline"):
        event = re.sub(r" \((?:earliest|latest)\)$", "", kinds.sub(r"\1file ", row["event"]))
        assert f"`{event}`" in readme or f"`{event} (latest)`" in readme or f"`{event} (earliest)`" in readme, row["event"]
