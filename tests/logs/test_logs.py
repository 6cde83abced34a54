"""Logs of whole disks: what is printed equals what the engines printed; whose a file is; what of it is searchable."""

import gzip
import lzma
import tracemalloc
from pathlib import Path

import pytest

from forensics.logs import reading
from forensics.logs.all import read_logs
from forensics.logs.containers import LogOwner
from forensics.logs.lines import LogFile, LogLine
from forensics.records import Container
from support.cli import ask, run_cli
from support.surveys import survey_of

TRUTH = sorted((Path(__file__).resolve().parent.parent.parent / "samples").glob("*/truth/logs/*.txt"))
CID, OTHER = "a1" * 32, "b2" * 32
ROOT = "/var/lib/docker"


def line(text, stream="stdout", end="\\n"):
    return f'{{"log":"{text}{end}","stream":"{stream}","time":"2026-11-21T01:49:00Z"}}\n'.encode()


def cri(text, stream="stdout", tag="F"):
    return f"2026-11-21T01:49:00Z {stream} {tag} {text}\n".encode()


def at(path, content):
    """A tree with something at a path."""
    for name in reversed(path.strip("/").split("/")):
        content = {name: content}
    return content


def merged(*trees):
    result = {}
    for tree in trees:
        for name, content in tree.items():
            both = isinstance(content, dict) and isinstance(result.get(name), dict)
            result[name] = merged(result[name], content) if both else content
    return result


def owner(number=1, cid=CID, engine="docker", store="docker:p1:/var/lib/docker", **fields):
    return LogOwner(number, store, 1, Container(engine, None, cid, f"c{number}", **fields))


def read(tree, *owners, root=None):
    """What is read: (path's last part, container's number or what names it, texts) of each file; and the gaps."""
    found, place = survey_of(tree)
    gaps, files = [], {}
    for item in read_logs(found, {"docker:p1:/var/lib/docker": place(root)} if root else {}, owners, gaps, {}):
        if isinstance(item, LogFile):
            files[item.number] = (
                item.path.decode().rpartition("/")[2],
                item.container or item.container_id or item.container_name,
                [],
            )
        else:
            assert isinstance(item, LogLine)
            files[item.file][2].append(item.text)
    return list(files.values()), gaps


