"""Records that containerd keeps as buckets of a bbolt file, gathered from the walk over its keys.

Sources: containerd v1.2 to v2.2, metadata/boltutil/helpers.go (times, labels, Any) and snapshots/storage/bolt.go (varints).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from parsers.bbolt_tree import Key
from parsers.errors import FormatError
from parsers.go_time import parse_binary
from parsers.protobuf_any import ProtobufAny, parse_any, parse_uvarint, parse_varint

MAX_PROBLEMS = 20
MAX_VALUE = 4 << 20  # bytes; the largest values are OCI specs

NO_TEXTS: Mapping[str, str] = MappingProxyType({})  # most records have no labels

Path = tuple[bytes, ...]
_T = TypeVar("_T")


@dataclass(slots=True)
class Node:
    """A bucket that is a record, or is in one: its values and its buckets. offset: of its key in the file.

    members: the keys without a value, as a set has them, with their offsets in the file; None where there is none.
    """

    path: Path
    offset: int
    values: dict[bytes, bytes] = field(default_factory=dict)
    nodes: dict[bytes, Node] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    members: dict[bytes, int] | None = None

    def text(self, name: bytes) -> str | None:
        """A string; None where it is missing or empty. Bytes that are not UTF-8, which Go never writes, are replaced."""
        return self.values.get(name, b"").decode("utf-8", "replace") or None

    def time(self, name: bytes) -> int | None:
        """A Go time in nanoseconds since 1970 UTC."""
        return self._read(name, parse_binary)

    def signed(self, name: bytes) -> int | None:
        """A zig-zag varint."""
        return self._read(name, lambda data: _whole(data, parse_varint))

    def unsigned(self, name: bytes) -> int | None:
        """An unsigned varint."""
        return self._read(name, lambda data: _whole(data, parse_uvarint))

    def any(self, name: bytes) -> ProtobufAny | None:
        """A google.protobuf.Any; None where it is missing or empty."""
        return self._read(name, parse_any) if self.values.get(name) else None

    def texts(self, name: bytes) -> Mapping[str, str]:
        """The strings in a bucket, such as `labels`."""
        node = self.nodes.get(name)
        if node is None:
            return NO_TEXTS
        values = sorted(node.values.items())
        return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in values}

    def inside(self, name: bytes) -> Node:
        """A bucket in this one; an empty one where there is none. It shares the `problems`."""
        return self.nodes.get(name) or Node((*self.path, name), self.offset, problems=self.problems)

    def names(self, *path: bytes) -> tuple[str, ...]:
        """The names of all keys and buckets in the bucket at a path below this one, in order."""
        node = self
        for name in path:
            node = node.inside(name)
        return tuple(key.decode("utf-8", "replace") for key in sorted({*node.values, *node.nodes}))

    def problem(self, what: str) -> None:
        """Tells one more thing that is not as it must be."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(what)

    def _read(self, name: bytes, parse: Callable[[bytes], _T]) -> _T | None:
        data = self.values.get(name)
        if data is None:
            return None
        try:
            return parse(data)
        except FormatError as error:
            self.problem(f"{name.decode('utf-8', 'backslashreplace')[:80]}: {error}")
            return None


def gather(keys: Iterable[Key], depth_of: Callable[[Path], int | None]) -> Iterator[Node]:
    """The records in a walk, one at a time, each with all that is below it.

    depth_of: how many names lead to the record that a bucket belongs to, itself included; None where it belongs to none. The
    walk comes a bucket before its content.
    """
    record: Node | None = None
    node: Node | None = None
    bucket: Path | None = None  # of `node`
    for key in keys:
        if key.bucket is bucket and key.value is not None and record is not None and node is not None:
            _put(record, node, key)
            continue
        path = (*key.bucket, key.key) if key.value is None else key.bucket
        depth = depth_of(path)
        if depth is None or len(path) < depth:
            bucket = None
            continue
        if record is None or record.path != path[:depth]:
            if record is not None:
                yield record
            record = Node(path[:depth], key.offset)
        node = record
        for name in path[depth:]:
            below = node.nodes.get(name)
            if below is None:
                below = node.nodes[name] = Node((*node.path, name), key.offset, problems=record.problems)
            node = below
        bucket = path
        if key.value is not None:
            _put(record, node, key)
    if record is not None:
        yield record


def _put(record: Node, node: Node, key: Key) -> None:
    if key.value is not None and len(key.value) <= MAX_VALUE:
        node.values[key.key] = key.value
        if not key.value:
            node.members = node.members if node.members is not None else {}
            node.members[key.key] = key.offset
    elif key.value is not None:
        record.problem(f"{key.key.decode('utf-8', 'backslashreplace')[:80]}: a value of {len(key.value)} bytes")


def _whole(data: bytes, parse: Callable[[bytes], tuple[int, int]]) -> int:
    value, end = parse(data)
    if end != len(data):
        raise FormatError(f"{len(data) - end} bytes behind a varint", offset=end)
    return value
