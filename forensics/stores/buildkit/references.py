"""Who began a build, and from where: the references that buildx keeps in the homes of those who built.

They outlive BuildKit's history, which keeps the last 50 builds of two days, and are there of builds that ran elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from forensics.records import BuildRecord, StoreContents
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.users import users
from forensics.text import readable
from parsers.buildx import BuildReference, parse_build_reference

REFERENCES = b"/.docker/buildx/refs"
MAX_FILE = 64 << 10
MAX_REFERENCES = 20_000  # of a host

_REF = re.compile(rb"[a-z0-9]{25}")


@dataclass(frozen=True, slots=True)
class _Found:
    """A reference, and whose it is. began_ns: when its file was written, right before the build began."""

    told: BuildReference
    place: Place
    home: str
    builder: str
    began_ns: int | None


def with_references(stores: Sequence[tuple[HostTree | None, StoreContents]]) -> list[StoreContents]:
    """The stores, with what references tell of their builds; the first of a host also has the builds that none of them knows."""
    result = []
    found_in: dict[tuple[int, int] | None, dict[str, _Found]] = {}
    for tree, contents in stores:
        if tree is None:
            result.append(contents)
            continue
        reader, host = StoreReader(), _host(tree)
        first = host not in found_in
        if first:
            found_in[host] = dict(_references(reader, tree))
        found = found_in[host]
        builds = [_with(build, found.get(build.record_id)) for build in contents.builds]
        if first:
            there = {build.record_id for other, each in stores if _host(other) == host for build in each.builds}
            builds += [_record(reader, contents.store.engine, ref, each) for ref, each in found.items() if ref not in there]
        builds.sort(key=lambda each: (each.created_ns or 0, each.record_id))
        result.append(replace(contents, builds=tuple(builds), gaps=(*contents.gaps, *reader.gaps)))
    return result


def _host(tree: HostTree | None) -> tuple[int, int] | None:
    """Which host it is: by its root directory."""
    return (tree.mounts[b"/"].partition, tree.mounts[b"/"].inode) if tree is not None else None


def _with(build: BuildRecord, found: _Found | None) -> BuildRecord:
    if found is None or build.kind != "build":
        return build
    return replace(build, details={**build.details, **_details(found)})


def _references(reader: StoreReader, tree: HostTree) -> Iterator[tuple[str, _Found]]:
    count = 0
    seen: set[tuple[int, int]] = set()
    for user in users(reader, tree):
        top = resolve_or_none(tree, user.home + REFERENCES)
        for builder in reader.children(top, "d"):
            for node in reader.children(builder, "d"):
                key = node.partition, node.inode
                if key in seen:
                    continue  # homes that are links to another, directories that a damaged filesystem has twice
                seen.add(key)
                for place in reader.children(node, "f"):
                    if not _REF.fullmatch(place.name):
                        continue
                    count += 1
                    if count > MAX_REFERENCES:
                        reader.gap("build reference", f"more than {MAX_REFERENCES}; only these were read", top)
                        return
                    reference = reader.load(place, "build reference", parse_build_reference, MAX_FILE)
                    if reference is not None:
                        reader.tell("build reference", reference.problems, place)
                        inode = reader.inode(place)
                        on = f"{readable(builder.name)}/{readable(node.name)}"
                        began = inode.mtime_ns if inode is not None else None
                        yield readable(place.name), _Found(reference, place, readable(user.home), on, began)


def _record(reader: StoreReader, engine: str, ref: str, found: _Found) -> BuildRecord:
    return BuildRecord(
        engine=engine,
        record_id=ref,
        kind="build",
        description=" ".join(text for text in (found.told.dockerfile or "Dockerfile", found.told.local_path) if text),
        created_ns=found.began_ns,
        details=_details(found),
        source=reader.provenance(found.place),
    )


def _details(found: _Found) -> dict[str, str]:
    told = found.told
    named = (("begun in the home", found.home), ("builder", found.builder), ("local path", told.local_path),
             ("dockerfile", told.dockerfile), ("bake target", told.target if told.target != "default" else None),
             ("group", told.group))  # fmt: skip
    return {name: text for name, text in named if text}
