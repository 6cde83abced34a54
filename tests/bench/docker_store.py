"""Writes a Docker store of 400,000 names below a directory: layers, images and containers as overlay2 and layerdb have them.

Everything comes from one seed, so that two builds are the same. What only root may write (trusted.* xattrs) is handed back as
commands for debugfs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("var/lib/docker")
BUILT = "2026-03-01T10:00:00.123456789Z"
IMAGES = {  # names of directories and files in each layer, bottom first
    "registry.example/platform:24.04": (150_000, 60_000, 12_000, 3_000),
    "registry.example/service:7": (150_000, 90_000, 6_000),
    "registry.example/tools:1": (36_000, 10_000),
}
CONTAINERS = 20
NAMES_IN_CONTAINER = 1_500
WHITEOUTS, OPAQUE, COPIED_UP = 2_000, 1_700, 8_500
SYLLABLES = (
    "ba",
    "co",
    "di",
    "fe",
    "gu",
    "ka",
    "lo",
    "mi",
    "nu",
    "pe",
    "ra",
    "so",
    "ti",
    "va",
    "zen",
    "lib",
    "doc",
    "net",
    "sys",
)
ENDINGS = (".so", ".py", ".txt", ".h", ".conf", ".json", ".mo", "", ".gz", ".pyc")
NOISE = 16 << 20


@dataclass
class Layer:
    """A layer on the disk. directories, files: paths below diff/. lower: the layers below it, nearest first."""

    key: str
    lower: list[Layer]
    directories: list[str] = field(default_factory=lambda: [""])
    files: list[str] = field(default_factory=list)
    chain_id: str = ""

    @property
    def link(self) -> str:
        """Its short name in l/."""
        return base64.b32encode(bytes.fromhex(digest(self.key))).decode()[:26]

    @property
    def path(self) -> str:
        """Its diff directory, from the filesystem's root."""
        return f"{ROOT}/overlay2/{self.key}/diff"


