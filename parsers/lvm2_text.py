"""The text in which LVM2 describes a volume group.

Source: LVM2 2.03, libdm/libdm-config.c (the grammar), lib/format_text/import_vsn1.c and lib/striped/striped.c (the fields).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from parsers.errors import FormatError

SECTOR = 512
MAX_DEPTH = 16
MAX_DIGITS = 20  # of 2**64
MAX_BYTES = 1 << 63  # no device is longer

Value = str | int | float | list["Value"]
Section = dict[str, "Value | Section"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stripe:
    """One column of a segment: the physical volume (or internal logical volume) it lies on, and its first extent there."""

    device: str
    start_extent: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a logical volume's extents.

    stripe_size: bytes, 0 where there is one stripe. legs: a mirror's volumes, each with all of its bytes, or those a RAID 0
    is striped over; metadata: those with a RAID's or a thin pool's state. On a snapshot's segment, cow_store is the volume
    with its changed chunks, origin the one that it is of, and merging says that it was being written back. A thin pool has
    its data in `pool`, in chunks of chunk_size bytes; a thin volume is device_id of thin_pool, and shows external_origin
    where it has no chunk itself.
    """

    start_extent: int
    extent_count: int
    type: str
    stripe_size: int
    stripes: tuple[Stripe, ...]
    cow_store: str | None = None
    origin: str | None = None
    merging: bool = False
    legs: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    pool: str | None = None
    chunk_size: int = 0
    thin_pool: str | None = None
    device_id: int | None = None
    external_origin: str | None = None


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume as the text has it; hidden ones, such as a RAID's legs, included."""

    name: str
    uuid: str
    visible: bool
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A physical volume. uuid: without dashes, as in its label. device: where it was last seen. pe_start: bytes."""

    name: str
    uuid: str
    device: str | None
    pe_start: int
    pe_count: int


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """A volume group. extent_size: bytes. seqno grows with each change of the metadata. problems: the parts left out, and why."""

    name: str
    uuid: str
    seqno: int
    extent_size: int
    physical_volumes: tuple[PhysicalVolume, ...]
    logical_volumes: tuple[LogicalVolume, ...]
    problems: tuple[str, ...] = ()


_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\0|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<mark>[\[\]{}=,])
      | (?P<word>[^\s\[\]{}=,"\#\0]+)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and offset of each token; at last the kind `end`."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormatError(f"unexpected {text[position]!r} in the LVM2 metadata text", offset=position)
        if match.lastgroup != "space":
            yield match.lastgroup or "", match[0], position
        position = match.end()
    yield "end", "", position


def _value(kind: str, token: str, position: int) -> Value:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
    if kind != "word":
        raise FormatError(f"{token or 'the end'} where the LVM2 metadata text needs a value", offset=position)
    if not (number := _NUMBER.fullmatch(token)):
        return token
    if len(token) > MAX_DIGITS:
        raise FormatError(f"a number of {len(token)} digits in the LVM2 metadata text", offset=position)
    return float(token) if number[1] else int(token)


def _list(tokens: Iterator[tuple[str, str, int]]) -> list[Value]:
    """The values of a list up to its `]`; no list of LVM2's has a list in it."""
    values: list[Value] = []
    for kind, token, position in tokens:
        if token == "]" and kind == "mark":
            break
        if not (token == "," and kind == "mark"):
            values.append(_value(kind, token, position))
    return values


def parse(text: str) -> Section:
    """The text's sections and values. A key that comes twice has its last value, as with LVM2."""
    stack: list[Section] = [{}]
    tokens = _tokens(text)
    for kind, token, position in tokens:
        if kind == "end":
            if len(stack) > 1:
                raise FormatError("the LVM2 metadata text ends inside a section", offset=position)
            break
        if token == "}" and kind == "mark":
            if len(stack) == 1:
                raise FormatError("the LVM2 metadata text closes a section that was not opened", offset=position)
            stack.pop()
            continue
        if kind == "mark":
            raise FormatError(f"{token} where the LVM2 metadata text needs a name", offset=position)
        key = token.strip('"')
        _, mark, where = next(tokens)
        if mark == "{":
            if len(stack) >= MAX_DEPTH:
                raise FormatError(f"sections more than {MAX_DEPTH} deep in the LVM2 metadata text", offset=where)
            section: Section = {}
            stack[-1][key] = section
            stack.append(section)
        elif mark == "=":
            first = next(tokens)
            stack[-1][key] = _list(tokens) if first[:2] == ("mark", "[") else _value(*first)
        else:
            raise FormatError(f"{key} has neither a value nor a section in the LVM2 metadata text", offset=where)
    return stack[0]


