"""Holds an exported root filesystem against the kernel's own view of it, as samples/make/truth.py records it."""

import base64
import collections
import gzip
import hashlib
import json
import tarfile
from decimal import Decimal

XATTR = "SCHILY.xattr."
KINDS = {
    tarfile.REGTYPE: "f",
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.FIFOTYPE: "p",
}
FIELDS = ("type", "mode", "uid", "gid", "mtime_ns", "size", "target", "rdev", "sha256", "xattrs")


def kernel_view(path):
    """Records by path, '' for the root; sockets, which no tar can hold, left out."""
    with gzip.open(path) as lines:
        records = [json.loads(line) for line in lines]
    return {record["path"]: record for record in records if record["type"] != "s"}


def exported_view(path):
    """The same records, of a tar; a hard link has the record of the file that it links to."""
    view = {}
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            name = place(member.name)
            assert name not in view, f"{name!r} stands twice in the tar"
            view[name] = view[place(member.linkname)] if member.islnk() else record(tar, member)
    return view


def place(name):
    return "" if name in (".", "./") else name.removeprefix("./").removesuffix("/")


def record(tar, member):
    kind = KINDS[member.type]
    found = {"type": kind, "mode": member.mode, "uid": member.uid, "gid": member.gid, "ino": member.offset}
    found["mtime_ns"] = int(Decimal(member.pax_headers.get("mtime", member.mtime)) * 10**9)
    if kind == "f":
        found["size"] = member.size
        found["sha256"] = hashlib.file_digest(tar.extractfile(member), "sha256").hexdigest()
    elif kind == "l":
        found["target"] = member.linkname
    elif kind in "bc":
        found["rdev"] = [member.devmajor, member.devminor]
    raw = {key.removeprefix(XATTR): value for key, value in member.pax_headers.items() if key.startswith(XATTR)}
    if raw:
        found["xattrs"] = {key: base64.b64encode(value.encode("utf-8", "surrogateescape")).decode() for key, value in raw.items()}
    return found


def names_of_files(view):
    """The sets of names that are one file."""
    groups = collections.defaultdict(set)
    for path, entry in view.items():
        if entry["type"] == "f":
            groups[entry["ino"]].add(path)
    return {frozenset(group) for group in groups.values()}


def differences(kernel, exported):
    """One line for each thing in which the export is not what the kernel shows."""
    found = [f"missing: {path!r}" for path in sorted(kernel.keys() - exported.keys())]
    found += [f"not there: {path!r}" for path in sorted(exported.keys() - kernel.keys())]
    for path in sorted(kernel.keys() & exported.keys()):
        for field in FIELDS:
            theirs, ours = kernel[path].get(field), exported[path].get(field)
            if theirs != ours:
                found.append(f"{path!r} {field}: kernel {theirs!r}, export {ours!r}")
    if not found and names_of_files(kernel) != names_of_files(exported):
        found.append(f"hard links: {sorted(map(sorted, names_of_files(kernel) ^ names_of_files(exported)))}")
    return found
