"""A case file in which every name and text tries to be more than a name or a text."""

import json

from support.casebuilder import CaseBuilder

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></script><svg/onload=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe\u2066",
    "two\nlines\r\n| a | b |",
    "pipe|back`tick``s *bold* _em_ [link](http://evil.example/) ![i](x)",
    "# heading",
    "{{ 7*7 }} {% raw %} ${7*7}",
    "=cmd|' /C calc'!A0",
    "&lt;b&gt; &#60;",
    "zero\u200bwidth\ufeff\U000e0041",
    "\u2028line\u2029",
    "javascript:alert(1)",
    "www.evil.example https://evil.example/a?b=c&d someone@evil.example",
)
SECRET = "correct-horse-battery"
HOSTILE = "".join(EVIL)
START = 1_795_225_738_000_000_000


def hostile_case(path):
    """The case file at `path`; it has every section that a report can have."""
    builder = CaseBuilder(path)
    base = builder.layer(HOSTILE + "base")
    builder.insert("host_facts", hostname=HOSTILE, os=HOSTILE, kernel=HOSTILE, timezone=HOSTILE, machine_id=HOSTILE, partition=1)
    for number, evil in enumerate(EVIL):
        own = builder.layer(f"{evil}{number}", base, kind="container", diff_id=evil, integrity="altered")
        container = builder.container(
            f"{number:02d}" + evil, evil, own, image=evil, image_id=evil, state=evil,
            command=json.dumps([evil, f"--password {SECRET}"]),
            env=json.dumps([f"A={evil}", f"DB_PASSWORD={SECRET}", f"PLAIN={SECRET}"]), labels=json.dumps({evil: evil}), pod=evil,
            config=json.dumps({"secret_env": {"PLAIN": {"name": evil}}}), created_ns=START + number,
            started_ns=START + number, finished_ns=START + 10**9, hostname=evil, user=evil, working_dir=evil, error=evil,
            restart_policy=evil, log_driver=evil, namespace=evil, rootfs="partial",
            origin="recovered" if number % 2 else "allocated",
            source_partition=1, source_path=evil, source_how=evil,
        )  # fmt: skip
        builder.insert("layer_fault", layer_id=own, kind=evil, path=evil, text=evil)
        raw = b"/" + evil.replace("/", "_").encode() + b"\xff"
        builder.entry(own, raw, size=number, mode=0o4755, crtime_ns=START + number, ctime_ns=START + number)
        builder.change(container, "A", raw)
        builder.change(container, "D", b"/gone" + raw)
        builder.insert("container_mount", container=container, type="bind", source=evil, destination=evil, rw=1, options=evil)
        builder.insert(
            "container_image", store_id=builder.store, engine=evil, image_id=evil, refs=json.dumps([evil]), layers="[]", top=own,
            history=json.dumps([{"created_by": evil + f" TOKEN={SECRET}", "created_ns": START}]), origin="allocated", os=evil,
            architecture=evil,
        )  # fmt: skip
        builder.insert(
            "rule", name=evil, severity="high", title=evil, why=evil, check_by_hand=evil, benign=evil, attack=json.dumps([evil])
        )
        builder.insert(
            "finding", severity="high", rule=evil, title=evil, container=container, path=evil, detail=evil,
            attack=json.dumps([evil]),
            sha256=evil, partition=1, offset=7,
        )  # fmt: skip
        builder.insert(
            "event", time_ns=START + number, event="container created", source=evil, container=container, path=evil, message=evil,
            confidence=evil,
        )  # fmt: skip
        builder.insert(
            "deleted_file", container=container, partition=1, path=evil, size=5, recovered_bytes=5, sha256=evil, method=evil,
            confidence=evil, deleted_ns=START, reused=evil,
        )  # fmt: skip
        log = builder.insert("log_file", container=container, format="json-file", partition=1, path=evil, origin="allocated")
        builder.insert("log_line", file=log, container=container, time_ns=START, stream="stdout", text=evil)
        builder.insert("gap", artefact=evil, partition=1, path=evil, error=evil)
        builder.insert("network", store_id=builder.store, engine=evil, name=evil, network_id=evil, driver=evil, subnets="[]",
                       endpoints=json.dumps([{"container_id": f"{number:02d}{evil}", "address": evil, "mac": evil}]),
                       origin="allocated")  # fmt: skip
    builder.insert("run", key=HOSTILE, value=HOSTILE)
    return builder.finish()
