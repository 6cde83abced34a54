"""How much comes back of forty containers that a busy host ran and removed, and of what they wrote: the sample `busy`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path += [str(TOP), str(TOP / "tests")]

from bench import CACHE, CARVE, line  # noqa: E402 - the path is set above

from samples.unpack import unpack  # noqa: E402 - as above
from support.removed_score import score  # noqa: E402 - as above


def main() -> None:
    """Carve the sample and print what came back."""
    CACHE.mkdir(exist_ok=True)
    image = unpack("busy", CACHE / "busy.img")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        case = Path(work) / "busy.case.db"
        begin = time.perf_counter()
        subprocess.run([CARVE, "carve", image, "-o", case], check=True, capture_output=True)
        seconds = time.perf_counter() - begin
        found = score(case)
    print()
    line("carve of a disk of 1 GiB, 40 containers removed", f"{seconds:.1f} s")
    line("removed containers with name, command, environment", f"{found.whole}", f"of {found.removed}, at least 95%")
    line("containers that never were", f"{len(found.false)}", "none")
    line("files of theirs with blocks that were reused", f"{found.reused}", f"of {found.files}")
    line("others that came back by their content", f"{found.by_content}", f"of {found.standing}, at least 90%")
    line("of these with path and container", f"{found.placed}", f"of {found.standing}")
    line("contents called certain that are wrong", f"{len(found.wrong)}", "none")


if __name__ == "__main__":
    main()