def digest(text: str) -> str:
    """64 hexadecimal digits that stand for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


class Builder:
    """Writes the store below `top`."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.rng = random.Random(400_000)
        self.noise = self.rng.randbytes(NOISE)
        self.marks: list[tuple[str, str, str]] = []

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file and the directories above it."""
        where = self.top / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content.encode() if isinstance(content, str) else content)

    def name(self) -> str:
        """A name such as programs have."""
        return "".join(self.rng.choices(SYLLABLES, k=self.rng.randint(2, 4))) + self.rng.choice(("", "", "-2", "_x", ".d"))

    def content(self) -> bytes:
        """Bytes of a file: most are small, some are megabytes; 8 KB at the average."""
        size = min(int(self.rng.lognormvariate(7.2, 1.9)), 4 << 20)
        start = self.rng.randrange(NOISE - size)
        return self.noise[start : start + size]

    def fill(self, layer: Layer, names: int) -> None:
        """Directories, files and symlinks; in an upper layer a third of the directories stand below, too."""
        diff = self.top / layer.path
        diff.mkdir(parents=True)
        below = [path for lower in layer.lower for path in lower.directories[1:]]
        for _ in range(names // 12):
            known = bool(below) and self.rng.random() < 0.33
            path = self.rng.choice(below) if known else f"{self.rng.choice(layer.directories[-4000:])}/{self.name()}".lstrip("/")
            if path.count("/") > 12 or (diff / path).exists():
                continue
            added = [path]
            while (parent := added[-1].rpartition("/")[0]) and not (diff / parent).exists():
                added.append(parent)
            (diff / path).mkdir(parents=True)
            layer.directories.extend(reversed(added))
        taken = set(layer.directories)
        while len(layer.files) + len(layer.directories) < names:
            path = f"{self.rng.choice(layer.directories)}/{self.name()}{self.rng.choice(ENDINGS)}".lstrip("/")
            if path in taken:
                path += str(len(layer.files))
            taken.add(path)
            layer.files.append(path)
            if self.rng.random() < 0.05:
                (diff / path).symlink_to(self.name())
            else:
                (diff / path).write_bytes(self.content())

    def mark(self, layers: list[Layer]) -> None:
        """Whiteouts, opaque directories and the traces of copy-up, in the layers that have something below them."""
        upper = [layer for layer in layers if layer.lower]
        weights = [len(layer.files) for layer in upper]
        for number in range(WHITEOUTS):
            layer = self.rng.choices(upper, weights)[0]
            gone = self.rng.choice(self.rng.choice([lower for lower in layer.lower if lower.files]).files)
            where = self.top / layer.path / gone
            if not where.parent.is_dir() or os.path.lexists(where):
                where = self.top / layer.path / self.rng.choice(layer.directories) / f"gone{number}"
            os.mknod(where, stat.S_IFCHR | 0o000, os.makedev(0, 0))
        # what builds and containers replace is a package's directory, a cache, a checkout; not /usr
        deep = {each.key: [name for name in each.directories if name.count("/") >= 3] or each.directories[1:] for each in upper}
        for mark, count in (("opaque", OPAQUE), ("origin", COPIED_UP)):
            for _ in range(count):
                layer = self.rng.choices(upper, weights)[0]
                directories = deep[layer.key] if mark == "opaque" else layer.directories[1:]
                path = self.rng.choice(directories if mark == "opaque" or self.rng.random() < 0.4 else layer.files)
                if not (self.top / layer.path / path).is_symlink():
                    value = "y" if mark == "opaque" else self.rng.randbytes(15).hex()[:29]
                    self.marks.append((f"/{layer.path}/{path}", f"trusted.overlay.{mark}", value))

    def register(self, layer: Layer) -> None:
        """What overlay2 keeps beside diff/."""
        home = f"{ROOT}/overlay2/{layer.key}"
        self.write(f"{home}/link", layer.link)
        (self.top / home / "work").mkdir()
        if layer.lower:
            self.write(f"{home}/lower", ":".join(f"l/{lower.link}" for lower in layer.lower))
            self.write(f"{home}/committed", "")
        short = self.top / ROOT / "overlay2/l" / layer.link
        short.parent.mkdir(exist_ok=True)
        short.symlink_to(f"../{layer.key}/diff")

    def image(self, ref: str, sizes: tuple[int, ...], shared: dict[tuple[int, ...], Layer]) -> tuple[str, list[Layer]]:
        """One image with its layers, bottom first; images whose sizes begin alike share those layers. Gives its id, too."""
        layers: list[Layer] = []
        for height in range(1, len(sizes) + 1):
            if sizes[:height] not in shared:
                layer = Layer(digest(f"cache {sizes[:height]}"), layers[::-1])
                self.fill(layer, sizes[height - 1])
                self.register(layer)
                diff_id = "sha256:" + digest(layer.key)
                parent = layers[-1].chain_id if layers else None
                layer.chain_id = "sha256:" + digest(f"{parent} {diff_id}") if parent else diff_id
                home = f"{ROOT}/image/overlay2/layerdb/{layer.chain_id.replace(':', '/')}"
                texts = {"cache-id": layer.key, "diff": diff_id, "size": "1000000", **({"parent": parent} if parent else {})}
                for name, text in texts.items():
                    self.write(f"{home}/{name}", text)
                shared[sizes[:height]] = layer
            layers.append(shared[sizes[:height]])
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": BUILT,
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer.key) for layer in layers]},
            "history": [{"created": BUILT, "created_by": f"step {number}"} for number in range(len(layers))],
        }
        text = json.dumps(config)
        self.write(f"{ROOT}/image/overlay2/imagedb/content/sha256/{digest(text)}", text)
        return "sha256:" + digest(text), layers

    def container(self, number: int, ref: str, image_id: str, image: list[Layer]) -> list[Layer]:
        """One stopped container: its configuration, its init layer and its own."""
        key = digest(f"container {number}")
        mount = digest(f"mount {number}")
        init = Layer(f"{mount}-init", image[::-1])
        own = Layer(mount, [init, *image[::-1]])
        (self.top / init.path / "etc").mkdir(parents=True)
        for name in ("hosts", "hostname", "resolv.conf"):
            self.write(f"{init.path}/etc/{name}", "")
        self.fill(own, NAMES_IN_CONTAINER)
        for layer in (init, own):
            self.register(layer)
        state = {"Running": False, "Pid": 0, "ExitCode": number % 3, "StartedAt": BUILT, "FinishedAt": BUILT}
        config = {
            "ID": key, "Created": BUILT, "Path": "sh", "Args": [], "State": state, "Image": image_id, "Name": f"/job-{number}",
            "Config": {"Hostname": key[:12], "Image": ref, "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {}},
            "Driver": "overlay2", "OS": "linux", "RestartCount": 0, "MountPoints": {},
        }  # fmt: skip
        self.write(f"{ROOT}/containers/{key}/config.v2.json", json.dumps(config))
        self.write(f"{ROOT}/containers/{key}/hostconfig.json", json.dumps({"Privileged": False, "Binds": None}))
        mounts = f"{ROOT}/image/overlay2/layerdb/mounts/{key}"
        for name, text in {"mount-id": mount, "init-id": f"{mount}-init", "parent": image[-1].chain_id}.items():
            self.write(f"{mounts}/{name}", text)
        return [own]

    def build(self) -> None:
        """Everything."""
        self.write("etc/hostname", "bench\n")
        self.write("etc/docker/daemon.json", "{}\n")
        shared: dict[tuple[int, ...], Layer] = {}
        refs, images, layers = {}, [], []
        for ref, sizes in IMAGES.items():
            image_id, stack = self.image(ref, sizes, shared)
            refs[ref.partition(":")[0]] = {ref: image_id}
            images.append((ref, image_id, stack))
        self.write(f"{ROOT}/image/overlay2/repositories.json", json.dumps({"Repositories": refs}))
        for number in range(CONTAINERS):
            layers += self.container(number, *images[(0, 0, 0, 1, 2)[number % 5]])
        self.mark([*shared.values(), *layers])


def debugfs_commands(marks: list[tuple[str, str, str]]) -> str:
    """Commands that set extended attributes."""
    return "".join(f'ea_set "{path}" {name} {value}\n' for path, name, value in marks)
