"""How fast and how big: carve against The Sleuth Kit's fls on one image, and hashing against sha256sum.

Builds a disk image of 400,000 names and one of 4 GB with as much unallocated as allocated (once, in .bench/, 3 GB each; needs
e2fsprogs, no root), then runs each command several times in turn. Fails where a command fails, not where one is slow.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import deleted_space
from docker_store import Builder, debugfs_commands

CACHE = Path(__file__).resolve().parent.parent.parent / ".bench"
IMAGE, BIG, DELETED = CACHE / "names-2.img", CACHE / "big-1.bin", CACHE / "deleted-1.img"
CARVE = str(Path(sys.executable).with_name("ctrforensics"))
RUNS = 5
MB = 10**6
TREE_BYTES = 5_000 * MB  # what the tree takes that the image is made from, with room to spare


@dataclass(frozen=True)
class Run:
    """What a command took: wall seconds, and CPU seconds of all its processes."""

    seconds: float
    cpu: float


def measured(*command: str | Path, fine: tuple[int, ...] = (0,)) -> Run:
    """Run a command to its end, its output thrown away. fine: exit codes of one that did what it should."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in fine:
            said.seek(0)
            sys.exit(f"{' '.join(words)}: exit {process.returncode}\n{said.read().decode('utf-8', 'replace')}")
    return Run(seconds, usage.ru_utime + usage.ru_stime)


def peak_memory(*command: str | Path) -> float:
    """Resident MB at the peak: that of each process of a command, all added, though they may not come at the same time."""
    peaks: dict[int, int] = {}
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for number in with_children(process.pid):
                peaks[number] = max(peaks.get(number, 0), high_water(number))
            time.sleep(0.01)
    return sum(peaks.values()) / MB


def with_children(number: int) -> list[int]:
    """A process and all that descend from it."""
    found = [number]
    for file in Path(f"/proc/{number}/task").glob("*/children"):
        try:
            for child in file.read_text().split():
                found += with_children(int(child))
        except OSError:
            continue  # it has just ended
    return found


def high_water(number: int) -> int:
    """The most bytes that a process ever had in memory."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def build() -> None:
    """The image: a directory tree, made into a filesystem by mke2fs, xattrs added by debugfs."""
    for tool in ("mke2fs", "debugfs"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not there; on Debian and Ubuntu: apt install e2fsprogs")
    CACHE.mkdir(exist_ok=True)
    print("building an image of 400,000 names: a few minutes, once", flush=True)
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > TREE_BYTES
    with tempfile.TemporaryDirectory(dir=CACHE) as work, tempfile.TemporaryDirectory(dir=memory if roomy else CACHE) as tree:
        part, script = Path(work) / "disk.img", Path(work) / "marks"
        builder = Builder(Path(tree))
        builder.build()
        script.write_text(debugfs_commands(builder.marks))
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-N", "500000", "-d", tree, part, "8G"], check=True, capture_output=True)
        marked = subprocess.run(["debugfs", "-w", "-f", script, part], check=True, capture_output=True, text=True)
        if len(marked.stderr.splitlines()) > 1:  # its own version is all that debugfs has to say when nothing failed
            sys.exit(f"debugfs: {marked.stderr[:500]}")
        part.replace(IMAGE)


def warm(path: Path) -> None:
    """Read a file once, so that it is in the page cache as far as that reaches."""
    with path.open("rb") as file:
        while file.read(16 * MB):
            pass


def in_turn(commands: dict[str, tuple[str | Path, ...]]) -> dict[str, list[Run]]:
    """Several runs of each command, one after the other, so that what disturbs one disturbs all."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            runs[name].append(measured(*command))
    return runs


def median(runs: list[Run]) -> float:
    """Seconds of the middle run."""
    return statistics.median(run.seconds for run in runs)


def line(name: str, value: str, limit: str = "") -> None:
    """One line of the table."""
    print(f"{name:52}{value:>22}  {limit}", flush=True)


