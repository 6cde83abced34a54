"""`show`: what engines told of a container, whatever the engine, and no more of it than a terminal takes."""

import json
from itertools import count

import pytest

from forensics import cli
from forensics.commands.show import MAX_CHARACTERS, MAX_SHOWN
from support.casebuilder import CaseBuilder

CID = "c" * 64
SPEC = {
    "ociVersion": "1.2.1",
    "process": {
        "args": ["sh"], "cwd": "/", "noNewPrivileges": True,
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_KILL"]},
    },
    "linux": {
        "namespaces": [{"type": "pid"}, {"type": "ipc", "path": "/proc/175/ns/ipc"}, {"type": "uts"}, {"type": "mount"}],
        "maskedPaths": ["/proc/kcore"],
    },
}  # fmt: skip


@pytest.fixture
def shown(tmp_path, capfdbinary):
    """The output of `show` of a container with the columns given, as text and as a JSON record."""

    numbers = count()

    def show(*more, **columns):
        builder = CaseBuilder(tmp_path / f"{next(numbers)}.db")
        number = builder.container(CID, "web", **columns)
        for fill in more:
            fill(builder, number)
        case = str(builder.finish())
        assert cli.run(["show", case, "web"]) == cli.run(["show", case, "web", "-f", "json"]) == 0
        text, _, record = capfdbinary.readouterr().out.decode().partition("\n[\n")
        return text, json.loads("[" + record)[0]

    return show


def facts(text, label):
    return [line[18:] for line in text.splitlines() if line.startswith(f"  {label} ")]


def test_what_a_spec_allowed_is_told_for_every_engine_that_has_one(shown):
    text, record = shown(engine="containerd", config=json.dumps(SPEC), privileged=0)
    assert facts(text, "capabilities") == ["CHOWN, KILL, SYS_ADMIN"]
    assert facts(text, "beyond defaults") == ["SYS_ADMIN"]
    assert facts(text, "host namespaces") == ["network"]
    assert facts(text, "joins") == ["ipc of /proc/175/ns/ipc"]
    assert facts(text, "new privileges") == ["none (no_new_privs)"]
    assert record["config"] == SPEC


def test_podmans_spec_stands_in_its_config_and_no_network_is_told(shown):
    spec = SPEC | {"linux": {"namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")]}}
    text, _record = shown(engine="podman", config=json.dumps({"spec": spec, "createNetNS": False}), privileged=0)
    assert facts(text, "capabilities") == ["CHOWN, KILL, SYS_ADMIN"]
    assert facts(text, "network") == ["none"]


def test_a_pods_sandbox_is_not_privileged_itself(shown):
    told = {"Metadata": {"Config": {"linux": {"security_context": {"privileged": True}}}}}
    text, _record = shown(engine="containerd", config=json.dumps(SPEC), hostconfig=json.dumps(told), privileged=0)
    assert facts(text, "pod") == ["may run privileged containers"]
    assert facts(text, "privileged") == []


def test_a_stopped_docker_container_still_tells_its_networks(shown):
    config = {"NetworkSettings": {"Networks": {
        "none": {"IPAddress": "", "MacAddress": ""}, "shop": {"IPAddress": "172.18.0.2", "MacAddress": "02:42:ac:12:00:02"},
        "odd": 1,
    }}}  # fmt: skip
    text, record = shown(config=json.dumps(config))
    assert record["networks"] == [
        {"name": "none", "driver": None, "address": None, "mac": None},
        {"name": "shop", "driver": None, "address": "172.18.0.2", "mac": "02:42:ac:12:00:02"},
    ]
    assert facts(text, "shop") == ["172.18.0.2, 02:42:ac:12:00:02"]


@pytest.mark.parametrize(
    "config", ['{"NetworkSettings": 1}', "[1]", "{", '{"NetworkSettings": {"Networks": [1, {}]}}', "1", '"x"']
)
def test_any_config_is_survived(shown, config):
    for engine in ("docker", "podman", "containerd"):
        text, record = shown(engine=engine, config=config, hostconfig=config)
        assert "networks" not in text
        assert record["networks"] == []


def test_a_long_list_is_cut_in_the_table_and_whole_in_json(shown):
    env = [f"A{n}=1" for n in range(5000)]
    command = ["sh", "-c", "x" * 100_000]
    text, record = shown(env=json.dumps(env), command=json.dumps(command))
    told = facts(text, "environment")
    assert told[:MAX_SHOWN] == env[:MAX_SHOWN]
    assert len(told) == MAX_SHOWN + 1
    assert told[-1].startswith(f"and {5000 - MAX_SHOWN:,} more: ctrforensics show ")
    assert told[-1].endswith(f"{CID} -f json")
    (shortened,) = facts(text, "command")
    assert len(shortened) < MAX_CHARACTERS + 400
    assert "characters more: ctrforensics show" in shortened
    assert (record["env"], record["command"]) == (env, command)


def test_what_the_exit_code_means_is_told_only_of_what_ended(shown):
    assert facts(shown(state="running", exit_code=0)[0], "exit code") == []
    assert facts(shown(state="exited", exit_code=0)[0], "exit code") == ["0"]


def test_a_tmpfs_has_no_source_and_its_options(shown):
    def mounted(builder, number):
        builder.insert("container_mount", container=number, type="tmpfs", destination="/t", rw=1, options="mode=1770,size=65536")

    text, record = shown(mounted)
    assert facts(text, "tmpfs") == ["on /t, rw, mode=1770,size=65536"]
    assert record["mounts"][0]["options"] == "mode=1770,size=65536"


def test_findings_stand_there_the_gravest_first(shown):
    def found(builder, number):
        builder.insert("rule", name="r", severity="high", title="r", why="", check_by_hand="", benign="", attack="[]")
        for severity, title, path in (("low", "small", None), ("high", "grave", "/bin/x")):
            builder.insert(
                "finding", severity=severity, rule="r", title=title, detail="", attack="[]", container=number, path=path
            )

    text, record = shown(found)
    assert text.index("grave (/bin/x)") < text.index("small")
    assert [each["title"] for each in record["findings"]] == ["grave", "small"]
