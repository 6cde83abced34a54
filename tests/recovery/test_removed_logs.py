"""Logs of removed containers: deleted files, and lines in unallocated space."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystem import Extent
from forensics.logs.carved import carved_lines
from forensics.logs.deleted import find_deleted_logs
from forensics.logs.lines import LogFile
from forensics.recovery.carving.scan import scan_space
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.extents import extents_of
from support.cli import ask, run_cli
from support.ext4_images import debugfs, make
from support.free_space import BLOCK, space

ID = "a1" * 32


def json_line(number, text="GET /", stream="stdout"):
    """As Docker writes it."""
    return (
        json.dumps(
            {"log": f"{text} {number}\n", "stream": stream, "time": f"2026-01-01T00:00:{number:02}.5Z"}, separators=(",", ":")
        ).encode()
        + b"\n"
    )


def cri_line(number, text="GET /", tag="F"):
    return f"2026-01-01T00:00:{number:02}.5Z stdout {tag} {text} {number}\n".encode()


def lines_in(data, runs=None, own=lambda partition, offset: False, deleted=(), read=()):
    """Files with their lines, as [(file, [texts])]."""
    where = space(data, runs)
    hits = scan_space(where, lambda size: None)
    gaps, found = [], []
    extents = extents_of(deleted).get(1)
    for item in carved_lines(hits, extents, set(read), own, itertools.count(1), gaps):
        if isinstance(item, LogFile):
            found.append((item, []))
        else:
            found[-1][1].append(item)
    return found


def texts(found, confidence="probable"):
    return [line.text for file, lines in found if file.confidence == confidence for line in lines]


def deleted_file(path, offset, size, number=1):
    file = DeletedFile(path, 12, "f", 0o600, 0, 0, size, "journal", "certain", extents=(Extent(0, offset, size),))
    return Numbered(number, 1, file)


def test_lines_of_one_block_are_found_with_their_places():
    data = b"\0" * BLOCK + (b"".join(json_line(n) for n in range(5))).ljust(BLOCK, b"\0")
    ((file, lines),) = lines_in(data)
    assert [line.text for line in lines] == [f"GET / {n}" for n in range(5)]
    assert [line.time_ns for line in lines] == [(1767225600 + n) * 10**9 + 5 * 10**8 for n in range(5)]
    assert (file.format, file.path, file.inode, file.container, file.container_id) == ("json-file", None, None, None, None)
    assert (file.offset, file.origin, file.how, file.confidence) == (
        BLOCK,
        "recovered",
        "carved from unallocated space",
        "probable",
    )
    for line in lines:
        assert data[file.offset + line.position :].startswith(b'{"log":"' + line.text.encode())


def test_a_block_from_the_middle_of_a_log_gives_its_whole_lines():
    log = b"".join(json_line(n) for n in range(60))
    block = log[1500 : 1500 + BLOCK]
    (whole,) = lines_in(block)
    assert texts([whole]) == [f"GET / {n}" for n in range(60) if json_line(n) in block]


def test_lines_over_the_border_of_two_blocks_are_told_apart():
    lines = [json_line(n) for n in range(40)]
    ends = list(itertools.accumulate(map(len, lines)))
    over = [n for n, end in enumerate(ends) if (end - len(lines[n])) // BLOCK != (end - 2) // BLOCK]
    found = lines_in(b"".join(lines))
    assert texts(found, "possible") == [f"GET / {n}" for n in over]
    assert texts(found) == [f"GET / {n}" for n in range(40) if n not in over]


def test_lines_of_the_cri_are_found_and_one_that_is_cut_off_is_unfinished():
    log = b"".join(cri_line(n, 60 * "x") for n in range(40))[:BLOCK]
    ((file, lines),) = lines_in(log)
    assert file.format == "cri"
    assert [line.text for line in lines[:-1]] == [60 * "x" + f" {n}" for n in range(len(lines) - 1)]
    assert [line.unfinished for line in lines] == [0] * (len(lines) - 1) + [1]


def test_a_part_of_a_long_line_stays_a_part():
    found = lines_in(cri_line(1, tag="P") + cri_line(2))
    assert [(line.text, line.unfinished) for _, lines in found for line in lines] == [("GET / 1", 1), ("GET / 2", 0)]


def test_what_was_a_containers_own_file_is_left_out():
    assert lines_in(json_line(1).ljust(BLOCK, b"\0"), own=lambda partition, offset: True) == []


def test_a_deleted_file_lends_its_path_and_one_that_was_read_is_not_told_twice():
    data = json_line(1).ljust(BLOCK, b"\0")
    copy = deleted_file(b"/root/copy.log", 0, 500, number=7)
    ((file, _),) = lines_in(data, deleted=[copy])
    assert (file.path, file.inode, file.container) == (b"/root/copy.log", 12, None)
    assert lines_in(data, deleted=[copy], read=[7]) == []


def test_allocated_blocks_are_not_looked_at():
    data = json_line(1).ljust(BLOCK, b"\0") + json_line(2).ljust(BLOCK, b"\0")
    assert texts(lines_in(data, runs=[(1, 1)])) == ["GET / 2"]


NO_LINES = [
    b'{"log":"x","stream":"stdin","time":"2026-01-01T00:00:00Z"}\n',
    b'{"log":"x","stream":"stdout","time":"yesterday"}\n',
    b'{"log":"x","stream":"stdout"}\n',
    b'"x","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n',
    b'{"log":' + b"[" * 900 + b'","stream":"stdout"\n',
    b"2026-13-41T00:00:00Z stdout F x\n",
    b"yesterday stdout F x\n",
    b"2026-01-01T00:00:00Z stdin F x stdout F \n",
]


@pytest.mark.parametrize("content", NO_LINES, ids=range(len(NO_LINES)))
def test_what_only_looks_like_a_line_is_none(content):
    assert lines_in(content.ljust(BLOCK, b"\0")) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_survived(data):
    disk = bytearray(b"".join(json_line(n) for n in range(30)) + b"".join(cri_line(n) for n in range(30)))
    for _ in range(data.draw(st.integers(1, 8))):
        disk[data.draw(st.integers(0, len(disk) - 1))] = data.draw(st.integers(0, 255))
    for file, lines in lines_in(bytes(disk)):
        for line in lines:
            assert line.time_ns is not None
            assert 0 <= file.offset + line.position < len(disk)


@pytest.mark.parametrize(("path", "form", "own", "name"), [
    (f"/var/lib/docker/containers/{ID}/{ID}-json.log", "json-file", ID, None),
    (f"/var/lib/docker/containers/{ID}/{ID}-json.log.2.gz", "json-file", ID, None),
    (f"#12/{ID}-json.log", "json-file", ID, None),
    (f"/var/lib/docker/containers/{ID}/local-logs/container.log.1", "local", ID, None),
    (f"/var/lib/containers/storage/overlay-containers/{ID}/userdata/ctr.log", "k8s-file", ID, None),
    ("/var/log/pods/shop_web-1_uid/nginx/0.log.20261121-014859", "cri", None, "nginx"),
    (f"/var/lib/docker/overlay2/{ID}/diff/srv/{ID}-json.log", None, None, None),
    ("/var/log/syslog", None, None, None),
])  # fmt: skip
def test_paths_tell_whose_log_it_was(path, form, own, name):
    found = find_deleted_logs([deleted_file(path.encode(), 0, 10)], [])
    assert [(log.format, log.container_id, log.name) for log in found] == ([(form, own, name)] if form else [])


def test_a_deleted_link_tells_whose_log_it_led_to():
    log = b"/var/log/pods/shop_web-1_uid/nginx/0.log"
    link = DeletedFile(
        f"/var/log/containers/web-1_shop_nginx-{ID}.log".encode(), 13, "l", 0o777, 0, 0, 40, "journal", "certain", target=log
    )
    (found,) = find_deleted_logs([deleted_file(log, 0, 10), Numbered(2, 1, link)], [])
    assert (found.container_id, found.name) == (ID, "nginx")


def test_logs_of_removed_containers_come_back(carved):
    rows, names = ask(carved("webshop"), "SELECT * FROM logs WHERE origin = 'recovered'"), ("scan-1", "scan-2")
    assert {(row["container"], row["text"], row["confidence"]) for row in rows} == {
        (name, f"scanning for {name}", "certain") for name in names
    }
    assert {row["how"] for row in rows} == {"deleted file, journal"}
    for name in names:
        assert run_cli("logs", carved("webshop"), name, "--no-timestamps").decode() == f"scanning for {name}\n"


def test_docker_logs_of_what_is_there_has_nothing_that_was_deleted(carved):
    """`docker logs` would not print it."""
    case = carved("webshop")
    for row in ask(case, "SELECT DISTINCT container, container_id FROM logs WHERE origin = 'allocated' AND container_id <> ''"):
        alone = run_cli("logs", case, row["container_id"], "-f", "jsonl")
        assert b'"recovered"' not in alone


def test_lines_of_a_file_that_nothing_tells_of_are_in_the_case(tmp_path):
    tree = tmp_path / "tree/srv"
    tree.mkdir(parents=True)
    (tree / "x").write_bytes(b"".join(json_line(n) for n in range(40)))
    image = tmp_path / "disk.img"
    make(image, "-d", tmp_path / "tree")
    debugfs(image, "rm /srv/x")
    case = tmp_path / "case.db"
    run_cli("carve", image, "-o", case)
    rows = ask(case, "SELECT text, container, container_id, path, how FROM logs ORDER BY time_ns")
    assert [row["text"] for row in rows] == [f"GET / {n}" for n in range(40)]
    assert {(row["container"], row["container_id"], row["path"]) for row in rows} == {(None, None, None)}
    run_cli("carve", image, "-o", case, "--force", "--carve", "none")
    assert ask(case, "SELECT count(*) AS n FROM logs")[0]["n"] == 0
