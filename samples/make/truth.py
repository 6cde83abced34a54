"""What is true about a sample: the engine's own answers, and the merged views as the kernel's overlayfs shows them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from samples.make.disk import Volume
from samples.make.host import Host
from samples.make.tools import attach, run, unmount_below

TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}


def save(truth: Path, name: str, answer: Any) -> None:
    """Write one answer as JSON."""
    truth.mkdir(parents=True, exist_ok=True)
    (truth / name).write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n")


def ask_docker(host: Host, truth: Path) -> dict[str, list[str]]:
    """Record what Docker says about itself, its images and its containers; returns each container's layers, top first."""
    ids = host.docker("ps", "--all", "--quiet", "--no-trunc").split()
    containers = host.ask("inspect", *ids)
    images = sorted(set(host.docker("images", "--all", "--quiet", "--no-trunc").split()))
    networks = host.docker("network", "ls", "--quiet", "--no-trunc").split()
    volumes = host.docker("volume", "ls", "--quiet").split()
    save(truth, "version.json", host.ask("version", "--format", "{{json .}}"))
    save(truth, "containers.json", containers)
    save(truth, "images.json", host.ask("image", "inspect", *images))
    save(truth, "networks.json", host.ask("network", "inspect", *networks))
    save(truth, "volumes.json", host.ask("volume", "inspect", *volumes) if volumes else [])
    layers = {}
    for container in containers:
        name = container["Name"].lstrip("/")
        logs = host.run("sh", "-c", f"docker logs --timestamps {name} 2>&1", check=False)
        (truth / "logs").mkdir(exist_ok=True)
        (truth / "logs" / f"{name}.txt").write_text(logs)
        stack = container["GraphDriver"]["Data"]
        layers[name] = [stack["UpperDir"], *stack["LowerDir"].split(":")]
    return layers


def ask_changes(host: Host, truth: Path) -> None:
    """Record what `docker diff` asks for, of each container; that fails on layers with metacopies."""
    ids = host.docker("ps", "--all", "--quiet", "--no-trunc").split()
    save(truth, "diff.json", {key: host.api(f"/containers/{key}/changes") or [] for key in ids})


def records(top: Path) -> Iterator[dict[str, Any]]:
    """One record per path below `top`, as the kernel shows it; the top itself has the path ''.

    path, target: undecodable bytes surrogate-escaped; ino: equal for names of one file; rdev: [major, minor];
    xattrs: values in base64, overlayfs' own left out.
    """
    pending = [""]
    while pending:
        path = pending.pop()
        here = top / path
        st = here.lstat()
        kind = TYPES[stat.S_IFMT(st.st_mode)]
        record: dict[str, Any] = {
            "path": path,
            "type": kind,
            "mode": stat.S_IMODE(st.st_mode),
            "uid": st.st_uid,
            "gid": st.st_gid,
        }
        record |= {"nlink": st.st_nlink, "mtime_ns": st.st_mtime_ns}
        if kind == "f":
            record |= {"size": st.st_size, "ino": f"{st.st_dev:x}:{st.st_ino}"}
            with here.open("rb") as content:
                record["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
        elif kind == "l":
            record["target"] = os.readlink(here)  # noqa: PTH115 - Path.readlink tidies the target up
        elif kind in "cb":
            record["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
        names = [n for n in os.listxattr(here, follow_symlinks=False) if not n.startswith(("trusted.overlay.", "user.overlay."))]
        if names:
            values = {name: os.getxattr(here, name, follow_symlinks=False) for name in sorted(names)}
            record["xattrs"] = {name: base64.b64encode(value).decode() for name, value in values.items()}
        yield record
        if kind == "d":
            pending.extend(f"{path}/{child.name}".lstrip("/") for child in sorted(here.iterdir(), reverse=True))


def merged_views(work: Path, volumes: Sequence[Volume], layers: dict[str, list[str]], truth: Path, options: str) -> None:
    """Mount copies of the powered-off volumes, so that the kernel replays their journals, and record each merged view.

    `layers` are paths on the host, top first; one alone is shown as it lies. `options` are overlayfs' own, or `fuse` for
    fuse-overlayfs.
    """
    top = work / "view"
    host, merged = top / "host", top / "merged"
    merged.mkdir(parents=True)
    host.mkdir()
    loops = []
    (truth / "fs").mkdir(parents=True, exist_ok=True)
    here = Path.cwd()
    try:
        for volume in sorted((v for v in volumes if v.point), key=lambda v: str(v.point)):
            copied = volume.image.with_suffix(".copy")
            run("cp", "--sparse=always", volume.image, copied)
            loops.append(attach(copied))
            run("mount", loops[-1], host / str(volume.point).lstrip("/"))
        os.chdir(top)  # short names: the option string has one page
        for name, stack in layers.items():
            for number, path in enumerate(stack):
                Path(str(number)).unlink(missing_ok=True)
                Path(str(number)).symlink_to(host / path.lstrip("/"))
            lower = ":".join(map(str, range(len(stack))))
            if len(stack) == 1:
                run("mount", "--bind", host / stack[0].lstrip("/"), merged)
            elif options == "fuse":
                run("fuse-overlayfs", "-o", f"lowerdir={lower}", merged)
            else:
                run("mount", "-t", "overlay", "overlay", "-o", f"{options},lowerdir={lower}", merged)
            with gzip.GzipFile(truth / "fs" / f"{name}.jsonl.gz", "wb", mtime=0) as out:
                out.writelines(json.dumps(record).encode() + b"\n" for record in records(merged))
            run("umount", merged)
    finally:
        os.chdir(here)
        unmount_below(merged)
        unmount_below(host)
        for loop in loops:
            run("losetup", "--detach", loop)