def _get(section: Section, key: str, kind: type[T]) -> T:
    found = section.get(key)
    if not isinstance(found, kind):
        raise FormatError(f"the LVM2 metadata text has no {key} that is {kind.__name__}")
    return found


def _count(section: Section, key: str, least: int = 0) -> int:
    number = _get(section, key, int)
    if not least <= number < MAX_BYTES:
        raise FormatError(f"the LVM2 metadata text says {key} = {number}")
    return number


def _sections(section: Section) -> Iterator[tuple[str, Section]]:
    return ((name, value) for name, value in sorted(section.items(), key=lambda item: item[0]) if isinstance(value, dict))


def _segment(section: Section) -> Segment:
    kind = _get(section, "type", str)
    raw = section.get("stripes", [])
    pairs = raw if isinstance(raw, list) else []
    stripes = []
    for device, start in zip(pairs[::2], pairs[1::2], strict=False):
        if not isinstance(device, str) or not isinstance(start, int) or not 0 <= start < MAX_BYTES:
            raise FormatError(f"the LVM2 metadata text has a stripe at {device!r} {start!r}")
        stripes.append(Stripe(device, start))
    merging = _name(section, "merging_store")
    legs, metadata = _legs(section, kind)
    striped = len(stripes) > 1 or kind.startswith("raid0")
    stripe_size = _count(section, "stripe_size", 1) * SECTOR if striped else 0
    return Segment(
        _count(section, "start_extent"),
        _count(section, "extent_count", 1),
        kind,
        stripe_size,
        tuple(stripes),
        _name(section, "cow_store") or merging,
        _name(section, "origin"),
        merging is not None,
        legs,
        metadata,
        _name(section, "pool"),
        _count(section, "chunk_size") * SECTOR if "chunk_size" in section else 0,
        _name(section, "thin_pool"),
        _count(section, "device_id") if "device_id" in section else None,
        _name(section, "external_origin"),
    )


def _name(section: Section, key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) else None


def _legs(section: Section, kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A mirror's legs, and the volumes with metadata: RAID names both in turn, the older mirror legs and their first extents."""
    raw = section.get("raids", section.get("mirrors", section.get("raid0_lvs")))
    names = [value for value in raw if isinstance(value, str)] if isinstance(raw, list) else []
    metadata = _name(section, "metadata")
    if kind.startswith("raid") and kind != "raid0":
        return tuple(names[1::2]), tuple(names[::2])
    return tuple(names), (metadata,) if metadata is not None else ()


def _logical_volume(name: str, section: Section) -> LogicalVolume:
    segments = [_segment(inner) for key, inner in _sections(section) if re.fullmatch(r"segment[0-9]+", key)]
    segments.sort(key=lambda segment: segment.start_extent)
    status = section.get("status", [])
    visible = isinstance(status, list) and "VISIBLE" in status
    return LogicalVolume(name, _get(section, "id", str), visible, tuple(segments))


def _physical_volume(name: str, section: Section) -> PhysicalVolume:
    device = section.get("device")
    return PhysicalVolume(
        name,
        _get(section, "id", str).replace("-", ""),
        device if isinstance(device, str) else None,
        _count(section, "pe_start") * SECTOR,
        _count(section, "pe_count"),
    )


def volume_group(text: bytes) -> VolumeGroup:
    """The volume group that the text describes. A volume of it that is damaged becomes one of its problems."""
    group = next(
        ((name, section) for name, section in _sections(parse(text.decode("utf-8", "replace"))) if "seqno" in section), None
    )
    if group is None:
        raise FormatError("the LVM2 metadata text describes no volume group")
    name, section = group
    problems: list[str] = []

    def read_all(key: str, read: Callable[[str, Section], T]) -> tuple[T, ...]:
        found = []
        volumes = section.get(key, {})
        for inner_name, inner in _sections(volumes if isinstance(volumes, dict) else {}):
            try:
                found.append(read(inner_name, inner))
            except FormatError as error:
                problems.append(f"{name}/{inner_name}: {error}")
        return tuple(found)

    return VolumeGroup(
        name,
        _get(section, "id", str),
        _count(section, "seqno"),
        _count(section, "extent_size", 1) * SECTOR,
        read_all("physical_volumes", _physical_volume),
        read_all("logical_volumes", _logical_volume),
        tuple(problems),
    )
