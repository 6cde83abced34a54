"""How fast other filesystems and disk image formats are: XFS against ext4, E01 against raw; the same names and contents in each.

Takes the disk image of bench.py. XFS needs root (to mount) and xfsprogs, E01 needs ewfacquire; what is not there is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import CACHE, CARVE, IMAGE, RUNS, build, in_turn, line, median, times, warm

from forensics.evidence import open_evidence
from forensics.filesystems.open import open_filesystem

XFS, E01 = CACHE / "names-2.xfs.img", CACHE / "names-2.E01"


def build_xfs() -> bool:
    """The image's files on XFS, copied by the kernel."""
    if XFS.exists():
        return True
    if os.geteuid() != 0 or not shutil.which("mkfs.xfs"):
        print("XFS is not measured: making it takes root and mkfs.xfs; on Debian and Ubuntu: apt install xfsprogs")
        return False
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        part, old, new = Path(work) / "disk.img", Path(work) / "old", Path(work) / "new"
        with part.open("wb") as file:
            file.truncate(8 << 30)
        subprocess.run(["mkfs.xfs", "-q", part], check=True)
        mounted = []
        try:
            for image, place, options in ((IMAGE, old, "loop,ro,noload"), (part, new, "loop")):
                place.mkdir()
                subprocess.run(["mount", "-o", options, image, place], check=True)
                mounted.append(place)
            subprocess.run(["cp", "-a", f"{old}/.", new], check=True)
        finally:
            for place in mounted:
                subprocess.run(["umount", place], check=True)
        part.replace(XFS)
    return True


def build_e01() -> bool:
    """The image as ewfacquire packs it."""
    if E01.exists():
        return True
    if not shutil.which("ewfacquire"):
        print("E01 is not measured: ewfacquire is not there; on Debian and Ubuntu: apt install ewf-tools")
        return False
    command = ["ewfacquire", "-u", "-q", "-c", "fast", "-S", "64GiB", "-t", E01.with_suffix(""), IMAGE]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return True


def walk(image: Path) -> float:
    """Seconds that it takes to open a filesystem and list all that is in it."""
    with open_evidence([image]) as disk:
        begin = time.perf_counter()
        fs = open_filesystem(disk)
        if fs is None:
            sys.exit(f"{image}: no filesystem")
        fs.tree(fs.root)
        return time.perf_counter() - begin


def walking() -> None:
    """XFS against ext4: the back ends alone, and carve."""
    for image in (IMAGE, XFS):
        warm(image)
    pairs = [(walk(IMAGE), walk(XFS)) for _ in range(RUNS)]
    ext4, xfs = (sorted(column)[RUNS // 2] for column in zip(*pairs, strict=True))
    line("walk of ext4, of XFS", f"{ext4:.2f} s, {xfs:.2f} s")
    line("XFS : ext4", f"{xfs / ext4:.2f}", "at most 1.50")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        names = ("-o", f"{work}/case.db", "--force", "--hash", "none")
        runs = in_turn({"ext4": (CARVE, "carve", IMAGE, *names), "XFS": (CARVE, "carve", XFS, *names)})
    line("carve --hash none, XFS : ext4", f"{median(runs['XFS']) / median(runs['ext4']):.2f}")


def packed() -> None:
    """E01 against raw: carve with all hashes."""
    for image in (IMAGE, E01):
        warm(image)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        case = ("-o", f"{work}/case.db", "--force")
        runs = in_turn({"raw": (CARVE, "carve", IMAGE, *case), "E01": (CARVE, "carve", E01, *case)})
    times("carve, raw", runs["raw"])
    times("carve, E01 of fast compression", runs["E01"])
    line("speed of E01 : raw", f"{median(runs['raw']) / median(runs['E01']):.0%}", "at least 50%")


def main() -> None:
    """Build what is missing, measure, print."""
    if not IMAGE.exists():
        build()
    print(f"\nother formats, {RUNS} runs in turn, the images in the page cache; medians\n")
    if build_xfs():
        walking()
    if build_e01():
        packed()


if __name__ == "__main__":
    main()
