"""Unpack a sample's disk image: `python3 samples/unpack.py NAME OUT.img`. Needs nothing but Python."""

from __future__ import annotations

import lzma
import os
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent
CHUNK = 1 << 20


def names(truth: str = "containers.json") -> list[str]:
    """The samples with a certain file of truth (`.`: all of them); containers.json is Docker's."""
    return sorted(packed.parent.name for packed in SAMPLES.glob("*/disk.img.xz") if (packed.parent / "truth" / truth).exists())


def unpack(name: str, image: Path) -> Path:
    """Write a sample's disk image, with holes for its zeros; an image that is there already is left alone.

    Whoever unpacks the same one at the same time gets the same whole file.
    """
    if image.exists():
        return image
    image.parent.mkdir(parents=True, exist_ok=True)
    part = image.with_name(f"{image.name}.{os.getpid()}")
    try:
        with lzma.open(SAMPLES / name / "disk.img.xz") as packed, part.open("wb") as out:
            while chunk := packed.read(CHUNK):
                if chunk.count(0) == len(chunk):
                    out.seek(len(chunk), os.SEEK_CUR)
                else:
                    out.write(chunk)
            out.truncate(out.tell())
        part.replace(image)
    finally:
        part.unlink(missing_ok=True)
    return image


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in names("."):
        sys.exit(f"usage: python3 samples/unpack.py {'|'.join(names('fs'))} OUT.img")
    print(unpack(sys.argv[1], Path(sys.argv[2])))
