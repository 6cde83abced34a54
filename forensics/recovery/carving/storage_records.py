"""Single records of containers/storage's lists, and parts of libpod's configs, where the document around them is lost.

A list is written anew at every change, and of the old one some blocks are left: a record counts where it is whole within one
of them. Of a row of libpod's db.sql the page with its beginning may be left, in a journal that lost its own, or the page with its
end: a beginning is read as far as its block goes, an end to where the JSON ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from forensics.records import Container, Provenance
from forensics.recovery.carving.carved import MAX_DOCUMENTS, TEXT, Carved, is_a_containers_record, storage_container
from forensics.recovery.carving.scan import ARRAY, LOCK, RECORD, SPEC, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.clues import CREATED, ENVIRONMENT, POSSIBLE, PROBABLE, Clue
from forensics.recovery.containers.libpod_parts import config_beginning, config_end
from forensics.recovery.limits import Limits
from parsers.container_storage import parse_containers, parse_layers
from parsers.errors import CtrForensicsError, FormatError
from parsers.json_scan import COMPLETE, JsonScan
from parsers.sqlite_pages import record_before

MAX_BACK = 400  # bytes behind a config's name in which the number of its lock stands
MAX_END = 64 << 10  # bytes of a config from its id on
KINDS = {RECORD: "record of containers/storage", SPEC: "beginning of a libpod row", LOCK: "end of a libpod row"}

_T = TypeVar("_T")
_ID = re.compile(rb"[0-9a-f]{64}")
_RECORD = re.compile(rb'\{"id":"[0-9a-f]{64}"')
_CONFIG = re.compile(rb'\{"spec":\{"ociVersion":"')
_END = re.compile(rb'"id":"[0-9a-f]{64}","name":"[a-zA-Z0-9][a-zA-Z0-9_.-]*",')
_LAYER = re.compile(r"(.+)-layer")


def record_clues(
    hits: Sequence[Hits], carved: Carved, is_containers_own: Callable[[int, int], bool], limits: Limits
) -> Iterator[Clue[Container]]:
    """A clue for each record and each part that is whole in its block, but for those of documents that were read."""
    for each in hits:
        for kind, look in ((RECORD, _records), (SPEC, _beginnings), (LOCK, _ends)):
            blocks = sorted({offset // each.space.block_size for offset in each.of(kind)})
            what = f"places where the {KINDS[kind]} may stand"
            for block in limits.first(blocks, MAX_DOCUMENTS, what, each.space.partition):
                start = block * each.space.block_size
                if is_containers_own(each.space.partition, start) or (each.space.partition, block) in carved.used:
                    continue
                for made, confidence, weak in look(each.space, start, _block(each.space, start)):
                    carved.count(KINDS[kind], True)
                    yield Clue(made, confidence, TEXT, "podman", weak)


def _records(space: Space, start: int, block: bytes) -> Iterator[tuple[Container, str, frozenset[str]]]:
    """Records of containers.json."""
    for at, record in _whole_records(block):
        containers, problems = _parsed(parse_containers, record)
        for each in containers if not problems else ():
            if is_a_containers_record(each):
                made = replace(storage_container(each, "overlay"), source=_source(space, start + at, ", a record of a list"))
                yield made, PROBABLE, CREATED


def _beginnings(space: Space, start: int, block: bytes) -> Iterator[tuple[Container, str, frozenset[str]]]:
    """Rows of ContainerConfig, as far as their own page goes."""
    for match in _CONFIG.finditer(block):
        record = record_before(block, match.start())
        own, name = record.values[:2] if record is not None else (None, None)
        if record is None or not isinstance(own, bytes) or not isinstance(name, bytes) or not _ID.fullmatch(own):
            continue
        text = block[match.start() : match.start() + record.own]
        made = config_beginning(
            own.decode(), name, text, _source(space, start + record.offset, ", the beginning of a row of libpod's")
        )
        if made is not None:
            yield made, PROBABLE, ENVIRONMENT


def _ends(space: Space, start: int, block: bytes) -> Iterator[tuple[Container, str, frozenset[str]]]:
    """Configs from their id on; one that goes on in the next blocks, to its end, where all paths in it name that id."""
    for match in _END.finditer(block):
        if LOCK not in block[match.end() - 2 : match.end() + MAX_BACK]:
            continue
        text, at = block[match.start() :], start + match.start()
        run = space.run(at)
        more = _read(space, at, min(MAX_END, run[1] - at)) if run is not None else text
        scan = JsonScan().feed(b"{" + more)
        whole = scan.state == COMPLETE
        made = config_end(more[: scan.end - 1] if whole else text, _source(space, at, ", the end of a row of libpod's"))
        if made is not None:
            yield made, PROBABLE if whole else POSSIBLE, ENVIRONMENT


def layer_names(
    hits: Sequence[Hits], is_containers_own: Callable[[int, int], bool], limits: Limits
) -> dict[str, tuple[str, Provenance]]:
    """The containers' names that their layers bear, by the id of the layer; none of a layer that had several."""
    found: dict[str, dict[str, Provenance]] = {}
    for each in hits:
        blocks = sorted({offset // each.space.block_size for kind in (RECORD, ARRAY) for offset in each.of(kind)})
        for block in limits.first(blocks, MAX_DOCUMENTS, "blocks of lists of layers", each.space.partition):
            start = block * each.space.block_size
            if is_containers_own(each.space.partition, start):
                continue
            for at, record in _whole_records(_block(each.space, start)):
                layers, problems = _parsed(parse_layers, record)
                for layer in layers if not problems else ():
                    match = _LAYER.fullmatch(layer.names[0]) if len(layer.names) == 1 and layer.parent is not None else None
                    if match is not None:
                        source = _source(each.space, start + at, ", the name of its layer")
                        found.setdefault(layer.id, {}).setdefault(match[1], source)
    return {own: next(iter(names.items())) for own, names in found.items() if len(names) == 1}


def named_by_layers(clues: Sequence[Clue[Container]], names: Mapping[str, tuple[str, Provenance]]) -> Iterator[Clue[Container]]:
    """The names of Podman's containers, told by those of the layers that they had."""
    layers = {(clue.record.container_id, clue.record.layer) for clue in clues if clue.record.engine == "podman"}
    for own, layer in sorted((own, layer) for own, layer in layers if layer is not None):
        named = names.get(layer.rpartition("/")[2])
        if named is not None:
            yield Clue(Container("podman", None, own, named[0], layer=layer, source=named[1]), POSSIBLE, TEXT, "podman")


def _whole_records(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The objects in a block that begin with an id and are whole, each as a list of one."""
    at = 0
    while (match := _RECORD.search(block, at)) is not None:
        scan = JsonScan().feed(block[match.start() :])
        whole = scan.state == COMPLETE
        if whole:
            yield match.start(), b"[" + block[match.start() : match.start() + scan.end] + b"]"
        at = match.start() + scan.end if whole else match.end()


def _parsed(
    parse: Callable[[bytes], tuple[tuple[_T, ...], tuple[str, ...]]], data: bytes
) -> tuple[tuple[_T, ...], tuple[str, ...]]:
    try:
        return parse(data)
    except FormatError:  # it is another program's
        return (), ()


def _source(space: Space, offset: int, more: str) -> Provenance:
    return Provenance(space.partition, "", None, space.source.locate(offset), space.how_at(offset) + more)


def _block(space: Space, start: int) -> bytes:
    return _read(space, start, space.block_size)


def _read(space: Space, start: int, size: int) -> bytes:
    try:
        return space.source.read(start, size)
    except CtrForensicsError:  # the device fails there
        return b""
