"""`show` and `logs` of containers whose settings are no settings: any JSON at all, names that are more than names."""

import json
import sqlite3
import unicodedata
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.case.lookup import find_container, open_case
from forensics.commands.log_place import log_options, why_no_lines
from forensics.commands.output import say
from forensics.commands.privileges import privileges
from forensics.text import harmless
from support.hostile_case import EVIL, hostile_case

TEXTS = st.one_of(
    st.sampled_from(EVIL), st.text(max_size=8), st.sampled_from(("/", "NET_ADMIN", "host", "none", "label=disable", "\ud800"))
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
HOST = ("CapAdd", "Devices", "SecurityOpt", "PidMode", "NetworkMode", "Binds", "PortBindings", "Sysctls", "OomScoreAdj",
        "MaskedPaths", "ReadonlyPaths", "LogConfig", "Config", "Metadata", "linux", "security_context", "privileged")  # fmt: skip
SPEC = ("spec", "process", "capabilities", "bounding", "noNewPrivileges", "apparmorProfile", "root", "readonly", "linux", "path",
        "type", "namespaces", "devices", "resources", "maskedPaths", "readonlyPaths", "seccomp")  # fmt: skip


def is_one_line(text):
    return not {unicodedata.category(each) for each in text} & {"Cc", "Cs", "Zl", "Zp"}


def documents(names):
    keys = st.one_of(st.sampled_from(names), TEXTS)
    values = st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    )
    return st.dictionaries(keys, values, max_size=6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(("docker", "podman", "containerd", "cri-o", "kubernetes")), documents(HOST), documents(SPEC), st.booleans()
)
def test_any_settings_are_told_in_a_line_each(engine, hostconfig, config, privileged):
    config = {"process": {}, "linux": {}} | config
    row = {
        "engine": engine,
        "privileged": privileged,
        "id_map": None,
        "config": json.dumps(config),
        "hostconfig": json.dumps(hostconfig),
    }
    for label, value in privileges(row, config, hostconfig):
        assert isinstance(label, str)
        assert value is None or isinstance(value, str)
        assert is_one_line(harmless(label + (value or "")))
    options = log_options(row["hostconfig"])
    assert options is None or is_one_line(harmless(options))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A case without a line, in which each container's log driver has a name and options that are more."""
    path = tmp_path_factory.mktemp("case") / "case.db"
    hostile_case(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM log_line")
        for number, evil in db.execute("SELECT id, name FROM container").fetchall():
            host = json.dumps({"LogConfig": {"Config": {evil: evil, "n": [evil]}}})
            db.execute("UPDATE container SET hostconfig = ? WHERE id = ?", (host, number))
        db.commit()
    return path


@pytest.mark.parametrize("number", range(len(EVIL)))
def test_why_a_container_has_no_lines_is_one_line(case, capsys, number):
    with open_case(case) as opened:
        reason = why_no_lines(opened, find_container(opened, f"{number:02d}{EVIL[number]}"))
    assert "its log driver is" in reason
    say(reason)
    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert is_one_line(said[:-1])
