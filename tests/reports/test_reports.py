"""Reports: harmless whatever the evidence says, bounded however much it is, true to the case file."""

import base64
import hashlib
import json
import random
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from forensics import cli
from forensics.commands.output import Destination
from forensics.text import harmless
from reports.as_html import as_html
from reports.as_markdown import as_markdown
from reports.report import About, read_report
from support.casebuilder import CaseBuilder
from support.cli import ask
from support.hostile_case import EVIL, SECRET, START, hostile_case

STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")
VOID = {"meta", "input", "br", "wbr", "img", "link", "base"}


def run(*words):
    assert cli.run([str(word) for word in words]) == 0


def about(case, **more):
    return About(case.name, "2026-11-27 12:00:00", "ctrforensics", **more)


def report_on(case, **more):
    with closing(sqlite3.connect(case)) as db:
        return read_report(db, about(case, **more))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return hostile_case(tmp_path_factory.mktemp("hostile") / "case.db")


@pytest.fixture(scope="module")
def written(hostile, tmp_path_factory):
    """written(form, *options): the text of a report on the hostile case."""
    directory = tmp_path_factory.mktemp("written")

    def write(form, *options):
        path = directory / f"report{len(list(directory.iterdir()))}.{form}"
        run("report", hostile, "-o", path, *options)
        return path.read_text(encoding="utf-8")

    return write


class Elements(HTMLParser):
    """What a browser would make of a document: its elements with their attributes, and its text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


OPTIONS = ("--examiner", EVIL[0], "--case-number", EVIL[1] + EVIL[5], "--notes", EVIL[6] + EVIL[3])


def test_html_is_harmless_whatever_the_evidence_says(written):
    text = written("html", *OPTIONS)
    page = Elements(text)
    assert page.open == []
    assert not STEERING.search(text)
    tags = [tag for tag, _attributes in page.elements]
    assert tags.count("script") == tags.count("style") == 1
    assert not set(tags) & {"img", "iframe", "object", "embed", "link", "form", "base", "audio", "video", "foreignobject"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcdoc", "action")], tag
        assert attributes.get("href", "#").startswith("#")
    shown = "".join(data for tag, data in page.texts if tag not in ("script", "style"))
    for evil in EVIL:
        assert harmless(evil) in shown
    assert "alert(1)" not in "".join(data for tag, data in page.texts if tag in ("script", "style"))


def test_html_lets_no_script_and_no_style_run_but_its_own(written):
    page = Elements(written("html", *OPTIONS))
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    for kind in ("script", "style"):
        own = "".join(data for tag, data in page.texts if tag == kind)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import", "".join(data for tag, data in page.texts if tag == "style"))


def test_markdown_is_harmless_whatever_the_evidence_says(written):
    text = written("md", *OPTIONS)
    assert not STEERING.search(text)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "strong_open", "s_open", "fence", "code_block"}
    for token in inline:
        assert token.type != "code_inline" or token.content.startswith(("ctrforensics ", "docker diff"))
    headings = [
        tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open" and token.tag in ("h1", "h2")
    ]
    assert len(headings) == 13
    shown = "\n".join("".join(child.content for child in token.children) for token in tokens if token.children)
    for evil in EVIL:
        assert harmless(evil) in shown or " ".join(harmless(evil).split()) in " ".join(shown.split())


def test_markdown_tables_keep_their_columns(written):
    lines = written("md", *OPTIONS).split("\n")
    heads = [n for n, line in enumerate(lines) if re.fullmatch(r"\|[-:|]+\|", line)]
    assert len(heads) > 8
    for head in heads:
        rows = [lines[head - 1], *lines[head : next(n for n in range(head, len(lines) + 1) if not lines[n].startswith("|"))]]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    # a renderer takes what GitHub takes for links where no backslash stands before
    assert not re.search(r"(?<!\\):(?=//)", "\n".join(line for line in lines if "ctrforensics" not in line))


def test_json_is_exact_and_harmless(written, hostile):
    text = written("json", *OPTIONS)
    assert not STEERING.search(text)
    report = json.loads(text)
    told = {each["name"]: each for each in report["inventory"]["containers"]}
    for row in ask(hostile, "SELECT name, image, created_ns, hostname FROM containers"):
        assert {key: told[row["name"]][key] for key in row} == row
    assert {mount["source"] for mount in report["exposure"]["mounts"]} == set(EVIL)


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_secrets_are_redacted_unless_asked_for(form, written):
    assert SECRET not in written(form)
    assert SECRET in written(form, "--show-secrets")


def test_every_listing_is_harmless_on_a_terminal(hostile, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.setattr(Destination, "is_terminal", property(lambda _self: True))
    commands = {command.__name__ for command in cli.COMMANDS}
    alone = commands - {"carve", "info", "bolt", "cat", "extract", "export", "report", "query", "verify"}
    found = ask(hostile, "SELECT container_id FROM containers")[6]["container_id"][:2]
    tried = 0
    for command in sorted(alone):
        for words in ([command, str(hostile)], [command, str(hostile), found]):
            for form in ([], ["-f", "json"], ["-f", "csv"]):
                code = cli.run([*words, *form])
                out = capfdbinary.readouterr().out.decode()
                tried += code == 0 and bool(out)
                assert not STEERING.search(out.replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "")), words
    assert tried >= 45


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A container that added 50,000 files; a finding points to one of the last."""
    builder = CaseBuilder(tmp_path_factory.mktemp("large") / "case.db")
    own = builder.layer("own", builder.layer("base"), kind="container")
    container = builder.container("ab" * 32, "builder", own, created_ns=START, started_ns=START, finished_ns=START + 10**13)
    for number in range(50_000):
        path = b"/app/modules/package%03d/lib/m%d/file%05d.js" % (number % 700, number % 13, number)
        at = START + number * 10**8
        builder.entry(own, path, size=number, crtime_ns=at, mtime_ns=at, ctime_ns=at, atime_ns=at)
        builder.change(container, "A", path)
    builder.insert("rule", name="setuid", severity="high", title="Setuid", why="", check_by_hand="", benign="", attack="[]")
    builder.insert(
        "finding", severity="high", rule="setuid", title="setuid", container=container, detail="", attack="[]",
        path="/app/modules/package699/lib/m0/file49699.js",
    )  # fmt: skip
    return builder.finish()


