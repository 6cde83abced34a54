"""Rules about container images and layers: where they came from, and whether what is there fits what is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.findings.commands_seen import downloads_run
from forensics.findings.grouping import grouped
from forensics.findings.redact import quoted
from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Scene
from forensics.records import Finding

KNOWN_REGISTRIES = (
    "docker.io", "index.docker.io", "registry-1.docker.io", "ghcr.io", "quay.io", "gcr.io", "us.gcr.io", "eu.gcr.io",
    "asia.gcr.io",
    "k8s.gcr.io", "registry.k8s.io", "mcr.microsoft.com", "public.ecr.aws", "registry.gitlab.com", "registry.access.redhat.com",
    "registry.redhat.io", "registry.fedoraproject.org", "registry.suse.com", "registry.opensuse.org", "docker.elastic.co",
    "nvcr.io",
    "icr.io", "container-registry.oracle.com", "lscr.io", "cgr.dev", "dhi.io", "xpkg.upbound.io", "localhost",
)  # fmt: skip
MAX_NAMED = 20  # containers that one finding names
_KNOWN_ENDINGS = (".amazonaws.com", ".azurecr.io", ".pkg.dev", ".gcr.io", ".icr.io", ".ocir.io", ".docker.io")
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-fA-F:]+\]")
_PRIVATE_ADDRESS = re.compile(r"127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.")


@dataclass(frozen=True, slots=True)
class Image:
    """A container image as these rules see it. users: the containers of the case that were made from it, number and name."""

    engine: str
    image_id: str
    refs: tuple[str, ...]
    history: Sequence[Mapping[str, Any]]
    layers: int
    parent: str | None
    users: Sequence[tuple[int, str]]
    is_parent: bool
    partition: int | None
    offset: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Its references that are names with a tag, and not digests."""
        return tuple(ref for ref in self.refs if "@" not in ref and not ref.startswith("sha256:"))

    @property
    def title(self) -> str:
        """What a person would call it."""
        return self.names[0] if self.names else self.image_id[:19]

    def finding(self, severity: str, title: str, detail: str) -> Finding:
        """A finding that points to the image's record."""
        return Finding(severity, title, f"{self.engine} {self.image_id}: {detail}", partition=self.partition, offset=self.offset)


def built_here(scene: Scene) -> Iterator[Finding]:
    """Images that were built, committed or imported, and not pulled."""
    for image in _images(scene):
        comments = " ".join(str(step.get("comment") or "").lower() for step in image.history)
        pulled = image.engine == "docker" and any("@" in ref for ref in image.refs)
        if image.is_parent:
            continue
        if image.parent is not None:
            yield image.finding("info", f"container image {image.title} was built on this host", f"from {image.parent}")
        elif "buildkit" in comments and image.engine == "docker" and not pulled:
            yield image.finding("info", f"container image {image.title} was not pulled", "BuildKit built it, here or elsewhere")
        elif "imported from" in comments and not pulled:
            yield image.finding(
                "info", f"container image {image.title} began as an archive", "docker or podman import, here or elsewhere"
            )


def untagged(scene: Scene) -> Iterator[Finding]:
    """Images without a name that containers use."""
    for image in _images(scene):
        if not image.names and image.users:
            who = [called for _number, called in image.users]
            more = f" and {len(who) - MAX_NAMED} more" if len(who) > MAX_NAMED else ""
            detail = f"used by {', '.join(who[:MAX_NAMED])}{more}; its tag was moved to another image, or removed"
            told = image.finding("low", f"container image {image.title} has no name", detail)
            yield told._replace(container=image.users[0][0]) if len(who) == 1 else told


def registries(scene: Scene) -> Iterator[Finding]:
    """Images from registries that nobody knows."""
    for image in _images(scene):
        hosts = sorted({host for ref in image.refs if (host := registry_of(ref)) is not None and not _is_known(host)})
        if hosts:
            address = any(_ADDRESS.match(host) and not _PRIVATE_ADDRESS.match(host) for host in hosts)
            title = f"container image from {', '.join(hosts)[:100]}"
            yield image.finding("medium" if address else "low", title, f"named {', '.join(image.refs[:5])}")


