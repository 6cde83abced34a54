"""Each command by hand, as it were, on disks that Docker wrote."""

import hashlib
import json
import re
import shlex
import shutil
import sqlite3
import tarfile
from contextlib import closing

import pytest

from forensics import cli
from reports.summary import summarise
from support.casebuilder import CaseBuilder
from support.cli import ask, run_cli


def run(capfdbinary, *words, expect=0):
    """Stdout and stderr of a command in this process."""
    code = cli.run([str(word) for word in words])
    printed = capfdbinary.readouterr()
    assert code == expect, printed.err.decode()
    return printed.out, printed.err.decode()


@pytest.fixture(scope="module")
def shop(carved):
    return carved("webshop")


@pytest.fixture(scope="module")
def busiest(shop):
    """The container with the most changes."""
    return ask(shop, "SELECT container_id, name FROM containers ORDER BY changes DESC LIMIT 1")[0]


def test_carve_makes_its_case_file_here_and_ends_with_commands_that_work(sample, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, err = run(capfdbinary, "carve", sample("webshop"))
    assert [path.name for path in tmp_path.iterdir()] == ["webshop.img.case.db"]
    assert err == ""
    text = out.decode()
    names = [row["name"] for row in ask(tmp_path / "webshop.img.case.db", "SELECT coalesce(name, '') AS name FROM containers")]
    for known in ("Debian GNU/Linux 13", "docker", "overlay2", "webshop.img.case.db", "none: everything", *names):
        assert known in text
    proposed = re.findall(r"^(?:next)?\s+(ctrforensics .*)$", text, re.MULTILINE)
    assert len(proposed) >= 4
    for command in proposed:
        run(capfdbinary, *shlex.split(command)[1:])


def test_carve_replaces_nothing_without_force(sample, tmp_path, capfdbinary):
    case = tmp_path / "case.db"
    case.write_text("mine")
    _out, err = run(capfdbinary, "carve", sample("torture"), "-o", case, expect=2)
    assert "--force" in err
    assert case.read_text() == "mine"
    run(capfdbinary, "carve", sample("torture"), "-o", case, "--force")
    assert ask(case, "SELECT count(*) AS n FROM containers")[0]["n"] > 0


def test_a_carve_with_gaps_says_so(sample, tmp_path, capfdbinary):
    cut = tmp_path / "cut.img"
    data = sample("webshop").read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    out, _err = run(capfdbinary, "carve", cut, "-o", tmp_path / "case.db", expect=3)
    assert b"could not be read" in out
    gaps, _err = run(capfdbinary, "gaps", tmp_path / "case.db", "-f", "jsonl")
    assert gaps.count(b"\n") == ask(tmp_path / "case.db", "SELECT count(*) AS n FROM gaps")[0]["n"] > 0


def test_the_summary_tells_how_many_containers_it_leaves_out(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    for number in range(32):
        builder.container(f"{number:064x}", f"c{number}", None)
    builder.insert("gap", artefact="inode", error="damaged")
    with closing(sqlite3.connect(builder.finish())) as db:
        summary = summarise(db, tmp_path / "case.db")
    assert len(summary.containers) == 1 + 30
    assert ("containers", "32 in all, 2 more than are listed here") in summary.after
    assert ("gaps", "1 thing could not be read") in summary.after


def test_a_carve_that_is_stopped_leaves_nothing(sample, tmp_path, capfdbinary, monkeypatch):
    def stopped(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("forensics.pipeline.survey", stopped)
    _out, err = run(capfdbinary, "carve", sample("torture"), "-o", tmp_path / "case.db", expect=130)
    assert err == "ctrforensics: stopped\n"
    assert list(tmp_path.iterdir()) == []


def test_info_shows_what_is_there_without_writing(sample, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, _err = run(capfdbinary, "info", sample("webshop"))
    assert b"docker" in out
    assert b"ext4" in out
    rows = [json.loads(line) for line in run(capfdbinary, "info", sample("webshop"), "-f", "jsonl")[0].splitlines()]
    assert [row["number"] for row in rows] == sorted(row["number"] for row in rows)
    (store,) = [store for row in rows for store in row["stores"] if store["engine"] == "docker"]
    assert store["containers"] >= 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("view", ["containers", "images", "layers", "mounts", "networks", "stores", "partitions", "gaps"])
def test_listings_give_every_column_of_their_view(view, shop, capfdbinary):
    rows = [json.loads(line) for line in run(capfdbinary, view, shop, "-f", "jsonl")[0].splitlines()]
    told = ask(shop, f"SELECT * FROM {view}")
    assert len(rows) == len(told)
    assert all(row.keys() == told[0].keys() for row in rows)
    table, _err = run(capfdbinary, view, shop)
    assert table.count(b"\n") == len(told) + 1


def test_containers_of_one_id_in_two_namespaces_are_told_apart(tmp_path, capfdbinary):
    builder = CaseBuilder(tmp_path / "case.db")
    for namespace in ("default", "other"):
        builder.container("same", "web", engine="containerd", namespace=namespace)
    table, _err = run(capfdbinary, "containers", builder.finish())
    assert [row.split()[:4] for row in table.decode().splitlines()[1:]] == [
        ["same", "web", "containerd", "default"], ["same", "web", "containerd", "other"],
    ]  # fmt: skip


def test_a_listing_of_nothing_says_so(tmp_path, capfdbinary):
    out, err = run(capfdbinary, "gaps", CaseBuilder(tmp_path / "case.db").finish())
    assert (out.split(), err) == ([b"artefact", b"partition", b"path", b"offset", b"error"], "there is none in this case\n")


def test_a_volume_names_its_containers(tmp_path, capfdbinary):
    builder = CaseBuilder(tmp_path / "case.db")
    builder.container("c" * 64, "web")
    used = json.dumps(["c" * 64, "d" * 64])  # the second one's record is gone
    builder.insert(
        "volume", store_id=builder.store, engine="docker", name="data", used_by=used, origin="allocated", labels=None, path=None
    )
    out, _err = run(capfdbinary, "volumes", builder.finish())
    assert out.splitlines()[1].split() == [b"data", b"docker", b"web,", b"d" * 12]


def test_env_labels_and_commands_are_json_in_json(shop, capfdbinary):
    rows = json.loads(run(capfdbinary, "containers", shop, "-f", "json")[0])
    for row in (row for row in rows if row["origin"] == "allocated"):
        assert isinstance(row["command"], list)
        assert isinstance(row["env"], list)
        assert isinstance(row["labels"], dict)


def test_show_tells_everything_about_one_container(shop, busiest, capfdbinary):
    out, _err = run(capfdbinary, "show", shop, busiest["container_id"][:12])
    text = out.decode()
    row = ask(shop, f"SELECT * FROM containers WHERE container_id = '{busiest['container_id']}'")[0]
    for known in (row["image"], row["image_id"], row["layer"], row["log_path"], row["source"], row["state"]):
        assert known in text
    record = json.loads(run(capfdbinary, "show", shop, busiest["name"], "-f", "json")[0])[0]
    assert [layer["kind"] for layer in record["layer_chain"]][:2] == ["container", "init"]
    assert sum(change["count"] for change in record["change_counts"]) == row["changes"]
    assert {mount["destination"] for mount in record["mounts"]} >= {
        mount["destination"]
        for mount in ask(shop, f"SELECT destination FROM mounts WHERE container_id = '{busiest['container_id']}'")
    }


NOWHERE = {
    "none": "its log driver is none: what it wrote was kept nowhere",
    "journald": "its log driver is journald: its lines went to systemd's journal, and none of them is in a journal on this disk",
    "json-file": "its log driver is json-file, its file /var/log/c.log",
    "passthrough": "its log driver is passthrough: its lines went where those of Podman itself went; of a unit, to systemd's"
    " journal",
    "syslog": "its log driver is syslog: its lines went to where that sends them (syslog-address=udp://10.0.0.9:514, tag=web)",
    None: "how it was logged is not known",
}


@pytest.mark.parametrize("driver", NOWHERE)
def test_where_the_lines_are_that_the_case_has_not(driver, tmp_path, capfdbinary):
    options = {"tag": "web", "syslog-address": "udp://10.0.0.9:514"} if driver == "syslog" else {}
    hostconfig = json.dumps({"LogConfig": {"Type": driver, "Config": options}})
    builder = CaseBuilder(tmp_path / "case.db")
    builder.container("c" * 64, "web", log_driver=driver, log_path="/var/log/c.log", hostconfig=hostconfig)
    case = builder.finish()
    out, err = run(capfdbinary, "logs", case, "web")
    assert (out, err) == (b"", f"web: the case has no line of it; {NOWHERE[driver]}\n")
    assert (b"syslog-address=udp://10.0.0.9:514, tag=web" in run(capfdbinary, "show", case, "web")[0]) == bool(options)


def test_health_is_told_as_of_the_record(tmp_path, capfdbinary):
    builder = CaseBuilder(tmp_path / "case.db")
    for name, state in (("sick", {"Health": {"Status": "unhealthy"}}), ("odd", {"Health": 1}), ("none", {})):
        builder.container(name * 16, name, config=json.dumps({"State": state}))
    case = builder.finish()
    told = {name: run(capfdbinary, "show", case, name)[0].decode() for name in ("sick", "odd", "none")}
    assert "health          unhealthy, when the record was written" in told["sick"]
    assert "health" not in told["odd"] + told["none"]


def test_ls_names_what_the_files_view_has(shop, busiest, capfdbinary):
    found = ask(shop, f"SELECT path, size, sha256 FROM files WHERE container_id = '{busiest['container_id']}'")
    out, _err = run(capfdbinary, "ls", shop, busiest["name"], "-R")
    assert sorted(out.decode().splitlines()) == sorted(row["path"].replace("\n", "\\n") for row in found)
    top = {row["path"][1:] for row in found if row["path"].count("/") == 1} - {""}
    assert set(run(capfdbinary, "ls", shop, busiest["name"])[0].decode().splitlines()) == top
    rows = [json.loads(line) for line in run(capfdbinary, "ls", shop, busiest["name"], "-R", "-f", "jsonl")[0].splitlines()]
    assert {(row["path"], row["size"], row["sha256"]) for row in rows} == {(r["path"], r["size"], r["sha256"]) for r in found}
    assert all(row["xattrs"] is None or isinstance(row["xattrs"], dict) for row in rows)
    flat = [json.loads(line) for line in run(capfdbinary, "ls", shop, busiest["name"], "/", "-f", "jsonl")[0].splitlines()]
    assert {row["path"][1:] for row in flat} == top
    long = run(capfdbinary, "ls", shop, busiest["name"], "/", "-l")[0].decode().splitlines()
    assert all(re.match(r"[-dlcbps][-rwxsStT]{9} +\d+ +\d+ +\d+ +(\d+|\d+, \d+) +\S+Z \S", line) for line in long)


def test_cat_gives_the_bytes_that_were_hashed(shop, capfdbinary):
    query = (
        "SELECT container_id AS container, path, sha256 FROM files WHERE type = 'f' AND size > 0 AND path_raw IS NULL"
        " ORDER BY size DESC LIMIT 20"
    )
    for row in ask(shop, query):
        out, _err = run(capfdbinary, "cat", shop, row["container"], row["path"])
        assert hashlib.sha256(out).hexdigest() == row["sha256"]


def test_every_name_that_is_listed_can_be_asked_for(shop, capfdbinary):
    """Copied from the output as it stands, bytes that are not UTF-8 and line breaks included."""
    odd = list(ask(shop, "SELECT container, path, type FROM files WHERE path_raw NOT NULL OR instr(path, char(10))"))
    assert odd
    for row in odd:
        typed = row["path"].replace("\n", "\\n")
        out, _err = run(capfdbinary, "ls", shop, row["container"], typed, "-l", *(["-R"] if row["type"] == "d" else []))
        assert out.count(b"\n") >= 1


def test_what_was_deleted_can_be_read_from_its_layer(shop, capfdbinary):
    hidden = ask(
        shop,
        "SELECT container, path, layer, sha256 FROM hidden_files"
        " WHERE type = 'f' AND size > 0 AND path_raw IS NULL AND reason = 'whiteout' LIMIT 5",
    )
    assert hidden
    for row in hidden:
        out, _err = run(capfdbinary, "cat", shop, "--layer", row["layer"], row["path"])
        assert hashlib.sha256(out).hexdigest() == row["sha256"]
        listed, _err = run(capfdbinary, "ls", shop, row["container"], "--hidden", "-R", "-f", "csv")
        assert row["path"].encode() in listed


def test_diff_says_where_changes_are_not_known(tmp_path, capfd):
    builder = CaseBuilder(tmp_path / "x.db")
    builder.container("ab" * 32, "web", compared=0)
    case = builder.finish()
    assert cli.run(["diff", str(case), "web"]) == 0
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (
        "", "what web changed is not known: its layer, or one below it, is not there\n"
    )  # fmt: skip
    assert ask(case, "SELECT changes FROM containers")[0]["changes"] is None


def test_diff_prints_as_docker_does(shop, busiest, capfdbinary):
    out, _err = run(capfdbinary, "diff", shop, busiest["name"])
    told = ask(shop, f"SELECT kind, path FROM changes WHERE container_id = '{busiest['container_id']}'")
    assert sorted(out.decode().splitlines()) == sorted(f"{row['kind']} {row['path']}".replace("\n", "\\n") for row in told)


def test_two_exports_are_the_same_bytes_on_stdout_too(shop, busiest, tmp_path, capfdbinary):
    tar = tmp_path / "rootfs.tar"
    run(capfdbinary, "export", shop, busiest["name"], "-o", tar)
    out, _err = run(capfdbinary, "export", shop, busiest["name"], "-o", "-")
    assert tar.read_bytes() == out


def test_a_layer_is_exported_with_its_whiteouts(shop, tmp_path, capfdbinary):
    (row,) = ask(shop, "SELECT layer, path FROM layer_files WHERE mark = 'whiteout' AND path_raw IS NULL LIMIT 1")
    run(capfdbinary, "export", shop, "--layer", row["layer"], "-o", tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        member = tar.getmember(row["path"][1:])
    assert (member.ischr(), member.devmajor, member.devminor) == (True, 0, 0)


def test_extract_makes_the_files(shop, busiest, tmp_path, capfdbinary):
    _out, err = run(capfdbinary, "extract", shop, busiest["name"], "/", "-o", tmp_path / "out")
    assert all(re.search(r": (a |something )", line) for line in err.splitlines())
    found = ask(
        shop,
        "SELECT path, sha256 FROM files WHERE type = 'f' AND path_raw IS NULL AND sha256 NOT NULL"
        f" AND container_id = '{busiest['container_id']}'",
    )
    assert len(found) > 20
    for row in found:
        assert hashlib.sha256((tmp_path / "out" / row["path"][1:]).read_bytes()).hexdigest() == row["sha256"]


def test_the_evidence_may_move_with_the_case_file(sample, tmp_path, capfdbinary):
    image, case = tmp_path / "torture.img", tmp_path / "case.db"
    shutil.copy(sample("torture"), image)
    run(capfdbinary, "carve", image, "-o", case)
    (row,) = ask(case, "SELECT container, path FROM files WHERE type = 'f' AND size > 0 AND path_raw IS NULL LIMIT 1")
    wanted, _err = run(capfdbinary, "cat", case, row["container"], row["path"])
    moved = tmp_path / "moved"
    moved.mkdir()
    image.rename(moved / image.name)
    case.rename(moved / case.name)
    assert run(capfdbinary, "cat", moved / case.name, row["container"], row["path"])[0] == wanted
    (moved / image.name).rename(tmp_path / "renamed.raw")
    assert "--image" in run(capfdbinary, "cat", moved / case.name, row["container"], row["path"], expect=2)[1]
    elsewhere = ("--image", tmp_path / "renamed.raw")
    assert run(capfdbinary, "cat", moved / case.name, row["container"], row["path"], *elsewhere)[0] == wanted
    for words in (["cat", row["path"]], ["export"]):
        where = (*elsewhere, "-o", tmp_path / "renamed.raw", "--force")
        assert "evidence" in run(capfdbinary, words[0], moved / case.name, row["container"], *words[1:], *where, expect=2)[1]
    wrong = ("--image", sample("powercut"))
    assert "carved disk image" in run(capfdbinary, "cat", moved / case.name, row["container"], row["path"], *wrong, expect=2)[1]


def test_contents_are_read_as_they_were_carved(carved, capfdbinary):
    """A file that only the journal knows is read from the journal; with --no-journal the old one is read."""
    query = "SELECT path, sha256 FROM files WHERE container = 'sender' AND type = 'f' AND path LIKE '/root/%'"
    for options in ((), ("--no-journal",)):
        case = carved("powercut", *options)
        rows = ask(case, query)
        assert rows
        for row in rows:
            out, _err = run(capfdbinary, "cat", case, "sender", row["path"])
            assert hashlib.sha256(out).hexdigest() == row["sha256"]


def test_query_answers_in_every_format(shop, capfdbinary):
    sql = "SELECT name, env, NULL AS unknown FROM containers ORDER BY name LIMIT 1"
    (row,) = ask(shop, sql)
    assert json.loads(run(capfdbinary, "query", shop, sql, "-f", "json")[0]) == [row | {"env": json.loads(row["env"])}]
    assert run(capfdbinary, "query", shop, sql, "-f", "csv")[0].startswith(b"name,env,unknown\r\n")
    assert run(capfdbinary, "query", shop, sql)[0].startswith(b"name")


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH 'x.db' AS x",
        "DELETE FROM run",
        "CREATE TEMP TABLE t (x)",
        "DROP VIEW files",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version = 7",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = ON",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
        "SELECT 1; DELETE FROM run",
        "BEGIN",
        "EXPLAIN",
        "",
    ],
)
def test_query_only_reads(sql, shop, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = hashlib.sha256(shop.read_bytes()).digest()
    _out, err = run(capfdbinary, "query", shop, sql, expect=2)
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert hashlib.sha256(shop.read_bytes()).digest() == before


def test_the_program_itself_gives_exit_codes(sample, tmp_path):
    run_cli("carve", tmp_path / "missing.img", expect=2)
    run_cli("info", sample("torture"))
