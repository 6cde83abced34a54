"""Rules about secrets that lie open: in environments, labels, commands, histories of container images, files. Never shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from forensics.findings.changed_files import ChangedFile
from forensics.findings.redact import redacted
from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Container, Scene
from forensics.findings.secret_patterns import (
    CREDENTIAL_FILES,
    ENV_FILES,
    PRIVATE_KEY,
    assignments,
    is_secret,
    may_hold_tokens,
    tokens,
)
from forensics.records import Finding
from forensics.redact import hidden

_GENERATED_KEYS = re.compile(
    rb"/etc/ssh/ssh_host_\w+_key$|/etc/ssl/private/ssl-cert-snakeoil\.key$|/\.local/share/caddy/|/etc/letsencrypt/"
)
_TEST_FILES = re.compile(rb"/(?:tests?|testdata|examples?|fixtures|docs?|spec|mocks?)/")
_ENV_STEP = re.compile(r"(?:\bENV\s+|\bARG\s+|\|\d+\s+|\s)([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S+)")
_OPTION = re.compile(r"--?([\w-]*(?:password|passwd|token|secret|api-?key)[\w-]*)[= ](\S+)", re.IGNORECASE)


def environment(container: Container) -> Iterator[Finding]:
    """Secrets in the environment, and in the command."""
    found = _secrets(dict(entry.partition("=")[::2] for entry in container.env))
    if found:
        names = ", ".join(found)
        yield container.finding(
            "medium", f"secret in the environment: {names[:200]}", "; ".join(f"{n}={v}" for n, v in found.items())
        )
    options = {f"--{name}": hidden(value) for part in container.command for name, value in _OPTION.findall(part)
               if is_secret(name.replace("-", "_"), value)}  # fmt: skip
    kinds = [kind for kind, _length in tokens("\n".join(container.command).encode("utf-8", "replace"))]
    if options or kinds:
        told = [*options, *kinds]
        yield container.finding(
            "medium", f"secret in the command: {', '.join(told)[:200]}", redacted(" ".join(container.command))
        )


def labels(container: Container) -> Iterator[Finding]:
    """Secrets in labels."""
    found = _secrets(dict(container.labels))
    if found:
        told = "; ".join(f"{name}={value}" for name, value in found.items())
        yield container.finding("medium", f"secret in labels: {', '.join(found)[:200]}", told)


def image_history(scene: Scene) -> Iterator[Finding]:
    """Secrets in what a container image's history and configuration say."""
    rows = scene.db.execute(
        "SELECT image_id, refs, history, labels, config, source_partition, source_offset FROM container_image ORDER BY id"
    )
    for image_id, refs, history, labels_text, config, partition, offset in rows:
        steps = [str(step.get("created_by") or "") for step in json.loads(history or "[]")]
        found: dict[str, str] = {}
        for step in steps[:500]:
            found |= _secrets({name: value.strip("\"'") for name, value in _ENV_STEP.findall(step[:20_000])})
            found |= {kind: hidden("x" * length) for kind, length in tokens(step[:20_000].encode("utf-8", "replace"))}
        found |= _secrets({str(name): str(value) for name, value in json.loads(labels_text or "{}").items()})
        found |= _secrets(_configured(config))
        if found:
            name = next(iter(json.loads(refs)), image_id)
            told = "; ".join(f"{key}={value}" for key, value in found.items())
            yield Finding("medium", f"secret in container image {name}: {', '.join(found)[:200]}", f"{image_id}: {told}",
                          partition=partition, offset=offset)  # fmt: skip


def files(file: ChangedFile) -> Iterator[Finding]:
    """Secrets in files that the container added or changed."""
    if file.type != "f" or not file.size or file.packaged in ("verified", "listed"):
        return
    text = file.text
    if not text:
        return
    key = PRIVATE_KEY.search(text) if b"PRIVATE KEY" in text else None
    test = _TEST_FILES.search(file.path) is not None
    if key is not None:
        kind = key[1].decode("ascii").lower()
        severity = "low" if test or _GENERATED_KEYS.search(file.path) or b"/etc/" in file.path else "medium"
        yield file.finding(severity, f"{kind} in a file", f"mode {file.mode:04o}, uid {file.uid}, {file.size} bytes")
        return
    if CREDENTIAL_FILES.search(file.path):
        yield file.finding("medium", "file of credentials", f"mode {file.mode:04o}, uid {file.uid}, {file.size} bytes")
        return
    found = dict(tokens(text))
    if ENV_FILES.search(file.path):
        found |= dict(assignments(text.decode("utf-8", "replace")))
    if found:
        told = "; ".join(f"{name}: {length} characters" for name, length in list(found.items())[:20])
        yield file.finding("low" if test else "medium", f"secret in a file: {', '.join(found)[:200]}", told)


def _secrets(variables: dict[str, str]) -> dict[str, str]:
    """Those that hold secrets, with what stands for their values."""
    found = {}
    some = may_hold_tokens("\n".join(variables.values()).encode("utf-8", "replace"))
    for name, value in variables.items():
        kinds = tokens(value[:10_000].encode("utf-8", "replace")) if some else []
        if is_secret(name, value) or kinds:
            found[redacted(name, 100)] = hidden(value) + (f", {kinds[0][0]}" if kinds else "")
    return found


def _configured(config: str | None) -> dict[str, str]:
    """The environment that a container image sets; none where its configuration cannot be read."""
    try:
        inner = json.loads(config or "{}").get("config") or {}
        return dict(str(entry).partition("=")[::2] for entry in inner.get("Env") or ())
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


_CHECK = "The value itself is in the case file (containers.env, images.history) or in the file; findings never show it."
CONTAINER_RULES: tuple[Rule[Container], ...] = (
    rule(
        "secret-environment",
        "medium",
        "Secret in the environment or command",
        why="Whoever can inspect the container, or read the engine's files on this disk, has the secret: it must be replaced.",
        check=_CHECK,
        benign="Databases and applications are often configured so; the secret is exposed all the same.",
        attack=("T1552.001",),
        look=environment,
    ),
    rule(
        "secret-label",
        "medium",
        "Secret in a label",
        why="Labels are shown to everybody who may list containers.",
        check=_CHECK,
        benign="Reverse proxies' password hashes.",
        attack=("T1552.001",),
        look=labels,
    ),
)  # fmt: skip
FILE_RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "secret-file",
        "medium",
        "Secret in a file",
        why="Private keys, tokens and credentials in a container's layer are open to whoever gets the disk.",
        check="ctrforensics cat; then find out what the secret opens, and replace it.",
        benign="Keys that a server generates for itself at its first start; test data.",
        attack=("T1552.001", "T1552.004"),
        look=files,
    ),
)  # fmt: skip
SCENE_RULES: tuple[Rule[Scene], ...] = (
    rule(
        "secret-image",
        "medium",
        "Secret in a container image",
        why="What an image's history or configuration says is known to everybody who can pull it.",
        check="docker history --no-trunc, or images.history in the case file.",
        benign="Default passwords of test images.",
        attack=("T1552.001",),
        look=image_history,
    ),
)  # fmt: skip
