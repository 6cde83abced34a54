"""A disk image of 4 GB that is half unallocated: what carving has to go through.

As many files were deleted as are there: random bytes, programs, texts, some logs of containers; and the configurations of some
hundred removed containers. Made by mke2fs from a directory tree, deleted by debugfs; no root.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

MIB = 1 << 20
SIZE = 4096 * MIB
FILE = 4 * MIB
COUNT = 440  # files that stay, and as many that go
CONTAINERS = 400
GONE, KEPT = "gone", "kept"


def build(image: Path) -> None:
    """Make the image, replacing what is there."""
    with tempfile.TemporaryDirectory(dir=image.parent) as work:
        tree, part, script = Path(work) / "tree", Path(work) / "disk.img", Path(work) / "remove"
        names = [*_files(tree, KEPT), *_files(tree, GONE), *_configs(tree)]
        script.write_text("".join(f"rm /{name}\n" for name in names if not name.startswith(KEPT)))
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, part, f"{SIZE // MIB}M"], check=True, capture_output=True)
        subprocess.run(["debugfs", "-w", "-f", script, part], check=True, capture_output=True)
        part.replace(image)


def _files(tree: Path, directory: str) -> list[str]:
    """Random bytes, programs, texts of such bytes in hexadecimal, and in each hundred megabytes a log."""
    (tree / directory).mkdir(parents=True)
    program = Path(sys.executable).resolve().read_bytes()
    program = (program * (FILE // len(program) + 1))[:FILE]
    log = b"".join(_line(number) for number in range(FILE // len(_line(0))))
    names = []
    for number in range(COUNT):
        content = log if number % 25 == 0 else (os.urandom(FILE), program, os.urandom(FILE // 2).hex().encode())[number % 3]
        (tree / directory / str(number)).write_bytes(content)
        names.append(f"{directory}/{number}")
    return names


def _line(number: int) -> bytes:
    told = {
        "log": f"10.0.0.{number % 250:3} GET /item/{number:6} 200\n",
        "stream": "stdout",
        "time": f"2026-01-01T00:00:{number % 60:02}.{number:09}Z",
    }
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _configs(tree: Path) -> list[str]:
    chance = random.Random("containers")
    names = []
    for number in range(CONTAINERS):
        own = chance.randbytes(32).hex()
        root = f"/var/lib/docker/containers/{own}"
        config = {
            "StreamConfig": {}, "State": {"Running": False}, "ID": own, "Created": "2026-01-01T00:00:00Z", "Path": "sh",
            "Args": ["-c", "true"], "Config": {"Env": [f"N={number}"], "Image": "shop:1"}, "LogPath": f"{root}/{own}-json.log",
            "Name": f"/job-{number}", "HostsPath": f"{root}/hosts",
        }  # fmt: skip
        path = tree / root[1:] / "config.v2.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(config, separators=(",", ":")) + "\n")
        names.append(str(path.relative_to(tree)))
    return names