def times(name: str, runs: list[Run]) -> None:
    """A line with the median and the span of some runs; on a busy machine, CPU time tells more."""
    low, high = min(run.seconds for run in runs), max(run.seconds for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    line(name, f"{median(runs):.2f} s ({low:.2f}-{high:.2f})", f"CPU {cpu:.2f} s")


def content_bytes(case: Path) -> int:
    """How many bytes of content were hashed: each inode's once."""
    with sqlite3.connect(f"file:{case}?mode=ro", uri=True) as db:
        hashed = "SELECT DISTINCT partition, inode, size FROM layer_files WHERE type = 'f' AND sha256 IS NOT NULL"
        return int(db.execute(f"SELECT sum(size) FROM ({hashed})").fetchone()[0])


def names_in(case: Path) -> int:
    """How many names of layers the case has."""
    with sqlite3.connect(f"file:{case}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT count(*) FROM layer_files").fetchone()[0])


def walking(case: Path) -> None:
    """Carve without hashing against fls."""
    carve = (CARVE, "carve", IMAGE, "-o", case, "--force", "--hash", "none")
    fls = shutil.which("fls")
    if fls:
        runs = in_turn({"fls": (fls, "-r", "-p", "-m", "/", IMAGE), "carve": carve, "names": (*carve, "--no-findings")})
        times("fls -r -p -m /", runs["fls"])
    else:
        print("fls is not there, so nothing is compared with it; on Debian and Ubuntu: apt install sleuthkit")
        runs = in_turn({"carve": carve, "names": (*carve, "--no-findings")})
    times("carve --hash none", runs["carve"])
    times("carve --hash none --no-findings", runs["names"])
    if fls:
        line("carve : fls", f"{median(runs['carve']) / median(runs['fls']):.2f}", "at most 2.50, aim 1.50")
        line("carve --no-findings : fls", f"{median(runs['names']) / median(runs['fls']):.2f}")
    line("peak memory of carve, all processes", f"{peak_memory(*carve):.0f} MB", "below 600 MB")
    line("names in layers", f"{names_in(case):,}")


def hashing(case: Path) -> None:
    """What hashing adds to carve, against sha256sum of one big file."""
    if not BIG.exists():
        with BIG.open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(16 * MB))
    warm(BIG)
    carve = (CARVE, "carve", IMAGE, "-o", case, "--force")
    runs = in_turn({
        "none": (*carve, "--hash", "none"),
        "all": carve,
        "sha256sum": ("sha256sum", BIG),
    })  # fmt: skip
    times("carve", runs["all"])
    times(f"sha256sum of {BIG.stat().st_size / MB:.0f} MB", runs["sha256sum"])
    ours = content_bytes(case) / (median(runs["all"]) - median(runs["none"])) / MB
    theirs = BIG.stat().st_size / median(runs["sha256sum"]) / MB
    line("hashing in carve", f"{ours:.0f} MB/s", f"{content_bytes(case) / MB:.0f} MB hashed")
    line("sha256sum", f"{theirs:.0f} MB/s")
    line("hashing : sha256sum", f"{ours / theirs:.0%}", "at least 60%")
    line("peak memory of carve, hashing, all processes", f"{peak_memory(*carve):.0f} MB", "below 600 MB")


def carving(case: Path) -> None:
    """Searching unallocated space and hashing the disk in one pass, against sha256sum of the same image."""
    if not DELETED.exists():
        print("building an image of 4 GB with deleted files: a minute, once", flush=True)
        deleted_space.build(DELETED)
    warm(DELETED)
    carve = (CARVE, "carve", DELETED, "-o", case, "--force", "--hash-image")
    runs = in_turn({"carve": carve, "sha256sum": ("sha256sum", DELETED)})
    times("carve --hash-image, unallocated space searched", runs["carve"])
    times("sha256sum of the same image", runs["sha256sum"])
    line("carving and hashing : sha256sum", f"{median(runs['sha256sum']) / median(runs['carve']):.0%}", "at least 40%")
    line("peak memory of carve, all processes", f"{peak_memory(*carve):.0f} MB", "below 300 MB")
    with sqlite3.connect(f"file:{case}?mode=ro", uri=True) as db:
        (found,) = db.execute("SELECT count(*) FROM containers WHERE origin = 'recovered'").fetchone()
    line("removed containers that came back", f"{found}", f"of {deleted_space.CONTAINERS}")


def main() -> None:
    """Build what is missing, measure, print."""
    if not IMAGE.exists():
        build()
    warm(IMAGE)
    print(f"{RUNS} runs of each in turn, the image in the page cache; median (fastest-slowest), {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        case = Path(work) / "names.case.db"
        walking(case)
        hashing(case)
        carving(case)


if __name__ == "__main__":
    main()
