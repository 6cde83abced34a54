"""Maps of user and group ids between a user namespace and the host.

Source: Linux, user_namespaces(7): /proc/PID/uid_map; shadow, subuid(5); containers/storage, pkg/idtools (IDMap).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from parsers.errors import FormatError

IDS = 1 << 32
NOBODY = 65534  # what the kernel shows for an id that has no place in a map: overflowuid
MAX_RANGES = 340  # as the kernel takes, UID_GID_MAP_MAX_EXTENTS


@dataclass(frozen=True, slots=True)
class IdRange:
    """`count` ids from `inside` on, which are those from `outside` on, one level further out."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class IdMaps:
    """The maps of a user namespace."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


def parse_subordinate(data: bytes, owners: Collection[bytes]) -> tuple[tuple[int, int], ...]:
    """The (first, count) of the lines of /etc/subuid or /etc/subgid that are one user's, by name or by number."""
    return tuple((first, count) for owner, first, count in _subordinate(data) if owner in owners)[:MAX_RANGES]


def rootless(own: int, subordinate: Iterable[tuple[int, int]]) -> tuple[IdRange, ...]:
    """The map of a user's own namespace: the user is 0 there, and the subordinate ids follow from 1 on."""
    ranges = [IdRange(0, own, 1)]
    for first, count in subordinate:
        ranges.append(IdRange(ranges[-1].inside + ranges[-1].count, first, count))
    return tuple(ranges)


def remapped(data: bytes, first: int) -> tuple[IdRange, ...]:
    """The map of the user whose lowest subordinate id is `first`: as Docker makes it, range after range.

    () where no line of /etc/subuid or /etc/subgid tells of such a user, or several have others from there on.
    """
    given: dict[bytes, list[tuple[int, int]]] = {}
    for owner, start, count in _subordinate(data):
        given.setdefault(owner, []).append((start, count))
    told = {tuple(sorted(ranges)[:MAX_RANGES]) for ranges in given.values() if min(ranges)[0] == first}
    found: list[IdRange] = []
    for start, count in told.pop() if len(told) == 1 else ():
        found.append(IdRange(found[-1].inside + found[-1].count if found else 0, start, count))
    return tuple(found)


def shown(ranges: Sequence[IdRange], own: int) -> int:
    """What an id is outside."""
    for each in ranges:
        if each.inside <= own < each.inside + each.count:
            found = each.outside + own - each.inside
            return found if 0 <= found < IDS else NOBODY
    return NOBODY


def inverted(ranges: Sequence[IdRange]) -> tuple[IdRange, ...]:
    """The way back."""
    return tuple(IdRange(each.outside, each.inside, each.count) for each in ranges)


def through(first: Sequence[IdRange], then: Sequence[IdRange]) -> tuple[IdRange, ...]:
    """One map after the other, by `inside`."""
    found = []
    for near in first:
        for far in then:
            start = max(near.outside, far.inside)
            end = min(near.outside + near.count, far.inside + far.count)
            if start < end:
                found.append(IdRange(near.inside + start - near.outside, far.outside + start - far.inside, end - start))
    return tuple(sorted(found, key=lambda each: (each.inside, each.outside))[:MAX_RANGES])


def as_text(maps: IdMaps) -> str:
    """As a case file holds them: JSON, each range as [inside, outside, count]."""
    lists = {"uids": [[each.inside, each.outside, each.count] for each in maps.uids]}
    lists["gids"] = [[each.inside, each.outside, each.count] for each in maps.gids]
    return json.dumps(lists)


def from_text(text: str) -> IdMaps:
    """What as_text wrote. Raises FormatError on anything else."""
    try:
        lists = json.loads(text)
        uids, gids = (tuple(IdRange(*map(int, each)) for each in lists[name]) for name in ("uids", "gids"))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise FormatError(f"no id maps: {error}") from error
    return IdMaps(uids, gids)


def _subordinate(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Owner, first id and count of each line that is one."""
    for line in data.split(b"\n"):
        fields = line.strip().split(b":")
        if len(fields) == 3 and all(each.isdigit() and len(each) <= 10 for each in fields[1:]):
            first, count = int(fields[1]), int(fields[2])
            if count and first + count <= IDS:
                yield fields[0], first, count
