"""The timeline: what each time means."""

import json
import re

import pytest

from support.cli import ask, run_cli
from support.timelines import README, S, T, analysed, events, upper, whiteout

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


def test_a_deleted_file_of_a_layer_that_is_no_containers_has_its_path_on_the_host(builder):
    layer = builder.layer("gone-init", None, "init")
    for path, raw, on_host in (
        ("/etc/hostname", None, "/var/lib/docker/overlay2/gone-init/diff/etc/hostname"),
        ("/tmp/\\xff", b"/tmp/\xff", "/var/lib/docker/overlay2/gone-init/diff/tmp/\\xff"),
    ):
        builder.insert(
            "deleted_file", layer_id=layer, partition=1, path=path, path_raw=raw, host_path=on_host, type="f", mode=0o644, size=0,
            deleted_ns=T + 4, deleted_means="at", inode=99, method="journal", confidence="certain",
        )  # fmt: skip
    case = analysed(builder)
    assert [(e["path"], e["path_raw"]) for e in events(case, "event = 'file deleted'")] == [
        ("/var/lib/docker/overlay2/gone-init/diff/etc/hostname", None),
        ("/var/lib/docker/overlay2/gone-init/diff/tmp/\\xff", b"/var/lib/docker/overlay2/gone-init/diff/tmp/\xff"),
    ]
    (file, _) = ask(case, "SELECT place, path FROM timeline_files WHERE state = 'deleted' ORDER BY path")
    assert (file["place"], file["path"]) == ("disk-p1", "/var/lib/docker/overlay2/gone-init/diff/etc/hostname")


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


# -- the README


@pytest.mark.parametrize("name", ["webshop", "powercut", "torture", "podhost", "snapshots"])
def test_each_event_is_told_in_the_readme(carved, name):
    readme = README.read_text(encoding="utf-8")
    kinds = re.compile(r"^(deleted )?(?:directory|symlink|device|fifo|socket|inode) ")
    for row in ask(carved(name), "SELECT DISTINCT event FROM timeline"):
        event = re.sub(r" \((?:earliest|latest)\)$", "", kinds.sub(r"\1file ", row["event"]))
        assert f"`{event}`" in readme or f"`{event} (latest)`" in readme or f"`{event} (earliest)`" in readme, row["event"]
