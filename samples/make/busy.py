"""busy: Docker 26 on 1 GiB of ext4, where forty containers are run and removed amid other writes.

Every text is unlike the others, so that a SHA-256 tells one file, and of lines that repeat, so that the disk packs well.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samples.make.disk import Volume, bare
from samples.make.host import Host
from samples.make.rootfs import base_rootfs
from samples.make.tools import run
from samples.make.truth import save

COUNT = 40
BLOCK = 4096
SEED = 4
MOST_OTHER = 120_000_000
"""Bytes of the host's other files that stand at the same time."""
LINES = (0, 1, 40, 40, 150, 400, 1500, 12_000)
SERVICE = "while true; do echo tick; date >> /root/dates; sleep 1; done"
_RUN = re.compile(r"\s*\d+:\s+(?P<logical>\d+)\.\.\s*\d+:\s+(?P<physical>\d+)\.\.\s*\d+:\s+(?P<blocks>\d+):(?P<rest>.*)")


@dataclass
class Written:
    """A file of a container as it was right before the container was removed.

    extents: [logical, physical, blocks], of 4096 bytes. stands: whether its bytes were still in these when the disk was imaged;
    None where it had no blocks yet, or no content.
    """

    container: str
    path: str
    size: int
    inode: int
    sha256: str
    extents: list[list[int]]
    stands: bool | None = None


@dataclass
class Busy:
    """The host at work, and what is known of what it removed."""

    host: Host
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    removed: list[Any] = field(default_factory=list)
    files: list[Written] = field(default_factory=list)
    numbered: int = 0

    def work(self) -> None:
        """Run and remove the containers, a few at a time, in no order."""
        waiting = list(range(COUNT))
        alive: list[str] = []
        while waiting or alive:
            if waiting and (len(alive) < 3 or self.random.random() < 0.5):
                alive.append(self.run(waiting.pop(0)))
            else:
                self.remove(alive.pop(self.random.randrange(len(alive))))
            self.write_others()
            time.sleep(self.random.random() * 2)
        for _ in range(6):
            self.write_others()
            time.sleep(0.5)

    def run(self, number: int) -> str:
        """Run a container to its end; it leaves up to five files. Returns its name."""
        name = f"{self.random.choice(('build', 'scan', 'backup', 'report'))}-{number}"
        script = [f"echo this is {name}"]
        for each in range(self.random.randint(1, 5)):
            where = self.random.choice(("/root", "/tmp", "/var/log/app", "/srv/data/deep"))
            lines = self.random.choice(LINES)
            words = f'"{name}, file {each}, line " n'
            script.append(
                f"mkdir -p {where}; awk 'BEGIN {{ for (n = 0; n < {lines}; n++) print {words} }}' > {where}/{name}-{each}"
            )
        if self.random.random() < 0.7:
            script.append("sync")
        more = self.random.choice(((), ("--label", f"team=t{number}"), ("--volume", f"data{number % 5}:/data")))
        self.host.docker("run", "--name", name, "--network", "none", "--env", f"JOB={name}", "--env",
                         f"TOKEN=t{self.random.randint(0, 10**9)}", *more, "base:3.1", "sh", "-c", "; ".join(script))  # fmt: skip
        return name

    def remove(self, name: str) -> None:
        """Remove a container, when it is recorded what it was and what its layer holds."""
        told = self.host.ask("inspect", name)[0]
        upper = self.host.disk / told["GraphDriver"]["Data"]["UpperDir"].lstrip("/")
        for path in sorted(upper.rglob("*")):
            if path.is_file() and not path.is_symlink():
                data, inode = path.read_bytes(), path.stat().st_ino
                digest = hashlib.sha256(data).hexdigest()
                self.files.append(Written(name, f"/{path.relative_to(upper)}", len(data), inode, digest, extents(path)))
        self.removed.append(told)
        self.host.docker("rm", "--force", name)

    def write_others(self) -> None:
        """What the rest of the host writes and deletes meanwhile."""
        top = self.host.disk / "srv/other"
        left = self.random.randint(200_000, 3_000_000)
        while left > 0:
            size = self.random.choice((100, 900, 5000, 30_000, 200_000, 1_000_000))
            directory = top / f"d{self.random.randint(0, 9)}"
            directory.mkdir(parents=True, exist_ok=True)
            self.numbered += 1
            (directory / f"f{self.numbered}").write_bytes(b"%07d of another thing\n" % self.numbered * (size // 24))
            left -= size
        with (self.host.disk / "var/log/syslog").open("a") as log:
            for line in range(self.random.randint(5, 200)):
                log.write(f"Jan  1 00:00:{line % 60:02} shop-02 app[{line}]: something happened\n")
        standing = sorted(path for path in top.rglob("*") if path.is_file())
        used = sum(path.stat().st_size for path in standing)
        self.random.shuffle(standing)
        while standing and (used > MOST_OTHER or self.random.random() < 0.6):
            gone = standing.pop()
            used -= gone.stat().st_size
            gone.unlink()


def extents(path: Path) -> list[list[int]]:
    """Where a file stands on its filesystem; nothing where it has no blocks yet."""
    rows = [_RUN.match(line) for line in run("filefrag", "-v", "-e", f"-b{BLOCK}", path).splitlines()]
    found = [row for row in rows if row is not None and "delalloc" not in row["rest"] and "inline" not in row["rest"]]
    return [[int(row["logical"]), int(row["physical"]), int(row["blocks"])] for row in found]


def see_what_stands(files: list[Written], disk: Path) -> None:
    """Hold what the files' blocks have now against what they had."""
    with disk.open("rb") as image:
        for file in files:
            data = b""
            for _, physical, blocks in file.extents:
                image.seek(physical * BLOCK)
                data += image.read(blocks * BLOCK)
            if data:
                file.stands = hashlib.sha256(data[: file.size]).hexdigest() == file.sha256


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    root = Volume("root", 1024, "/", ("mkfs.ext4", "-q", "-F", "-b", str(BLOCK)))
    root.make(work)
    with Host(work, "trixie", [root], "shop-02", {"log-driver": "json-file"}) as host:
        host.start_docker()
        host.docker(
            "import", "-c", 'CMD ["sh"]', "-c", "ENV APP=base", "-", "base:3.1", stdin=base_rootfs(host.tree / "bin/busybox")
        )
        host.docker("run", "--detach", "--name", "service", "--network", "none", "--restart", "unless-stopped", "base:3.1",
                    "sh", "-c", SERVICE)  # fmt: skip
        busy = Busy(host)
        busy.work()
        save(truth, "docker-containers.json", json.loads(host.docker("inspect", "service")))
    disk = work / "disk.img"
    bare(disk, root)
    see_what_stands(busy.files, disk)
    save(truth, "removed.json", busy.removed)
    save(truth, "removed-files.json", [asdict(file) for file in busy.files])
    return disk
