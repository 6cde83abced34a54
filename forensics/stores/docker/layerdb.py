"""image/<driver>/layerdb: which directory holds which layer, and which layers are a container's own.

sha256/<chain id>/{cache-id,diff,parent,size}       one layer of container images
sha256/<chain id>-<random>-removing/                the same, while Docker removes it
tmp/write-set-<number>/                             the same, until all of it is written: a pull or build that was cut off
mounts/<container id>/{mount-id,init-id,parent}     the two layers of a container, and the chain below them
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_layer import chain_id, parse_digest, parse_directory, parse_size
from parsers.gzip_check import MAGIC, unpacked_size

MAX_TEXT = 4096  # the longest of these texts has 71 bytes
MAX_TAR_SPLIT = 8 << 20  # packed bytes of all that are unpacked to be checked: a fraction of a second
MAX_UNPACKED = 1 << 30

_CHAIN = re.compile(rb"([0-9a-f]{64})(-[0-9a-f]+-removing)?")
_WRITE_SET = re.compile(rb"write-set-\d+")
_ID = re.compile(rb"[0-9a-f]{64}")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One layer of container images, with all below it. What is unknown or damaged is None; parent is None in a base layer."""

    chain_id: str
    place: Place | None
    cache_id: str | None = None
    diff_id: str | None = None
    parent: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerLayers:
    """The layers of a container by their directories. parent: the chain id of its image, None where damaged."""

    container_id: str
    place: Place
    mount_id: str | None
    init_id: str | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class LayerDb:
    """One driver's layerdb: by chain id, and by container id. removing: what Docker was about to remove, or to make."""

    chain: Mapping[str, ChainLink]
    mounts: Mapping[str, ContainerLayers]
    removing: tuple[ChainLink, ...]


def read_layerdb(reader: StoreReader, layerdb: Place | None, known: Mapping[str, ChainLink]) -> LayerDb:
    """known: the chain ids that images' diff ids add up to, with parent and diff id; these are certain and repair the rest."""
    if layerdb is None:
        return LayerDb(known, {}, ())
    chain: dict[str, ChainLink] = dict(known)
    removing = []
    budget = MAX_TAR_SPLIT
    for place in reader.children(reader.child(layerdb, b"sha256"), "d"):
        match = _CHAIN.fullmatch(place.name)
        if match is None:
            continue
        link = _read_link(reader, place, f"sha256:{match[1].decode()}")
        budget -= _check_tar_split(reader, place, budget)
        if match[2]:
            removing.append(link)
        else:
            chain[link.chain_id] = _checked(reader, link, place, known.get(link.chain_id))
    for place in reader.children(reader.child(layerdb, b"tmp"), "d"):
        if _WRITE_SET.fullmatch(place.name):
            removing.append(_read_link(reader, place, readable(place.name), whole=False))
    mounts = {}
    for place in reader.children(reader.child(layerdb, b"mounts"), "d"):
        if _ID.fullmatch(place.name):
            mounts[place.name.decode()] = _read_mount(reader, place)
    return LayerDb(chain, mounts, tuple(removing))


def _read_link(reader: StoreReader, place: Place, own: str, whole: bool = True) -> ChainLink:
    """whole: whether what is missing is a gap."""
    return ChainLink(
        chain_id=own,
        place=place,
        cache_id=_text(reader, place, b"cache-id", parse_directory, whole),
        diff_id=_text(reader, place, b"diff", parse_digest, whole),
        parent=_text(reader, place, b"parent", parse_digest, needed=False),
        size=_text(reader, place, b"size", parse_size, whole),
    )


def _check_tar_split(reader: StoreReader, place: Place, budget: int) -> int:
    """A gap where the file is damaged; one that is larger than the budget is looked at no further than its header."""
    file = reader.child(place, b"tar-split.json.gz")
    inode = reader.inode(file) if file is not None else None
    if file is None or inode is None:
        return 0
    if inode.size > budget:
        head = reader.head(file, len(MAGIC))
        if head != MAGIC:
            reader.gap("tar-split.json.gz", "no gzip header", file)
        return 0
    reader.load(file, "tar-split.json.gz", lambda data: unpacked_size(data, MAX_UNPACKED), MAX_TAR_SPLIT)
    return inode.size


def _read_mount(reader: StoreReader, place: Place) -> ContainerLayers:
    return ContainerLayers(
        container_id=place.name.decode(),
        place=place,
        mount_id=_text(reader, place, b"mount-id", parse_directory),
        init_id=_text(reader, place, b"init-id", parse_directory, needed=False),
        parent=_text(reader, place, b"parent", parse_digest, needed=False),
    )


def _text(reader: StoreReader, directory: Place, name: bytes, parse: Callable[[bytes], _T], needed: bool = True) -> _T | None:
    place = reader.child(directory, name)
    if place is None and needed:
        reader.gap(f"layerdb {name.decode()}", "missing", directory)
    return reader.load(place, f"layerdb {name.decode()}", parse, MAX_TEXT)


def _checked(reader: StoreReader, link: ChainLink, place: Place, certain: ChainLink | None) -> ChainLink:
    """The same link, with parent and diff id that add up to its chain id, as far as that can be had."""
    if link.diff_id is not None and chain_id(link.parent, link.diff_id) == link.chain_id:
        return link
    if link.diff_id is not None:
        reader.gap("layerdb chain", f"parent {link.parent} and diff {link.diff_id} do not add up to this chain id", place)
    if certain is not None:
        return replace(link, parent=certain.parent, diff_id=certain.diff_id)
    if link.diff_id is None and reader.child(place, b"parent") is None:
        return replace(link, diff_id=link.chain_id)  # true of every layer that has no parent
    return link
