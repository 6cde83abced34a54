"""What holding contents against their checksums brought up, file by file."""

from __future__ import annotations

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.extent_owners import owners
from forensics.filesystems.btrfs.numbers import number_of
from forensics.filesystems.btrfs.subvolumes import Root
from forensics.filesystems.btrfs.verified import MAX_TOLD, Replaced, VerifiedSource, Way


def content_problems(source: VerifiedSource, reader: NodeReader, extents: Root | None) -> list[Problem]:
    """A problem for each file of which a sector was read from another copy than the first, and for what was not verified.

    extents: the root of the extent tree, which says whose a sector is.
    """
    found = source.checksums.problems()
    files: dict[str, list[tuple[int, Replaced]]] = {}
    for address in sorted(source.replaced):
        known = owners(reader, extents, address)
        names = [(f"inode {number_of(owner.tree, owner.objectid)}", owner.offset) for owner in known]
        for where, byte in names or [(f"logical address {address}", 0)]:
            files.setdefault(where, []).append((byte, source.replaced[address]))
    found += [_problem(where, sorted(files[where], key=lambda each: each[0]), source) for where in sorted(files)]
    if source.untold:
        error = (
            f"more than {MAX_TOLD} sectors were read from other copies than their first; the files of the others are not listed"
        )
        found.append(Problem("file content", "/", error))
    return found


def _problem(where: str, sectors: list[tuple[int, Replaced]], source: VerifiedSource) -> Problem:
    byte, first = sectors[0]
    more = f", and {len(sectors) - 1} more of its sectors" if len(sectors) > 1 else ""
    bad, good = (", ".join(_place(way) for way in ways) for ways in (first.bad, [first.good]))
    error = f"its sector at byte {byte}{more}: {first.why} ({bad}); the copy on {good} is right and was read"
    device, at = first.bad[0][0]
    return Problem("file content", where, error, source.logical.devices[device].locate(at))


def _place(way: Way) -> str:
    if len(way) > 1:
        return f"the sum of devices {', '.join(str(device) for device, _ in way)}"
    return f"device {way[0][0]} at byte {way[0][1]}"
