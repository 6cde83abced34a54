"""A meta.db of 205 MB with 40,000 containers, and pages of 2,500 that were removed: what time and memory it takes.

Builds a disk image that holds it (once, in .bench/; needs e2fsprogs, no root).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path += [str(TOP), str(TOP / "tests")]

from bench import CACHE, CARVE, line, measured, peak_memory, times, warm  # noqa: E402 - the path is set above

from support.bolt_writer import write_meta  # noqa: E402 - as above

IMAGE, META = CACHE / "meta-1.img", CACHE / "meta-1.db"
INSIDE = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
RUNS = 3
GAPS = 3  # the exit code of carve: snapshots without a snapshotter, keys that are not listed one by one


def build() -> None:
    """The file, and a disk image with it."""
    if not shutil.which("mke2fs"):
        sys.exit("mke2fs is not there; on Debian and Ubuntu: apt install e2fsprogs")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        tree, part = Path(work) / "tree", Path(work) / "disk.img"
        database = tree / INSIDE[1:]
        database.parent.mkdir(parents=True)
        (tree / "etc").mkdir()
        (tree / "etc" / "hostname").write_text("many\n")
        (tree / "etc" / "os-release").write_text("ID=debian\n")
        with database.open("wb") as stream:
            write_meta(stream, containers=40_000, removed=2_500)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, part, "512M"], check=True, capture_output=True)
        database.replace(META)
        part.replace(IMAGE)


def main() -> None:
    """Build what is missing, measure, print."""
    if not IMAGE.exists() or not META.exists():
        build()
    warm(IMAGE)
    warm(META)
    print(f"\na meta.db of {META.stat().st_size / 10**6:.0f} MB with 40,000 containers")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        case = Path(work) / "meta.case.db"
        for name, command in {
            "carve --hash none": ("carve", IMAGE, "-o", case, "--force", "--hash", "none"),
            "info": ("info", IMAGE),
            "bolt": ("bolt", META),
            "bolt --deleted": ("bolt", META, "--deleted"),
            "bolt --check": ("bolt", META, "--check"),
        }.items():
            runs = [measured(CARVE, *command, fine=(0, GAPS)) for _ in range(RUNS)]
            times(name, runs)
            line(f"  {name}, peak memory", f"{peak_memory(CARVE, *command):.0f} MB", "at most 10 s and 300 MB")


if __name__ == "__main__":
    main()
