"""Writes a bbolt file of any size as bbolt lays one out: leaf and branch pages half full, small buckets inline.

Source: go.etcd.io/bbolt v1.3.6, node.go (split, write), bucket.go (inlineable), tx.go (writeMeta). bbolt lists what was put in.
"""

import hashlib
import json
import struct

from parsers.bbolt import fnv1a

SIZE = 4096  # bytes of a page
LEAF, BRANCH, META, FREELIST = 2, 1, 4, 16
CREATED = bytes.fromhex("010000000ee0bd1c4000000001ffff")  # Go's time.Time in its binary form
SPEC = b"types.containerd.io/opencontainers/runtime-spec/1/Spec"


class BoltWriter:
    """Writes to a stream that is at its beginning, bucket after bucket, the innermost first."""

    def __init__(self, stream):
        self.stream, self.next = stream, 2
        stream.write(bytes(2 * SIZE))

    def bucket(self, items):
        """Writes a bucket with sorted (key, value, is a bucket) in it; answers the value that names it in the bucket above."""
        items = list(items)
        leaf = _leaf(0, items)
        if len(leaf) <= SIZE // 4 and not any(inside for _, _, inside in items):
            return struct.pack("<QQ", 0, 0) + leaf
        nodes = [(part[0][0], self._page(_leaf, part)) for part in _parts(items, 16)]
        while len(nodes) > 1:
            nodes = [(part[0][0], self._page(_branch, part)) for part in _parts(nodes, 16)]
        return struct.pack("<QQ", nodes[0][1] if nodes else self._page(_leaf, []), 0)

    def finish(self, items, free=()):
        """Writes the root bucket, the list of free pages and both metas; the transaction before had the same tree."""
        root, freelist = self._page(_leaf, list(items)), self._page(_freelist, sorted(free))
        self.stream.seek(0)
        for page in (0, 1):
            meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, SIZE, 0, root, 0, freelist, self.next, 6 + page)
            self.stream.write((struct.pack("<QHHI", page, META, 0, 0) + meta + struct.pack("<Q", fnv1a(meta))).ljust(SIZE, b"\0"))

    def _page(self, form, elements):
        number = self.next
        data = form(number, elements)
        self.next += -(-len(data) // SIZE)
        self.stream.write(data.ljust((self.next - number) * SIZE, b"\0"))
        return number


def _parts(elements, head):
    """The elements of one page after another: half a page at least, unless they are the last."""
    part, size = [], 0
    for element in elements:
        part.append(element)
        size += head + len(element[0]) + (len(element[1]) if isinstance(element[1], bytes) else 0)
        if size >= SIZE // 2 - head and len(part) > 1:
            yield part
            part, size = [], 0
    if part:
        yield part


def _leaf(number, items):
    table, content = [], []
    end = 16 * len(items)
    for at, (key, value, inside) in enumerate(items):
        table.append(struct.pack("<IIII", inside, end - 16 * at, len(key), len(value)))
        content += (key, value)
        end += len(key) + len(value)
    overflow = (15 + end) // SIZE if number else 0
    return b"".join((struct.pack("<QHHI", number, LEAF, len(items), overflow), *table, *content))


def _freelist(number, pages):
    return struct.pack("<QHHI", number, FREELIST, len(pages), (15 + 8 * len(pages)) // SIZE) + struct.pack(
        f"<{len(pages)}Q", *pages
    )


def _branch(number, nodes):
    table, content = [], []
    end = 16 * len(nodes)
    for at, (key, page) in enumerate(nodes):
        table.append(struct.pack("<IIQ", end - 16 * at, len(key), page))
        content.append(key)
        end += len(key)
    overflow = (15 + end) // SIZE
    return b"".join((struct.pack("<QHHI", number, BRANCH, len(nodes), overflow), *table, *content))


def write_meta(stream, containers, removed=0):
    """A containerd's meta.db with so many containers and their snapshots; of removed ones no more is left than their pages."""
    writer = BoltWriter(stream)
    ids = sorted(hashlib.sha256(str(number).encode()).hexdigest() for number in range(containers + removed))
    gone = set(ids[:: len(ids) // removed][:removed]) if removed else set()
    records, snapshots, free = [], [], []
    for number, own in enumerate(ids):
        record = (own.encode(), writer.bucket(_container(own)), 1)
        if own in gone:
            free.append(struct.unpack_from("<Q", record[1])[0])
            continue
        records.append(record)
        told = (b"createdat", CREATED), (b"name", f"default/{number}/{own}".encode()), (b"updatedat", CREATED)
        snapshots.append((own.encode(), writer.bucket((key, value, 0) for key, value in told), 1))
    kinds = (b"containers", writer.bucket(records), 1), (
        b"snapshots", writer.bucket([(b"overlayfs", writer.bucket(snapshots), 1)]), 1,
    )  # fmt: skip
    writer.finish([(b"v1", writer.bucket([(b"default", writer.bucket(kinds), 1), (b"version", b"\6", 0)]), 1)], free)


def _container(own):
    spec = json.dumps({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["server", "--name", own[:12]], "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOSTNAME={own[:12]}"],
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]},
        },
        "root": {"path": "rootfs"}, "hostname": own[:12],
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": f"/default/{own}", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        },
        "annotations": {"padding": "abcdefghijklmnopqrstuvwxyz" * 30},
    }).encode()  # fmt: skip
    payload = b"\x0a" + _varint(len(SPEC)) + SPEC + b"\x12" + _varint(len(spec)) + spec
    yield from ((b"createdat", CREATED, 0), (b"image", b"docker.io/library/x:1", 0))
    yield b"runtime", struct.pack("<QQ", 0, 0) + _leaf(0, [(b"name", b"io.containerd.runc.v2", 0)]), 1
    yield from ((b"snapshotKey", own.encode(), 0), (b"snapshotter", b"overlayfs", 0), (b"spec", payload, 0))
    yield b"updatedat", CREATED, 0


def _varint(number):
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])
