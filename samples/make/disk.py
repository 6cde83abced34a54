"""A disk image: filesystems, each in a file of its own while the host runs, put into partitions when its power is off."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from samples.make.tools import attach, run

MIB = 1 << 20
LVM = (
    "--driverloaded", "n",  # nothing is activated, so that no device-mapper is needed
    "--config", 'devices { use_devicesfile=0 scan=["/dev"] } activation { udev_sync=0 udev_rules=0 }'
    " backup { backup=0 archive=0 }",
)  # fmt: skip


@dataclass
class Volume:
    """One filesystem. size: MiB. point: where the host mounts it. made: the mkfs command."""

    name: str
    size: int
    point: str | None
    made: tuple[str, ...] = ("mkfs.ext4", "-q", "-F")
    image: Path = field(default=Path(), init=False)

    def make(self, where: Path) -> None:
        """Make the filesystem, empty, in a file in `where`."""
        self.image = where / f"{self.name}.fs"
        run("truncate", "-s", self.size * MIB, self.image)
        run(*self.made, self.image)


def copy(volume: Path, disk: Path, start: int, skip: int = 0, length: int | None = None) -> None:
    """Write a part of a volume's file to where the disk has it; zeros stay holes. All numbers are bytes."""
    with volume.open("rb") as source, disk.open("r+b") as target:
        source.seek(skip)
        left = volume.stat().st_size - skip if length is None else length
        while left and (chunk := source.read(min(MIB, left))):
            if chunk.strip(b"\0"):
                target.seek(start)
                target.write(chunk)
            start += len(chunk)
            left -= len(chunk)


def bare(disk: Path, volume: Volume) -> None:
    """A disk without a partition table."""
    run("truncate", "-s", volume.size * MIB, disk)
    copy(volume.image, disk, 0)


def gpt(disk: Path, efi: Volume, root: Volume) -> None:
    """A GPT disk: an EFI system partition and a root partition."""
    run("truncate", "-s", (1 + efi.size + root.size + 1) * MIB, disk)
    start = (1 + efi.size) * 2048
    table = f"label: gpt\nstart=2048, size={efi.size * 2048}, type=U\nstart={start}, size={root.size * 2048}, type=L, name=root\n"
    run("sfdisk", "-q", disk, stdin=table.encode())
    copy(efi.image, disk, MIB)
    copy(root.image, disk, start * 512)


def dos_with_lvm(disk: Path, root: Volume, data: Volume, swap: int) -> list[str]:
    """A DOS disk: root in a primary partition, and in a logical one a PV where `data` is an LV of two segments around `swap` MiB.

    Returns the segments as lvs prints them.
    """
    physical = swap + data.size + 8
    start = (1 + root.size) * 2048
    run("truncate", "-s", (1 + root.size + 2 + physical) * MIB, disk)
    table = (
        f"label: dos\nstart=2048, size={root.size * 2048}, type=83, bootable\n"
        f"start={start}, size={(physical + 1) * 2048}, type=5\nstart={start + 2048}, size={physical * 2048}, type=8e\n"
    )
    run("sfdisk", "-q", disk, stdin=table.encode())
    copy(root.image, disk, MIB)
    begin = (start + 2048) * 512
    loop = attach(disk, "--offset", begin, "--sizelimit", physical * MIB)
    first = data.size // 2 // 4 * 4
    try:
        run("pvcreate", *LVM, "-ff", "-y", loop)
        run("vgcreate", *LVM, "vg0", loop)
        create = ("lvcreate", *LVM, "-an", "-Zn", "-Wn", "-y")
        run(*create, "-n", data.name, "-L", f"{first}M", "vg0")
        run(*create, "-n", "swap", "-L", f"{swap}M", "vg0")
        run("lvextend", *LVM, "-L", f"{data.size}M", f"vg0/{data.name}")
        units = ("--units", "b", "--nosuffix", "--reportformat", "json")
        pv = json.loads(run("pvs", *LVM, *units, "-o", "pe_start,vg_extent_size", loop))["report"][0]["pv"][0]
        segments = json.loads(run("lvs", *LVM, *units, "-o", "seg_pe_ranges", f"vg0/{data.name}"))["report"][0]["lv"]
    finally:
        run("losetup", "--detach", loop)
    extent, skip, ranges = int(pv["vg_extent_size"]), 0, []
    for segment in segments:
        ranges.append(re.sub(r"^.*:", "", segment["seg_pe_ranges"]))
        low, high = map(int, ranges[-1].split("-"))
        length = (high - low + 1) * extent
        copy(data.image, disk, begin + int(pv["pe_start"]) + low * extent, skip, length)
        skip += length
    return ranges
