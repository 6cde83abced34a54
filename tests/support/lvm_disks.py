"""Disks with physical volumes of LVM2, and what is found on them."""

import random

from forensics.volumes import find_volumes
from support.disks import MIB, Disk, put, put_mbr, put_pv

EXTENT = 64 << 10
UUIDS = [letter * 32 for letter in "abc"]
PV_SIZE = 4 * MIB
PV_EXTENTS = (PV_SIZE - MIB) // EXTENT


def disk_with(text, pvs=1, missing=(), **how):
    """A DOS disk with `pvs` physical volumes, the first of which has the text, and data that is everywhere different."""
    disk = bytearray(random.Random(7).randbytes(MIB + pvs * PV_SIZE))
    put(disk, 0, bytes(512))
    put_mbr(disk, [(0x8E, (MIB + n * PV_SIZE) // 512, PV_SIZE // 512) for n in range(pvs) if n not in missing])
    for n in range(pvs):
        put(disk, MIB + n * PV_SIZE, bytes(MIB))
        put_pv(disk, MIB + n * PV_SIZE, PV_SIZE, UUIDS[n], text if n == 0 else b"", mda=n == 0, **(how if n == 0 else {}))
    return disk


def pv_list(count):
    return [(f"pv{n}", UUIDS[n], PV_EXTENTS) for n in range(count)]


def linear(start, count, pv, extent):
    stripes = f'["pv{pv}", {extent}]'
    return {"start_extent": start, "extent_count": count, "type": '"striped"', "stripe_count": 1, "stripes": stripes}


def extent_at(disk, pv, extent):
    start = 2 * MIB + pv * PV_SIZE + extent * EXTENT
    return bytes(disk[start : start + EXTENT])


def volumes_of(disk):
    volumes, gaps = find_volumes(Disk("disk.img", bytes(disk)))
    return {volume.name: volume for volume in volumes if volume.scheme == "lvm"}, [gap.error for gap in gaps]
