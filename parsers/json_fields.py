"""JSON that somebody may have damaged or forged: read field by field, each of its expected type or unknown.

A document that is no JSON object is a FormatError. In one that is, a field of another type than expected reads as None and is
told in `problems`, so that one bad field costs itself only. Of one that is cut off or overwritten from some byte on, the fields
before that byte are read. Duplicate keys: the last one counts, as for Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import NoReturn, TypeVar

from parsers.errors import FormatError
from parsers.go_time import parse_rfc3339

MAX_PROBLEMS = 20
SPACE = " \t\r\n"
INT64 = range(-(1 << 63), 1 << 63)

_T = TypeVar("_T")


class Fields:
    """One JSON object. The objects inside it share its `problems`."""

    __slots__ = ("_values", "_where", "problems")

    def __init__(self, values: dict[str, object], where: str = "", problems: list[str] | None = None) -> None:
        self._values, self._where = values, where
        self.problems: list[str] = [] if problems is None else problems

    def __bool__(self) -> bool:
        return bool(self._values)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str) -> str | None:
        """A string."""
        value = self._values.get(name)
        if value is None or (isinstance(value, str) and value.isascii()):
            return value
        return self._convert(name, value, _text)

    def integer(self, name: str) -> int | None:
        """A whole number of 64 bits."""
        return self._read(name, _integer)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        return self._read(name, _flag)

    def time(self, name: str) -> int | None:
        """An RFC 3339 time in nanoseconds since 1970 UTC; Go's zero time, and one that 64 bits do not hold, is None."""
        return self._read(name, _time)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """An array of strings; elements of other types are left out."""
        values = self._read(name, _array)
        if values is None:
            return None
        plain = tuple([value for value in values if isinstance(value, str) and value.isascii()])
        if len(plain) == len(values):
            return plain
        found = (self._convert(f"{name}[{i}]", value, _text) for i, value in enumerate(values))
        return tuple(value for value in found if value is not None)

    def text_map(self, name: str) -> dict[str, str] | None:
        """An object whose values are strings; others are left out."""
        values = self._read(name, _object)
        if values is None:
            return None
        found = {_text(key): self._convert(f"{name}.{key}", value, _text) for key, value in values.items()}
        return {key: value for key, value in found.items() if value is not None}

    def fields(self, name: str) -> Fields:
        """An object; an empty one where there is none."""
        value = self._values.get(name)
        inside = value if isinstance(value, dict) else self._convert(name, value, _object) or {}
        return Fields(inside, f"{self._where}{name}.", self.problems)

    def each(self, name: str) -> Iterator[tuple[str, Fields]]:
        """The objects in an object, by key."""
        inside = self.fields(name)
        for key in inside.names():
            yield _text(key), inside.fields(key)

    def items(self, name: str) -> Iterator[Fields]:
        """The objects in an array."""
        for i, value in enumerate(self._read(name, _array) or ()):
            inside = value if isinstance(value, dict) else self._convert(f"{name}[{i}]", value, _object) or {}
            yield Fields(inside, f"{self._where}{name}[{i}].", self.problems)

    def arrays(self, name: str) -> Iterator[tuple[Fields, ...]]:
        """The arrays of objects in an array."""
        for i, values in enumerate(self._read(name, _array) or ()):
            inside = Fields({"": values}, f"{self._where}{name}[{i}]", self.problems)
            yield tuple(inside.items(""))

    def text_arrays(self, name: str) -> Iterator[tuple[str, ...]]:
        """The arrays of strings in an array."""
        for i, values in enumerate(self._read(name, _array) or ()):
            yield Fields({"": values}, f"{self._where}{name}[{i}]", self.problems).texts("") or ()

    def names(self) -> tuple[str, ...]:
        """The keys that the document has here, sorted."""
        return tuple(sorted(self._values))

    def problem(self, what: str) -> None:
        """Tells one more thing that is not as it must be."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(what)

    def _read(self, name: str, kind: Callable[[object], _T]) -> _T | None:
        value = self._values.get(name)
        return None if value is None else self._convert(name, value, kind)

    def _convert(self, name: str, value: object, kind: Callable[[object], _T]) -> _T | None:
        if value is None:
            return None
        try:
            return kind(value)
        except FormatError as error:
            self.problem(f"{self._where}{name[:80]}: {error}")
            return None


def parse_object(data: bytes, source: str = "", inside: Collection[str] = ()) -> Fields:
    """The object that a document is. Bytes that are not UTF-8, which Go never writes, are replaced and told in `problems`.

    inside: the names of objects that are read field by field, too, where the document is cut off in them; of all other values
    that are cut off nothing is read.
    """
    if not data.strip(b"\0"):
        raise FormatError(f"{len(data)} zero bytes" if data else "empty", source, 0)
    text, broken = _decoded(data)
    problem = ""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        byte = len(text[: error.pos].encode())
        value = _leading_fields(text, inside)
        if not value:
            raise FormatError(f"no JSON: {error.msg}", source, byte) from error
        problem = f"no JSON from byte {byte} on ({error.msg}); only the fields before it are read"
    except RecursionError as error:
        raise FormatError("JSON nested too deep", source, 0) from error
    except ValueError as error:  # a constant that JSON has not
        raise FormatError(f"no JSON: {error}", source, 0) from error
    if not isinstance(value, dict):
        raise FormatError("a JSON document, but no object", source, 0)
    fields = Fields(value)
    if problem:
        fields.problem(problem)
    if broken is not None:
        fields.problem(f"bytes that are not UTF-8, the first at byte {broken}")
    return fields


def parse_array(data: bytes, source: str = "", restart: re.Pattern[str] | None = None) -> tuple[list[Fields], list[str]]:
    """The objects of a document that is an array, and the problems that they share.

    Of a damaged one, those before the damage are read, and those behind it that begin where `restart` matches (their brace is the
    first one in the match). Raises FormatError where there are none.
    """
    if not data.strip(b"\0"):
        raise FormatError(f"{len(data)} zero bytes" if data else "empty", source, 0)
    text = data.decode("utf-8", "replace")
    problems: list[str] = []
    try:
        values = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        values = list(_whole_objects(text, restart))
        if not values:
            raise FormatError(f"no JSON: {str(error)[:80]}", source, 0) from error
        problems.append(f"no JSON ({str(error)[:80]}); only its {len(values)} whole records are read")
    if values is None:
        return [], problems
    if not isinstance(values, list):
        raise FormatError("a JSON document, but no array", source, 0)
    objects = [Fields(value, f"[{i}].", problems) for i, value in enumerate(values) if isinstance(value, dict)]
    if len(objects) < len(values):
        problems.append(f"{len(values) - len(objects)} elements are no objects")
    return objects, problems


def _whole_objects(text: str, restart: re.Pattern[str] | None) -> Iterator[object]:
    at = text.find("[")
    while 0 <= at < len(text):
        start = _skip(text, at + 1)
        try:
            value, end = _DECODER.raw_decode(text, start)
            yield value
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                continue
        except (ValueError, RecursionError):
            at = start
        again = restart.search(text, at) if restart is not None else None
        at = text.index("{", again.start()) - 1 if again is not None else -1


def _decoded(data: bytes) -> tuple[str, int | None]:
    """The text, and the first byte that is none."""
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        return data.decode("utf-8", "replace"), error.start


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)  # int() of thousands of digits is refused by Python


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=_whole_number)


def _leading_fields(text: str, inside: Collection[str]) -> dict[str, object]:
    """The whole fields at the start of an object that does not end as it should."""
    found: dict[str, object] = {}
    at = 0
    while at < len(text):
        start = text.find("{" if not found else ",", at)
        if text[at:start].strip(SPACE) or start < 0:
            break
        key: object = None
        try:
            key, end = _DECODER.raw_decode(text, _skip(text, start + 1))
            colon = _skip(text, end)
            if not isinstance(key, str) or text[colon : colon + 1] != ":":
                break
            at = _skip(text, colon + 1)
            value, end = _DECODER.raw_decode(text, at)
            if end == len(text) and isinstance(value, int | float) and not isinstance(value, bool):
                break  # of a number at the very end, more digits may be lost
            found[key], at = value, end
        except (ValueError, RecursionError):
            if (
                isinstance(key, str)
                and key in inside
                and text[at : at + 1] == "{"
                and (fields := _leading_fields(text[at:], inside))
            ):
                found[key] = fields
            break
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FormatError(f"expected text, found {_kind(value)}")
    return value if value.isascii() else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"expected a whole number, found {_kind(value)}")
    if value not in INT64:
        raise FormatError("a number that 64 bits do not hold")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"expected true or false, found {_kind(value)}")
    return value


def _time(value: object) -> int | None:
    time = parse_rfc3339(_text(value))
    if time is not None and time not in INT64:
        raise FormatError(f"{value!r} is a time that 64 bits of nanoseconds do not hold")
    return time


def _array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise FormatError(f"expected an array, found {_kind(value)}")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FormatError(f"expected an object, found {_kind(value)}")
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return {str: "text", int: "a number", float: "a number", list: "an array", dict: "an object"}.get(type(value), "nothing")
