"""devicemapper/metadata of a Docker data-root: a JSON file for each thin device, and one of the whole set.

Source: moby v1.0 to v24, daemon/graphdriver/devmapper/deviceset.go (devInfo, deviceMetaData, saveDeviceSetMetaData).
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import parse_object


@dataclass(frozen=True, slots=True)
class ThinDevice:
    """A layer's thin device. device_id: its number in the pool. size: in bytes, of the whole device."""

    device_id: int | None
    size: int | None
    transaction_id: int | None
    initialized: bool | None
    deleted: bool | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceSet:
    """All thin devices. uuid, filesystem: of the base device, of which all others are snapshots."""

    next_device_id: int | None
    uuid: str | None
    filesystem: str | None
    problems: tuple[str, ...]


def parse_thin_device(data: bytes, source: str = "") -> ThinDevice:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return ThinDevice(
        device_id=top.integer("device_id"),
        size=top.integer("size"),
        transaction_id=top.integer("transaction_id"),
        initialized=top.flag("initialized"),
        deleted=top.flag("deleted"),
        problems=tuple(top.problems),
    )


def parse_device_set(data: bytes, source: str = "") -> DeviceSet:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return DeviceSet(
        next_device_id=top.integer("next_device_id"),
        uuid=top.text("BaseDeviceUUID") or None,
        filesystem=top.text("BaseDeviceFilesystem") or None,
        problems=tuple(top.problems),
    )