def history(scene: Scene) -> Iterator[Finding]:
    """Histories that have another number of layers than their images."""
    for image in _images(scene):
        steps = sum(1 for step in image.history if not step.get("empty"))
        if image.history and image.layers and steps != image.layers:
            yield image.finding("medium", f"history of container image {image.title} does not fit its layers",
                                f"{steps} steps made a layer, {image.layers} layers are there")  # fmt: skip


def history_downloads(scene: Scene) -> Iterator[Finding]:
    """Steps of builds that run what they download."""
    for image in _images(scene):
        for step in image.history[:500]:
            seen = downloads_run(str(step.get("created_by") or "").encode("utf-8", "replace")[:100_000])
            if seen and not image.is_parent:
                yield image.finding("medium" if seen[0].from_address else "info", f"build of {image.title} {seen[0].what}",
                                    quoted(seen[0].line))  # fmt: skip
                break


def altered_layers(scene: Scene) -> Iterator[Finding]:
    """Image layers whose content is not the one that their digest tells: each file that is not, or the layer as a whole."""
    rows = scene.db.execute(
        "SELECT id, path, integrity_reason, partition, source_offset FROM layer WHERE integrity = 'altered' ORDER BY id"
    ).fetchall()
    for layer, directory, reason, partition, offset in rows:
        users = [name for (name,) in scene.db.execute(
            "SELECT coalesce(c.name, c.container_id) FROM container c JOIN chain ch ON ch.top = c.layer_id"
            " WHERE ch.layer_id = ? ORDER BY c.id", (layer,),
        )]  # fmt: skip
        told = f"layer {directory}, under {', '.join(users[:20]) or 'no container'}" + (" ..." if len(users) > 20 else "")
        faults = scene.db.execute(
            "SELECT f.kind, f.path, f.path_raw, f.text, k.sha256, coalesce(k.offset, e.offset) FROM layer_fault f"
            " LEFT JOIN entry e ON e.layer_id = f.layer_id AND e.path = '/' || f.path"
            " LEFT JOIN content k ON k.partition = ? AND k.inode = e.inode"
            " WHERE f.layer_id = ? ORDER BY f.rowid",
            (partition, layer),
        ).fetchall()
        cut = scene.db.execute("SELECT state <> 'clean' FROM partition WHERE number = ?", (partition,)).fetchone()
        if not faults:
            yield Finding("high", "layer of a container image altered", f"{reason or 'its digest differs'}; {told}", None,
                          directory.encode(), None, partition, offset)  # fmt: skip
        yield from grouped(
            Finding("low" if kind == "unwritten" and cut == (1,) else "high", f"{kind} in a layer of a container image",
                    f"{text}; {told}", None, b"/" + (path.encode() if raw is None else raw), sha256, partition, place)
            for kind, path, raw, text, sha256, place in faults
        )  # fmt: skip


def anomalies(scene: Scene) -> Iterator[Finding]:
    """Marks of overlayfs that no kernel writes; of one kind in one layer, the first stands for all."""
    rows = scene.db.execute(
        "SELECT a.kind, min(a.text), count(*), e.path, e.path_raw, l.partition, e.offset, l.kind, l.path, (SELECT min(c.id)"
        " FROM container c WHERE c.layer_id = l.id) FROM anomaly a JOIN entry e ON e.id = a.entry_id"
        " JOIN layer l ON l.id = e.layer_id GROUP BY l.id, a.kind HAVING e.id = min(e.id) ORDER BY l.id, a.kind"
    ).fetchall()
    for kind, text, count, path, raw, partition, offset, layer_kind, layer, container in rows:
        more = f", and {count - 1} more of that kind in the layer" if count > 1 else ""
        yield Finding("low", f"odd mark of overlayfs: {kind}", f"{text}{more}; {layer_kind} layer {layer}", container,
                      path.encode() if raw is None else raw, None, partition, offset)  # fmt: skip


