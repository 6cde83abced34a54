"""torture: layers that the kernel's overlayfs wrote with redirect_dir, metacopy and index on, by random operations.

No container ran. Docker made the store: images of five layers and containers on them. Then each image layer, bottom up, was
mounted as the upper directory over those below it, and each container's own likewise, and worked on at random; so redirects and
metacopies are chained through layers. The filesystem stands on the disk without a partition table, with inline data.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from samples.make.disk import Volume, bare
from samples.make.host import Host
from samples.make.rootfs import build_context
from samples.make.tools import run
from samples.make.truth import ask_docker, merged_views

FEATURES = ("mkfs.ext4", "-q", "-F", "-b", "2048", "-I", "512", "-O", "inline_data", "-L", "torture")
IMAGES = {"moved": "redirect_dir=on,metacopy=off", "meta": "redirect_dir=on,metacopy=on"}
CONTAINERS = {
    "plain": ("moved", "redirect_dir=off,metacopy=off"),
    "redirects": ("moved", "redirect_dir=on,metacopy=off"),
    "followed": ("moved", "redirect_dir=follow,metacopy=off,index=on"),
    "metacopies": ("meta", "redirect_dir=on,metacopy=on"),
    "indexed": ("meta", "redirect_dir=on,metacopy=on,index=on"),
    "untouched": ("meta", "redirect_dir=on,metacopy=on,xino=on"),
}
FEWEST = 24  # directories below which none is removed
NAMES = ("a", "b", "new", "old", "caf\udce9", "two\nlines", "x" * 200)


def some_tree() -> dict[str, str]:
    """The files of the bottom layer: three levels of directories."""
    return {f"w/{a}/{b}/{c}": f"{a}{b}{c}\n" * (3 if c == "1" else 300) for a in "abcdef" for b in "vwxyz" for c in "1234"}


def work_on(top: Path, rng: random.Random, count: int) -> None:
    """Random operations below `top`; those that the kernel refuses are passed over."""
    for number in range(count):
        paths = sorted(top.rglob("*"))
        directories = [path for path in paths if path.is_dir() and not path.is_symlink()]
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        into = rng.choice([top, *directories])
        new = into / (rng.choice(NAMES) if rng.random() < 0.5 else f"n{number}")
        try:
            if len(directories) < FEWEST:
                new.mkdir()
            elif rng.random() < 0.4:
                on_directories(rng, rng.choice(directories), new)
            elif files:
                on_files(rng, rng.choice(files), new)
        except (OSError, shutil.Error):
            continue


def on_directories(rng: random.Random, directory: Path, new: Path) -> None:
    """One random change of a directory. OSError where the kernel refuses it."""
    match rng.randrange(8):
        case 0:
            shutil.rmtree(directory)
        case 1:
            shutil.rmtree(directory)
            directory.mkdir()
            (directory / "fresh").write_text("fresh\n")
        case 2 | 3 | 4:
            directory.rename(new)
        case 5:
            directory.chmod(rng.choice((0o700, 0o2770, 0o1777)))
        case 6:
            os.setxattr(directory, "user.kind", rng.randbytes(20))
        case _:
            new.symlink_to(rng.choice(("..", "/w/a", "nowhere", "y" * 90)))


def on_files(rng: random.Random, file: Path, new: Path) -> None:
    """One random change of a file. OSError where the kernel refuses it."""
    match rng.randrange(10):
        case 0:
            new.write_bytes(rng.randbytes(rng.choice((0, 5, 150, 3000))))
        case 1:
            with file.open("ab") as opened:
                opened.write(b"appended\n")
        case 2:
            file.chmod(rng.choice((0o600, 0o755, 0o4711)))
        case 3:
            os.chown(file, rng.randrange(70000), rng.randrange(70000))
        case 4:
            file.unlink()
        case 5 | 6:
            file.rename(new)
        case 7:
            os.link(file, new)
        case 8:
            os.utime(file, ns=(rng.randrange(2**33) * 10**9, -rng.randrange(2**30) * 10**9 + rng.randrange(10**9)))
        case _:
            os.setxattr(file, f"user.n{rng.randrange(3)}", rng.randbytes(rng.choice((1, 40, 400))))


def stack_of(host: Host, kind: str, name: str) -> list[str]:
    """The layers of an image or a container, top first, as paths on the host."""
    data = host.ask(kind, "inspect", name)[0]["GraphDriver"]["Data"]
    return [data["UpperDir"], *data["LowerDir"].split(":")]


def work_in_layers(host: Host, work: Path, stack: Sequence[str], options: str, rng: random.Random, count: int) -> None:
    """Mount the layers of `stack`, top first, as a live overlay whose upper directory is the first one, and work on it."""
    top = work / "overlay"
    shutil.rmtree(top, ignore_errors=True)
    (top / "merged").mkdir(parents=True)
    real = [host.disk / path.lstrip("/") for path in stack]
    scratch = real[0].parent / "work"
    scratch.mkdir(exist_ok=True)
    for number, path in enumerate(real[1:]):
        (top / str(number)).symlink_to(path)
    here = Path.cwd()
    os.chdir(top)
    try:
        lower = ":".join(map(str, range(len(real) - 1)))
        run(
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            f"{options},lowerdir={lower},upperdir={real[0]},workdir={scratch}",
            "merged",
        )
        try:
            work_on(top / "merged/w", rng, count)
        finally:
            run("umount", "merged")
    finally:
        os.chdir(here)


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    rng = random.Random(20)
    root = Volume("root", 48, "/", FEATURES)
    root.make(work)
    with Host(work, "trixie", [root], "lab-3", {}) as host:
        host.start_docker()
        host.docker("import", "-", "bottom:1", stdin=build_context("", some_tree()))
        for image, options in IMAGES.items():
            steps = "".join(f"COPY Dockerfile /w/{image}{number}\n" for number in range(4))
            host.docker("build", "-t", f"{image}:1", "-", stdin=build_context(f"FROM bottom:1\n{steps}", {}))
            stack = stack_of(host, "image", f"{image}:1")
            for height in range(len(stack) - 2, -1, -1):
                work_in_layers(host, work, stack[height:], options, rng, 60)
        for name, (image, options) in CONTAINERS.items():
            host.docker("create", "--name", name, "--network", "none", f"{image}:1", "sh")
            work_in_layers(host, work, stack_of(host, "container", name), options, rng, 0 if name == "untouched" else 120)
        layers = ask_docker(host, truth)
    disk = work / "disk.img"
    bare(disk, root)
    merged_views(work, [root], layers, truth, "ro,redirect_dir=follow,metacopy=on")
    return disk
