"""bbolt files written by bbolt itself, what it reads in them, and ways to change their bytes."""

import functools
import json
import lzma
import struct
from pathlib import Path

from forensics.source import Buffer
from parsers.bbolt import fnv1a, open_bolt

DATA = Path(__file__).resolve().parent.parent / "data" / "bolt"
LARGE = "long-freelist"  # 68 MB when unpacked
NAMES = sorted(path.name.removesuffix(".db.xz") for path in DATA.glob("*.db.xz"))
SMALL = [name for name in NAMES if name != LARGE]
ENGINES = [name for name in NAMES if name.startswith(("containerd", "cri", "docker", "buildkit"))]
WITH_HISTORY = sorted(path.name.removesuffix(".history.jsonl.xz") for path in DATA.glob("*.history.jsonl.xz"))


@functools.lru_cache(maxsize=8)
def bolt_bytes(name):
    return lzma.decompress((DATA / f"{name}.db.xz").read_bytes())


@functools.lru_cache(maxsize=16)
def listing(name, kind):
    """(bucket path, key, value or None) in the library's order, and for buckets also sequence and whether they are inline."""
    rows = []
    for line in lzma.decompress((DATA / f"{name}.{kind}.jsonl.xz").read_bytes()).splitlines():
        row = json.loads(line)
        value = None if row["value"] is None else bytes.fromhex(row["value"])
        path = tuple(bytes.fromhex(part) for part in row["bucket"])
        rows.append((path, bytes.fromhex(row["key"]), value, row.get("sequence"), row.get("inline")))
    return rows


def opened(data):
    return open_bolt(Buffer("test.db", bytes(data)))


def told(keys):
    """Keys as `listing` has them."""
    return [(k.bucket, k.key, k.value, k.sequence, k.inline if k.value is None else None) for k in keys]


def triples(rows):
    return {row[:3] for row in rows}


def page_size(data):
    return struct.unpack_from("<I", data, 24)[0]


def page_offset(data, pgid):
    return pgid * page_size(data)


def newer_meta(data):
    """Where the newer meta page begins."""
    size = page_size(data)
    return max((0, size), key=lambda at: struct.unpack_from("<Q", data, at + 64)[0])


def set_meta(data, at, **fields):
    """A copy with fields of the meta at `at` changed and its checksum made right."""
    places = {"page_size": (24, "<I"), "root": (32, "<Q"), "freelist": (48, "<Q"), "hwm": (56, "<Q"), "txid": (64, "<Q")}
    changed = bytearray(data)
    for name, value in fields.items():
        place, form = places[name]
        struct.pack_into(form, changed, at + place, value)
    struct.pack_into("<Q", changed, at + 72, fnv1a(bytes(changed[at + 16 : at + 72])))
    return changed


def big_endian(data):
    """The same database as a big-endian machine would have written it."""
    size = page_size(data)
    out = bytearray(data)

    def swap(at, *widths):
        for width in widths:
            out[at : at + width] = out[at : at + width][::-1]
            at += width

    def leaf(at, count):
        for number in range(count):
            element = at + 16 + 16 * number
            flags, pos, ksize, _ = struct.unpack_from("<IIII", data, element)
            swap(element, 4, 4, 4, 4)
            if flags:
                bucket(element + pos + ksize)

    def bucket(at):
        (root,) = struct.unpack_from("<Q", data, at)
        swap(at, 8, 8)
        if root == 0:
            _, _, count, _ = struct.unpack_from("<QHHI", data, at + 16)
            swap(at + 16, 8, 2, 2, 4)
            leaf(at + 16, count)

    pgid = 0
    while (pgid + 1) * size <= len(data):
        at = pgid * size
        ident, flags, count, overflow = struct.unpack_from("<QHHI", data, at)
        if ident != pgid or flags not in (1, 2, 4, 16):
            pgid += 1
            continue
        swap(at, 8, 2, 2, 4)
        if flags == 4:
            swap(at + 16, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8)
            struct.pack_into(">Q", out, at + 72, fnv1a(bytes(out[at + 16 : at + 72])))
        elif flags == 2:
            leaf(at, count)
        elif flags == 1:
            for number in range(count):
                swap(at + 16 + 16 * number, 4, 4, 8)
        else:
            ids = struct.unpack_from("<Q", data, at + 16)[0] + 1 if count == 0xFFFF else count
            for number in range(ids):
                swap(at + 16 + 8 * number, 8)
        pgid += overflow + 1
    return out
