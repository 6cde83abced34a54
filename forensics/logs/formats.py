"""The formats of containers' logs, by name, and their parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from parsers.cri_log import parse_cri_log
from parsers.docker_json_log import parse_json_log
from parsers.docker_local_log import parse_local_log
from parsers.log_record import Damage, LogRecord, Piece

_Parse = Callable[[Iterator[Piece], Damage], Iterator[LogRecord]]
PARSERS: Mapping[str, _Parse] = {
    "json-file": parse_json_log, "local": parse_local_log, "cri": parse_cri_log, "k8s-file": parse_cri_log,
}  # fmt: skip


def records(form: str, first: Piece, rest: Iterator[Piece], damage: Damage) -> Iterator[LogRecord]:
    """The records of a log in one of the formats, of which the first piece was looked at."""
    return PARSERS[form](_with(first, rest), damage)


def _with(first: Piece, rest: Iterator[Piece]) -> Iterator[Piece]:
    yield first
    yield from rest