@pytest.mark.parametrize("truth", TRUTH, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_logs_are_what_docker_printed(carved, truth):
    assert run_cli("logs", carved(truth.parts[-4]), truth.stem) == truth.read_bytes()


def test_docker_rotated():
    inside = {
        f"{CID}-json.log": line("five"), f"{CID}-json.log.1": line("four"),
        f"{CID}-json.log.1.gz": gzip.compress(line("fo"))[:30],
        f"{CID}-json.log.2.gz": gzip.compress(line("three")), f"{CID}-json.log.10": line("one"), f"{CID}-json.log.9": line("two"),
        f"{CID}-json.log.bak": line("no"), "local-logs": {"container.log": b""}, "hostconfig.json": b"{}",
    }  # fmt: skip
    files, gaps = read(at(f"{ROOT}/containers/{CID}", inside), owner(), root=ROOT)
    assert gaps == []
    assert [texts for _, _, texts in files] == [["one"], ["two"], ["three"], ["four"], ["five"], []]
    assert {container for _, container, _ in files} == {1}


def test_a_line_goes_on_in_the_next_file_and_is_printed_as_it_was_written():
    inside = {f"{CID}-json.log": line("b"), f"{CID}-json.log.1": line("a", end="") + line("x", "stderr")}
    files, gaps = read(at(f"{ROOT}/containers/{CID}", inside), owner(), root=ROOT)
    assert [texts for _, _, texts in files] == [["x", "ab"], []]
    assert gaps == []


def test_a_log_without_a_record_says_whose_it_is():
    files, _ = read(at(f"{ROOT}/containers/{CID}/{CID}-json.log", line("left")), root=ROOT)
    assert files == [(f"{CID}-json.log", CID, ["left"])]


def test_podman_in_its_graph_root():
    tree = at(f"/srv/storage/overlay-containers/{CID}/userdata/ctr.log", cri("hello"))
    files, _ = read(tree, owner(engine="podman", log_path="/moved/ctr.log"), root="/srv/storage")
    assert files == [("ctr.log", 1, ["hello"])]


def test_pods():
    pod = {
        "web": {
            "1.log": cri("new"), "1.log.20261121-014859": cri("b"), "1.log.20261120-014859.gz": gzip.compress(cri("a")),
            "0.log": cri("old"),
        },
        "side": {"0.log": cri("side")}, "dead": {"3.log": cri("dead")},
    }  # fmt: skip
    tree = merged(
        at("/var/log/pods/ns_pod_uid", pod),
        at("/var/log/pods/0000-uid", {"app_0.log": cri("older layout")}),
        at("/var/log/containers", {
            f"pod_ns_web-{CID}.log": "/var/log/pods/ns_pod_uid/web/0.log",
            f"pod_ns_side-{OTHER}.log": "/var/log/pods/ns_pod_uid/side/0.log",
        }),
    )  # fmt: skip
    files, gaps = read(tree, owner(1, "c3" * 32, "containerd", log_path="/var/log/pods/ns_pod_uid/web/1.log"), owner(2, OTHER))
    assert gaps == []
    assert sorted(files, key=str) == [
        ("0.log", CID, ["old"]), ("0.log", 2, ["side"]), ("1.log", 1, ["new"]), ("1.log.20261120-014859.gz", 1, ["a"]),
        ("1.log.20261121-014859", 1, ["b"]), ("3.log", "dead", ["dead"]), ("app_0.log", "app", ["older layout"]),
    ]  # fmt: skip


def test_cri_dockerd_links_to_dockers_own():
    log = f"{ROOT}/containers/{CID}/{CID}-json.log"
    tree = merged(at(log, line("once")), at("/var/log/pods/ns_pod_uid/web/0.log", log))
    assert read(tree, owner(), root=ROOT)[0] == [(f"{CID}-json.log", 1, ["once"])]
    (file,), _ = read(tree, owner(log_path="/var/log/pods/ns_pod_uid/web/0.log"))
    assert file == (f"{CID}-json.log", 1, ["once"])


def test_a_link_that_leads_nowhere():
    tree = at("/var/log/pods/ns_pod_uid/web", {"0.log": "/var/log/pods/ns_pod_uid/web/0.log", "1.log": "../gone", "2.log": "/"})
    assert read(tree, owner(log_path="/var/log/pods/ns_pod_uid/web/0.log")) == ([], [])


@pytest.mark.parametrize("packed", [gzip.compress, lzma.compress])
def test_bombs_are_bounded(monkeypatch, packed):
    monkeypatch.setattr(reading, "MAX_UNPACKED", 20 << 20)
    bomb = packed(bytes(200 << 20))
    tracemalloc.start()
    files, gaps = read(
        at(f"{ROOT}/containers/{CID}", {f"{CID}-json.log.1.gz": bomb, f"{CID}-json.log": line("b")}), owner(), root=ROOT
    )
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()
    assert [texts for _, _, texts in files] == [[], ["b"]]
    assert len(gaps) == 1


@pytest.mark.parametrize(
    "data",
    [gzip.compress(line("a"))[:-9], gzip.compress(line("a")) + b"\0" * 512, b"\x1f\x8b", gzip.compress(line("a")) * 3,
     lzma.compress(line("a"))[:-3], b"\x1f\x8b\x08\x04" + b"\0" * 6 + b"\xff\xff"],
    ids=["cut", "zeros behind", "no header", "three", "cut xz", "no extra field"],
)  # fmt: skip
def test_packed_files_that_are_odd(data):
    files, gaps = read(at(f"{ROOT}/containers/{CID}/{CID}-json.log.1.gz", data), owner(), root=ROOT)
    assert {text for _, _, texts in files for text in texts} <= {"a"}
    assert len(gaps) <= 1


def test_dockers_extra_field():
    extra = b'{"lastTime":"2026-11-21T01:49:00Z"}'
    plain = gzip.compress(line("a"), mtime=0)
    data = plain[:3] + b"\x04" + plain[4:10] + len(extra).to_bytes(2, "little") + extra + plain[10:]
    assert read(at(f"{ROOT}/containers/{CID}/{CID}-json.log.1.gz", data), owner(), root=ROOT)[0][0][2] == ["a"]


def test_search_and_views(carved):
    case = carved("webshop")
    (row,) = ask(case, "SELECT * FROM logs WHERE text LIKE 'GET /item/60 %'")
    assert (row["container"], row["stream"], row["format"]) == ("storefront", "stdout", "json-file")
    found = run_cli("query", case, "SELECT container, text FROM log_search WHERE log_search MATCH '\"item 60\"'", "-f", "csv")
    assert b"storefront,GET /item/60" in found
    assert ask(case, "SELECT count(*) AS n FROM logs WHERE offset IS NULL OR position IS NULL OR time_ns IS NULL")[0]["n"] == 0


def test_options(carved):
    case = carved("webshop")
    whole = run_cli("logs", case, "storefront").splitlines(keepends=True)
    assert run_cli("logs", case, "storefront", "--grep", "item/6[01] ") == b"".join(each for each in whole if b"item/60" in each)
    errors = run_cli("logs", case, "storefront", "--stream", "stderr", "--no-timestamps")
    assert errors == b"no certificate\n"
    stamp = whole[-2][:30].decode()
    assert run_cli("logs", case, "storefront", "--since", stamp, "--until", stamp) == whole[-2]
    assert len(run_cli("logs", case, "-f", "jsonl").splitlines()) == ask(case, "SELECT count(*) AS n FROM logs")[0]["n"]
    assert b"storefront stdout: GET /item/60" in run_cli("logs", case)
    run_cli("logs", case, "storefront", "--grep", "(", expect=2)


def test_no_logs(carved):
    assert ask(carved("powercut", "--no-logs"), "SELECT count(*) AS n FROM logs")[0]["n"] == 0
