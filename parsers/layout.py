"""One declaration, three decoders: a construct Struct of fixed size as a struct format and as a numpy type too.

construct names the fields of a format and says where they stand, but takes some 30 us for an inode; struct takes one, and numpy
decodes whole tables. A layout is therefore declared once, with construct, and the fast decoders are derived from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import construct
import numpy as np

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class _Field:
    name: str | None
    format: str
    kind: Any
    size: int


class Layout:
    """A record of fixed size, declared as a construct Struct of integers, byte runs, arrays of integers and padding."""

    def __init__(self, declaration: construct.Struct) -> None:
        self.declaration = declaration
        self.size: int = declaration.sizeof()
        orders: set[str] = set()
        fields = [_field(sub, orders) for sub in declaration.subcons]
        if len(orders) > 1:
            raise ValueError("a layout has one byte order")
        order = orders.pop() if orders else "<"
        self._struct = struct.Struct(order + "".join(f.format for f in fields))
        self._widths: list[tuple[str, int]] = [
            (f.name, f.kind[1][0] if isinstance(f.kind, tuple) else 0) for f in fields if f.name is not None
        ]
        self._flat = not any(width for _, width in self._widths)
        self.names = tuple(name for name, _ in self._widths)
        offset = 0
        self._columns: list[tuple[str, Any, int]] = []
        for f in fields:
            if f.name is not None:
                self._columns.append((f.name, f.kind, offset))
            offset += f.size

    def unpack(self, data: Buffer, offset: int = 0) -> tuple[Any, ...]:
        """The fields in order, without padding; an array is a tuple of its own. Raises struct.error where data is too short."""
        values = self._struct.unpack_from(data, offset)
        if self._flat:
            return values
        grouped: list[Any] = []
        at = 0
        for _, width in self._widths:
            grouped.append(values[at : at + width] if width else values[at])
            at += width or 1
        return tuple(grouped)

    def fields(self, data: Buffer, offset: int = 0) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(self.names, self.unpack(data, offset), strict=True))

    def dtype(self, itemsize: int | None = None) -> np.dtype[np.void]:
        """The numpy type of a table whose records are `itemsize` bytes long (default: this layout's size)."""
        names, formats, offsets = zip(*self._columns, strict=True)
        kind = {"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize or self.size}
        return np.dtype(kind)  # type: ignore[call-overload,no-any-return] # numpy's stubs know no dict with a list of formats


def _field(sub: Any, orders: set[str]) -> _Field:
    name = sub.name
    while isinstance(sub, construct.Renamed):
        sub = sub.subcon
    size = sub.sizeof()
    if isinstance(sub, construct.Const):
        sub = sub.subcon
    if isinstance(sub, construct.FormatField):
        orders.add(sub.fmtstr[0])
        return _Field(name, sub.fmtstr[1], _integer(sub), size)
    if isinstance(sub, construct.Array):
        item = sub.subcon
        if isinstance(item, construct.FormatField):
            orders.add(item.fmtstr[0])
            return _Field(name, f"{sub.count}{item.fmtstr[1]}", (_integer(item), (sub.count,)), size)
    if isinstance(sub, construct.Bytes):
        return _Field(name, f"{size}s", f"V{size}", size)
    if isinstance(sub, construct.Padded):
        return _Field(None, f"{size}x", None, size)
    raise ValueError(f"{name}: a layout has no {type(sub).__name__}")


def _integer(sub: construct.FormatField) -> str:
    order, letter = sub.fmtstr
    return f"{order}{'u' if letter.isupper() else 'i'}{sub.sizeof()}"
