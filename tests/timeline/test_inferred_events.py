"""Events that no record tells: times that somebody set, removals, earlier versions of configurations."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from forensics.text import utc
from forensics.timeline.old_keys import old_key_events
from forensics.timeline.past_configs import past_config_events
from forensics.timeline.removals import removal_events
from support.memory_filesystem import MemoryFilesystem
from support.timelines import S, T, analysed, events, upper

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


def past(builder, gaps=None):
    with closing(builder.db):
        found = past_config_events(builder.db, {1: MemoryFilesystem({})}, [] if gaps is None else gaps)
        return [(e.event, (e.time_ns - T) / S, e.message, e.container) for e in found]


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


def test_more_old_configurations_than_are_read_are_a_gap(builder, monkeypatch):
    monkeypatch.setattr("forensics.timeline.past_configs.MAX_VERSIONS", 1)
    version(builder, "a" * 64, 2, Running=True, StartedAt=stamp(2))
    version(builder, "a" * 64, 8, Running=True, StartedAt=stamp(8))
    gaps = []
    assert [event for event, *_ in past(builder, gaps)] == ["container started"]
    assert [gap.error.partition(";")[0] for gap in gaps] == ["more than 1 deleted versions of config.v2.json"]


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


def test_old_bolt_keys_tell_of_records_that_are_gone(builder, monkeypatch):
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
    # of a file with many keys, values are not kept from some key on
    builder.insert(
        "bolt_key", file="/x/meta.db", bucket="[]", key="createdat", value_bytes=15, page=6, state="carved", partition=1
    )
    gaps = []
    with monkeypatch.context() as bounds:
        bounds.setattr("forensics.timeline.old_keys.MAX_KEYS", 1)
        assert len(list(old_key_events(builder.db, gaps))) == 1
    assert [gap.error.partition(";")[0] for gap in gaps] == ["more than 1 times in old pages of bbolt files"]
    with closing(builder.db):
        found = [(e.event, e.confidence, e.container, e.source) for e in old_key_events(builder.db, gaps)]
    assert len(gaps) == 1
    assert found == [
        ("snapshot created", "probable", None, "stale key of meta.db"),
        ("record created", "possible", None, "stale key of meta.db"),
        ("container created", "probable", builder.web, "previous key of meta.db"),
    ]
