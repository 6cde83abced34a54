"""Removed containers that logs name: the engines' own messages, and such as only look like one."""

import gzip
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.logs.mentions import log_mentions
from forensics.recovery.join import join_containers
from forensics.stores.host_tree import host_trees
from parsers.engine_messages import mentions
from support.surveys import survey_of

DATA = Path(__file__).parent.parent / "data" / "engine_logs"
ID, OTHER, LIAR, FORGED, SCOPE = "a1" * 32, "b2" * 32, "e5" * 32, "f6" * 32, "d7" * 32


def lines(name):
    return (DATA / f"{name}.log").read_text().splitlines()


def found_in(files, *engines):
    tree = {"var": {"log": files}, "etc": {"hostname": b"h\n"}}
    survey, _ = survey_of(tree)
    joined = join_containers(log_mentions(host_trees(survey), engines or ("docker", "containerd"), {}))
    return {record.container_id: record for record, _ in joined}


def syslog(*texts, program="containerd", stamp="2026-11-27T16:36:40.000001+00:00"):
    return "".join(f"{stamp} host {program}[12]: {text}\n" for text in texts).encode()


def journal():
    return {"journal": {"0" * 32: {"system.journal": lzma.decompress((DATA / "engines.journal.xz").read_bytes())}}}


def test_what_containerd_says_of_pods():
    told = [each for line in lines("containerd-2.1-cri") for each in mentions("containerd", line)]
    created = {each.name: each for each in told if each.event == "created"}
    assert created.keys() == {"shop", "web", "sidecar", "miner", "x"}
    assert created["shop"].pod == "default/shop"
    assert created["x"].sandbox == created["miner"].id
    (ended,) = (each for each in told if each.exit_code is not None)
    assert (ended.id, ended.exit_code, ended.time_ns) == (created["x"].id, 137, 1795797402116129496)
    assert {each.id for each in told if each.event == "removed"} == {created["x"].id}
    assert all((each.engine, each.namespace) in (("containerd", "k8s.io"), (None, None)) for each in told)


def test_an_id_in_a_digest_or_an_address_is_no_container():
    for name, program in (
        ("containerd-2.1-cri", "containerd"),
        ("containerd-1.7-docker", "containerd"),
        ("dockerd-26.1", "dockerd"),
    ):
        for line in lines(name):
            for each in mentions(program, line):
                assert not re.search(rf"(?:sha256:|/s/){each.id}", line)
    assert list(mentions("containerd", f'level=info msg="ImageCreate event name:\\"sha256:{ID}\\""')) == []


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        ("dockerd", f'msg="Container failed to exit within 10s of signal 15 - using the force" container={ID}', ("docker", None)),
        ("kubelet", f'I1127 1 kuberuntime.go:1] "Killing container" pod="default/shop" containerName="web" containerID="containerd://{ID}"',
         ("containerd", "web")),
        ("kubelet", f'"SyncLoop (PLEG): event" pod="default/shop" event={{"ID":"x","Type":"ContainerDied","Data":"{ID}"}}',
         (None, None)),
        ("podman", f"2026-11-27 16:36:40 +0000 UTC m=+0.1 container remove {ID} (image=docker.io/library/a:1, name=web, a=b)",
         ("podman", "web")),
        ("crio", f'time="x" level=info msg="Removed container {ID}: default/shop/web" id=1', ("crio", "web")),
        ("systemd", f"docker-{ID}.scope: Deactivated successfully.", ("docker", None)),
        ("systemd", f"Started cri-containerd-{ID}.scope - libcontainer container {ID}.", ("containerd", None)),
        ("kernel", f"oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/system.slice/docker-{ID}.scope,task=x", ("docker", None)),
        ("kernel", f"oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/{ID},task=x,pid=1,uid=0", ("docker", None)),
    ],
)  # fmt: skip
def test_messages_of_each_engine(program, text, expected):
    (told,) = mentions(program, text)
    assert (told.id, (told.engine, told.name)) == (ID, expected)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("sshd", f"container create {ID} (image=x, name=y)"),
        ("podman", f"image pull {ID} docker.io/library/alpine"),
        ("podman", f"container create {ID[:12]} (image=x, name=y)"),
        ("dockerd", f"container={ID}0"),
        ("systemd", f"{ID}.scope"),
        ("kernel", f"device {ID}"),
    ],
)
def test_other_programs_other_things_and_short_ids_are_no_mention(program, text):
    assert list(mentions(program, text)) == []


def test_syslog_tells_what_only_it_knows():
    found = found_in({"syslog": syslog(*lines("containerd-2.1-cri"))})
    gone = next(record for record in found.values() if record.name == "x")
    assert (gone.engine, gone.namespace, gone.pod) == ("containerd", "k8s.io", "kube-system/miner")
    assert (gone.created_ns, gone.started_ns) == (1795797399886002564, 1795797400030186873)
    assert (gone.exit_code, gone.removed_ns, gone.confidence) == (137, 1795797402147673354, "possible")
    (source,) = gone.sources
    assert (source.where.path, source.where.how) == ("/var/log/syslog", "line of syslog")
    assert len(found) == 5


def test_rotated_and_packed_files_too():
    text = syslog(f'level=info msg="shim disconnected" id={ID} namespace=moby')
    found = found_in({"messages.1": text, "syslog.2.gz": gzip.compress(syslog(f"container={OTHER} x", program="dockerd"))})
    assert {each.container_id: (each.engine, each.namespace) for each in found.values()} == {
        ID: ("docker", None),
        OTHER: ("docker", None),
    }


def test_the_journal_tells_too_and_a_containers_own_line_tells_of_itself_only():
    found = found_in(journal())
    assert FORGED not in found
    liar = found[LIAR]
    assert (liar.engine, liar.name, liar.image, liar.confidence) == ("docker", "liar", "shop:1", "possible")
    assert (found[SCOPE].engine, found[SCOPE].sources[0].where.how) == ("docker", "line of systemd's journal")
    both = {each for name in ("containerd-2.1-cri", "containerd-1.7-docker", "dockerd-26.1") for line in lines(name)
            for program in ("containerd", "dockerd") for each in (told.id for told in mentions(program, line))}  # fmt: skip
    assert found.keys() == both | {LIAR, SCOPE}


def test_journal_and_syslog_are_one_and_the_same_source():
    """A syslog daemon copies the journal."""
    found = found_in({"syslog": syslog(*lines("dockerd-26.1"), program="dockerd"), **journal()})
    assert {record.confidence for record in found.values()} == {"possible"}


@given(st.text(max_size=300), st.sampled_from(["containerd", "dockerd", "kubelet", "podman", "crio", "systemd", "kernel"]))
def test_any_text_is_survived(text, program):
    for told in mentions(program, text.replace("ID", ID)):
        assert re.fullmatch(r"[0-9a-f]{64}", told.id)


def test_hostile_lines_take_no_time():
    for unit in ('msg="shim ', f'container_id:"{ID}" ', "container create ", "task_memcg=/", f'containerID="{ID}" ' * 3, '\\"'):
        long = unit * (200_000 // len(unit))
        for program in ("containerd", "dockerd", "kubelet", "podman", "crio", "systemd", "kernel"):
            assert len(list(mentions(program, long))) <= 100


@pytest.mark.parametrize("damage", [b"", b"LPKSHHRH" * 100, b"\xff" * 5000])
def test_damaged_files_are_survived(damage):
    assert found_in({"syslog": damage, "journal": {"x": {"system.journal": damage}}}) == {}
