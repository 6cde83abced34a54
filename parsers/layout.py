"""One declaration, three decoders: a construct Struct of fixed size as a struct format and as a numpy type too.

construct names the fields of a format and says where they stand, but takes some 30 us for an inode; struct takes one, and numpy
decodes whole tables. A layout is therefore declared once, with construct, and the fast decoders are derived from it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import construct
import numpy as np

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class _Field:
    """name: None for padding. letters: the struct format. count: how many integers; 0 where it is one value, no array."""

    name: str | None
    offset: int
    size: int
    letters: str
    dtype: Any
    count: int


class Layout:
    """A record of fixed size, declared as a construct Struct of integers, byte runs, arrays of integers and padding."""

    def __init__(self, declaration: construct.Struct) -> None:
        self.declaration = declaration
        self.size: int = declaration.sizeof()
        self._order = _byte_order(declaration)
        self._fields: list[_Field] = []
        offset = 0
        for sub in declaration.subcons:
            self._fields.append(_field(sub, offset))
            offset += self._fields[-1].size
        named = [field for field in self._fields if field.name is not None]
        self.names = tuple(field.name for field in named if field.name is not None)
        self._struct = struct.Struct(self._order + "".join(field.letters for field in self._fields))
        self._counts = [field.count for field in named] if any(field.count for field in named) else []

    def unpack(self, data: Buffer, offset: int = 0) -> tuple[Any, ...]:
        """The fields in order, without padding; an array is a tuple of its own. Raises struct.error where data is too short."""
        values = self._struct.unpack_from(data, offset)
        if not self._counts:
            return values
        grouped: list[Any] = []
        at = 0
        for count in self._counts:
            grouped.append(values[at : at + count] if count else values[at])
            at += count or 1
        return tuple(grouped)

    def pack(self, *values: Any) -> bytes:
        """A record with these fields, of a layout without arrays; padding becomes zeros."""
        return self._struct.pack(*values)

    def changed(self, data: bytes, **values: Any) -> bytes:
        """What begins with a record, with other values in these fields of it."""
        done = bytearray(data)
        for field in self._fields:
            if field.name in values:
                struct.pack_into(self._order + field.letters, done, field.offset, values[field.name])
        return bytes(done)

    def rows(self, table: Buffer) -> Iterator[tuple[Any, ...]]:
        """The records of a table, of which the layout has no arrays; the table is a whole number of records long."""
        return self._struct.iter_unpack(table)

    def swapped(self, data: Buffer, offset: int = 0) -> bytes:
        """A record in the other byte order; padding becomes zeros. Raises struct.error where data is too short."""
        other = struct.Struct(("<" if self._order == ">" else ">") + self._struct.format[1:])
        return self._struct.pack(*other.unpack_from(data, offset))

    def fields(self, data: Buffer, offset: int = 0) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(self.names, self.unpack(data, offset), strict=True))

    def part(self, *names: str) -> Callable[[Buffer], tuple[Any, ...]]:
        """A decoder of some of the fields only, in the layout's order; an array's values stand one by one."""
        wanted = (field.letters if field.name in names else f"{field.size}x" for field in self._fields)
        return struct.Struct(self._order + "".join(wanted)).unpack_from

    def offset_of(self, name: str) -> int:
        """Where a field begins, in bytes."""
        return next(field.offset for field in self._fields if field.name == name)

    def dtype(self, itemsize: int | None = None, then: Layout | None = None) -> np.dtype[np.void]:
        """The numpy type of a table whose records are `itemsize` bytes long (default: as declared).

        then: another layout that stands in the same record, right behind this one.
        """
        named = [(field, field.offset) for field in self._fields if field.name is not None]
        size = self.size
        if then is not None:
            named += [(field, self.size + field.offset) for field in then._fields if field.name is not None]
            size += then.size
        record: Any = {
            "names": [field.name for field, _ in named],
            "formats": [field.dtype for field, _ in named],
            "offsets": [offset for _, offset in named],
            "itemsize": itemsize or size,
        }
        kind: np.dtype[np.void] = np.dtype(record)
        return kind


def _plain(sub: Any) -> Any:
    """A declared field without its name and the value it must have."""
    while isinstance(sub, construct.Renamed | construct.Const):
        sub = sub.subcon
    return sub


def _byte_order(declaration: construct.Struct) -> str:
    items = [_plain(sub) for sub in declaration.subcons]
    integers = [item.subcon if isinstance(item, construct.Array) else item for item in items]
    orders = {item.fmtstr[0] for item in integers if isinstance(item, construct.FormatField) and item.sizeof() > 1}
    if len(orders) > 1:
        raise ValueError("a layout has one byte order")
    return orders.pop() if orders else "<"


def _field(sub: Any, offset: int) -> _Field:
    plain, size = _plain(sub), sub.sizeof()
    if isinstance(plain, construct.FormatField):
        return _Field(sub.name, offset, size, plain.fmtstr[1], _integer(plain), 0)
    if isinstance(plain, construct.Array) and isinstance(plain.subcon, construct.FormatField):
        letters = f"{plain.count}{plain.subcon.fmtstr[1]}"
        return _Field(sub.name, offset, size, letters, (_integer(plain.subcon), (plain.count,)), plain.count)
    if isinstance(plain, construct.Bytes):
        return _Field(sub.name, offset, size, f"{size}s", f"V{size}", 0)
    if isinstance(plain, construct.Padded):
        return _Field(None, offset, size, f"{size}x", None, 0)
    raise ValueError(f"{sub.name}: a layout has no {type(plain).__name__}")


def _integer(field: construct.FormatField) -> str:
    order, letter = field.fmtstr
    return f"{order}{'u' if letter.isupper() else 'i'}{field.sizeof()}"