def registry_of(reference: str) -> str | None:
    """The registry that a reference names; None where it names none, and the engine's default is meant."""
    first, slash, _rest = reference.partition("/")
    return first.lower() if slash and ("." in first or ":" in first or first == "localhost") else None


def _is_known(registry: str) -> bool:
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    return host in KNOWN_REGISTRIES or host.endswith(_KNOWN_ENDINGS)


def _images(scene: Scene) -> Iterator[Image]:
    rows = scene.db.execute(
        "SELECT engine, image_id, refs, history, layers, parent_image, source_partition, source_offset FROM container_image"
        " WHERE origin = 'allocated' ORDER BY id"
    ).fetchall()
    if not rows:
        return
    parents = {row[5] for row in rows}
    users: dict[str | None, list[tuple[int, str]]] = {}
    for image_id, number, called in scene.db.execute(
        "SELECT image_id, id, coalesce(nullif(name, ''), substr(container_id, 1, 12)) FROM container"
        " WHERE origin = 'allocated' ORDER BY id"
    ):
        users.setdefault(image_id, []).append((number, called))
    for engine, image_id, refs, steps, layers, parent, partition, offset in rows:
        names = tuple(json.loads(refs))
        yield Image(
            engine, image_id, names, json.loads(steps or "[]"), len(json.loads(layers)), parent, users.get(image_id, ()),
            image_id in parents and not names, partition, offset,
        )  # fmt: skip


RULES: tuple[Rule[Scene], ...] = (
    rule(
        "image-built-here",
        "info",
        "Container image built here, or begun as an archive",
        why="Attackers build or import images on the host, so that no registry's scanner sees them.",
        check="images.history; the view build_records; shell histories of the host.",
        benign="Build hosts, and every docker build.",
        attack=("T1612", "T1525"),
        look=built_here,
    ),
    rule(
        "image-untagged",
        "low",
        "Container of an image without a name",
        why="What a tag no longer names cannot be looked up or pulled again: the copy on this disk may be the only one.",
        check="images.refs and image_id; the registry's own history of the tag.",
        benign="The image was rebuilt under the same tag while the container ran on.",
        attack=("T1525",),
        look=untagged,
    ),
    rule(
        "image-registry",
        "medium",
        "Container image from an unknown registry",
        why="Malicious images come from registries that nobody else uses, often by a bare address.",
        check="Who runs the registry; whether it is the organisation's own.",
        benign="Private registries of organisations.",
        attack=("T1204.003", "T1525"),
        look=registries,
    ),
    rule(
        "image-history",
        "medium",
        "History that does not fit the layers",
        why="Each step of a history that is not empty made one layer: layers beside them were put in afterwards.",
        check="images.history against images.layers; the image of the same digest from its registry.",
        benign="Tools that squash or assemble images (kaniko, jib, Bazel, Nix) write histories of their own.",
        attack=("T1525",),
        look=history,
    ),
    rule(
        "image-download",
        "medium",
        "Build step runs what it downloads",
        why="What a build fetched from a bare address is in the image for good.",
        check="images.history; the files of that layer.",
        benign="Installers from well-known hosts (told as info).",
        attack=("T1612", "T1105"),
        look=history_downloads,
    ),
    rule(
        "layer-altered",
        "high",
        "Layer of a container image altered",
        why="A layer's digest is over its content: where it no longer fits, the layer was changed in place.",
        check="ctrforensics verify; the same layer pulled anew.",
        benign="Damage of the filesystem; `unwritten`: a power cut soon after the image was pulled leaves files empty.",
        attack=("T1525", "T1554"),
        look=altered_layers,
    ),
    rule(
        "overlay-oddity",
        "low",
        "Odd mark of overlayfs",
        why="Redirects and marks that the kernel would not have written can be made by hand, to hide or to show files.",
        check="The view anomalies; the xattrs of the entry in layer_files.",
        benign="Layers moved between hosts or drivers; kernels with other options.",
        attack=("T1564.001",),
        look=anomalies,
    ),
)  # fmt: skip