@pytest.fixture(scope="module")
def large_report(large):
    return report_on(large)


def flat(changes):
    for change in changes:
        yield change
        yield from flat(change.children)


def test_a_large_tree_is_cut_and_says_by_how_much(large_report):
    report = large_report
    (tree,) = report.changes
    nodes = list(flat(tree.changes))
    listed = sum(node.kind is not None for node in nodes)
    assert listed == tree.listed
    assert len(nodes) < 3_000
    assert tree.listed + tree.left_out == 50_000
    assert sum(node.left_out for node in nodes) == tree.left_out
    assert [node.path for node in nodes if node.severity] == ["/app/modules/package699/lib/m0/file49699.js"]
    text = as_html(report)
    assert "ctrforensics diff case.db abababababab" in text
    assert len(text) < 2_000_000


def test_a_tree_is_what_docker_diff_says(carved):
    case = carved("webshop")
    report = report_on(case)
    told = {
        (container["name"], row["kind"], row["path"])
        for container in ask(case, "SELECT name, container_number FROM containers")
        for row in ask(case, f"SELECT kind, path FROM changes WHERE container_number = {container['container_number']}")
    }
    names = {each.number: each.name for each in report.inventory.containers}
    shown = set()
    for tree in report.changes:
        for node in flat(tree.changes):
            for path in joined(node):
                if (names[tree.container_number], node.kind, path) in told:
                    shown.add((names[tree.container_number], node.kind, path))
    assert shown == told


def joined(node):
    """The paths of a line: one that stands for several directories within each other has a name of several parts."""
    above = node.path[: len(node.path) - len(node.name)]
    parts = node.name.split("/")
    return [above + "/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def test_deep_and_long_paths_are_bounded(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    own = builder.layer("own", kind="container")
    container = builder.container("ab" * 32, "deep", own)
    for depth in (10, 500, 2000):
        builder.change(container, "A", b"/d" * depth)
        builder.change(container, "A", b"/d" * depth + b"/f")
    report = report_on(builder.finish())
    for text in (as_html(report), as_markdown(report)):
        assert text.count("d/d/d/d") > 10


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_two_reports_are_the_same(form, carved, tmp_path):
    texts = []
    for name in ("one", "two"):
        run("report", carved("webshop"), "-o", tmp_path / f"{name}.{form}")
        texts.append(re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "DATE", (tmp_path / f"{name}.{form}").read_text()))
    assert texts[0] == texts[1]


def test_one_container_alone(carved, tmp_path):
    case = carved("webshop")
    run("report", case, "-o", tmp_path / "r.json", "--container", "debug", "--case-number", "7")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [each["name"] for each in report["inventory"]["containers"]] == ["debug"]
    assert report["about"]["case_number"] == "7"
    assert {mount["container"] for mount in report["exposure"]["mounts"]} <= {"debug"}
    assert {event["container"] for event in report["timeline"]["events"]} <= {"debug"}
    assert len(report["changes"]) == 1
    run("report", case, "-o", tmp_path / "r.html", "--container", "debug")
    assert "Container forensics report: debug" in (tmp_path / "r.html").read_text()


