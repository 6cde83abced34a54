"""Running the tools that make a sample."""

from __future__ import annotations

import subprocess
from pathlib import Path

Word = str | Path | int


def run(*words: Word, stdin: bytes | None = None, check: bool = True) -> str:
    """Run a command and return what it printed; undecodable bytes are surrogate-escaped. RuntimeError tells why it failed."""
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")[-4000:]
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{said}")
    return done.stdout.decode("utf-8", "surrogateescape")


def attach(image: Path, *options: Word) -> str:
    """The loop device of an image file."""
    return run("losetup", "--find", "--show", *options, image).strip()


def unmount_below(top: Path) -> None:
    """Unmount `top` and everything mounted below it, deepest first."""
    mounted = [line.split()[1].encode().decode("unicode_escape") for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((p for p in mounted if p == str(top) or p.startswith(f"{top}/")), key=len, reverse=True):
        run("umount", point, check=False)
