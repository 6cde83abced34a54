"""`python3 -m samples.make NAME`: make a sample anew, as root on Linux; see samples/README.md for what it needs."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from samples.make import busy, podhost, powercut, snapshots, torture, webshop
from samples.make.host import CACHE
from samples.make.tools import run

SAMPLES = {
    "busy": busy.make,
    "podhost": podhost.make,
    "webshop": webshop.make,
    "powercut": powercut.make,
    "torture": torture.make,
    "snapshots": snapshots.make,
}


def main() -> int:
    """Make one sample: samples/NAME/disk.img.xz and samples/NAME/truth/."""
    if len(sys.argv) != 2 or sys.argv[1] not in SAMPLES:
        print(f"usage: python3 -m samples.make {'|'.join(SAMPLES)}", file=sys.stderr)
        return 2
    out = Path(__file__).resolve().parent.parent / sys.argv[1]
    shutil.rmtree(out, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        disk = SAMPLES[sys.argv[1]](Path(work), out / "truth")
        with disk.open("rb") as content:
            print(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {sys.argv[1]}: {disk.stat().st_size} bytes")
        # a window as long as the disk finds one layer's copy of a file in another
        run("xz", "--keep", "--threads=1", "--lzma2=preset=9e,dict=256MiB", disk)
        disk.with_suffix(".img.xz").replace(out / "disk.img.xz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