def test_numbers_are_those_of_the_case(carved):
    case = carved("webshop")
    report = report_on(case)

    def count(view):
        return ask(case, f"SELECT count(*) AS n FROM {view}")[0]["n"]

    assert len(report.inventory.containers) == count("containers")
    assert sum(each.changes for each in report.inventory.containers) == count("changes")
    assert report.timeline.total == count("timeline")
    assert report.deleted.total == count("deleted_files")
    assert report.unread.total == count("gaps")
    assert len(report.exposure.mounts) == count("mounts")
    assert sum(number for _severity, number in report.findings.counts) == count("findings")
    assert sum(s.count for s in report.findings.suspicions) == count("findings")
    in_bins = sum(number for _lane, bins in report.timeline.bins for _part, number in bins)
    assert in_bins + report.timeline.before + report.timeline.after == report.timeline.total


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["report", "CASE", "-o", "r.pdf"], ".html"),
        (["report", "CASE"], "ctrforensics report -h"),
        (["report", "CASE", "-o", "CASE.html"], "--force"),
        (["report", "CASE", "-o", "r.html", "--container", "nobody"], "nobody"),
    ],
)
def test_wrong_requests_end_in_one_line(words, hint, hostile, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CASE.html").write_text("mine")
    assert cli.run([str(hostile) if word == "CASE" else word for word in words]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert hint in said
    assert [path.name for path in tmp_path.iterdir()] == ["CASE.html"]


def test_no_damage_to_a_case_file_ends_in_a_traceback(hostile, tmp_path, capfd):
    whole, chance, case = hostile.read_bytes(), random.Random(5), tmp_path / "case.db"
    for number in range(25):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 20, 200))):
            data[chance.randrange(100, len(data))] ^= 1 << chance.randrange(8)
        case.write_bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        form = ("html", "md", "json")[number % 3]
        assert cli.run(["report", str(case), "-o", str(tmp_path / f"r.{form}"), "--force"]) in (0, 1, 2)
        assert capfd.readouterr().err.count("\n") <= 1


def test_a_case_without_anything_is_a_report_too(tmp_path):
    case = CaseBuilder(tmp_path / "case.db").finish()
    for form in ("html", "md", "json"):
        run("report", case, "-o", tmp_path / f"r.{form}")
    assert "holds no container" in (tmp_path / "r.md").read_text()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("which", ["hostile", "large"])
def test_a_browser_opens_it_without_an_error(which, hostile, large_report, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(as_html(report_on(hostile) if which == "hostile" else large_report), encoding="utf-8")
    command = (
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--dump-dom", page.as_uri(),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    said = done.stderr.decode("utf-8", "replace")
    assert done.returncode == 0, said
    assert "CONSOLE" not in said
    dom = done.stdout.decode()
    assert '<p class="tools">' in dom  # the script has run: it shows what needs it


def test_a_lost_filesystem_is_not_called_unchanged(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    own = builder.layer("own", kind="container")
    builder.container("ab" * 32, "gone", None, rootfs="missing", origin="recovered")
    builder.container("cd" * 32, "idle", own)
    builder.change(builder.container("ef" * 32, "half", own, rootfs="partial"), "A", b"/f")
    builder.insert("rule", name="r", severity="high", title="R", why="", check_by_hand="", benign="", attack="[]")
    report = report_on(builder.finish())
    told = " ".join(report.summary)
    assert "The filesystem of 1 removed container is gone." in told
    assert "A part of the filesystem of half is lost." in told
    text = as_html(report)
    assert "Without any change: idle." in text
    assert "Of its layers only a part is left" in text


def test_what_cannot_be_compared_has_no_number_of_changes(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    builder.container("a" * 64, "gone", origin="recovered", state="removing", rootfs="partial", compared=0)
    row = next(line for line in as_markdown(report_on(builder.finish())).splitlines() if line.startswith("| gone |"))
    assert [cell.strip() for cell in row.split("|")[4:5] + row.split("|")[8:9]] == ["removed", ""]


def test_what_engines_deleted_of_their_own_is_not_in_the_list_of_events(tmp_path):
    builder = CaseBuilder(tmp_path / "case.db")
    builder.container("a" * 64, "web", created_ns=START)
    for path in ("/var/lib/docker/containers/x/config.v2.json", "/root/tool.sh"):
        builder.insert(
            "deleted_file", partition=1, type="f", method="journal", confidence="certain", size=1, recovered_bytes=1, path=path,
            inode=50, deleted_ns=START + 1, deleted_means="at",
        )  # fmt: skip
    timeline = report_on(builder.finish()).timeline
    assert {event.path for event in timeline.events if event.event == "file deleted"} == {"/root/tool.sh"}
    assert timeline.left_out >= 1
