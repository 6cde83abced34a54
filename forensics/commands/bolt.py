"""bolt: any bbolt file, its keys, its pages and what is wrong with it; on the analyst's disk or inside a disk image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.commands.carve import JournalOption
from forensics.commands.output import (
    GAPS,
    Destination,
    ForceOption,
    Format,
    FormatOption,
    OutputOption,
    open_output,
    say,
    write_lines,
    write_rows,
)
from forensics.text import counted
from parsers.errors import EvidenceError, FormatError, UsageError

if TYPE_CHECKING:
    from forensics.commands.bolt_rows import Cell
    from forensics.evidence import DiskImage
    from forensics.file_source import FileSource, LocalFile
    from parsers.bbolt import Bolt

TOLD = 10  # problems that are told one by one

_FILE_HELP = "A bbolt file: meta.db, metadata.db, local-kv.db, bolt_state.db, an etcd db ..."
_IMAGE_HELP = "Read FILE inside this disk image; it is the path on the host, or in the partition."
_BUCKET_HELP = "Only this bucket and what is in it; once more for a bucket inside it."


def bolt(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_FILE_HELP, show_default=False)],
    image: Annotated[Path | None, typer.Option("--image", metavar="IMAGE", help=_IMAGE_HELP, show_default=False)] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", help="The partition that FILE is in.", show_default=False)
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="List what is not live any more, too.")] = False,
    pages: Annotated[bool, typer.Option("--pages", help="List the pages instead, and their states.")] = False,
    check: Annotated[bool, typer.Option("--check", help="List what is wrong with the file instead.")] = False,
    bucket: Annotated[list[str] | None, typer.Option("--bucket", "-b", metavar="NAME", help=_BUCKET_HELP)] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", metavar="NAME", help="Write this key's value, byte by byte.")] = None,
    no_journal: JournalOption = False,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List, dump or check any bbolt file, its deleted keys too.

    Keys with state live are what bbolt itself would list. previous: only the tree of the older meta page has it; stale: only an
    old page has it; superseded: one of these has it with an older value. Exit code 3 tells that a part could not be read.

    Examples: ctrforensics bolt meta.db --deleted; ctrforensics bolt meta.db -b v1 -k version;
    ctrforensics bolt /var/lib/docker/volumes/metadata.db --image disk.img
    """
    if sum((deleted, pages, check, key is not None)) > 1:
        raise UsageError("--deleted, --pages, --check and --key exclude each other; give one of them")
    if partition is not None and image is None:
        raise UsageError("--partition needs --image, the disk image that has it")
    from forensics.commands import bolt_rows as rows
    from forensics.file_source import LocalFile
    from parsers.bbolt import open_bolt

    with ExitStack() as stack:
        source: FileSource | LocalFile
        if image is None:
            source = stack.enter_context(LocalFile(Path(file)))
            to = Destination(output, force, (Path(file),))
        else:
            from forensics.evidence import open_disk_image

            disk = stack.enter_context(open_disk_image(image))
            source = _find(disk, file, partition, not no_journal)
            to = Destination(output, force, disk.paths)
        try:
            opened = open_bolt(source)
        except FormatError as error:
            raise EvidenceError(f"{error}; is it a bbolt file? One inside a disk image is read with --image") from error
        names = rows.typed_bucket(opened, bucket or ())
        if key is not None:
            value = rows.typed_key(opened, names, key)
            with open_output(to) as stream:
                stream.write(value)
        elif pages:
            _write(rows.page_lines(opened), rows.page_cells(opened, source), rows.PAGE_COLUMNS, format, to)
        elif check:
            write_rows(rows.problem_cells(opened, source), rows.PROBLEM_COLUMNS, format, to)
        else:
            found = rows.bolt_rows(opened, source, names, deleted)
            _write(rows.key_lines(found), map(rows.key_cells, found), rows.KEY_COLUMNS, format, to)
        if opened.problems:
            _tell(opened, file, quiet=check)
            raise typer.Exit(GAPS)


def _write(
    lines: Iterable[str], cells: Iterable[Sequence[Cell]], columns: Sequence[str], format: Format, to: Destination
) -> None:
    """Lines for people, cells for programs; a table of millions of rows takes a minute to lay out."""
    if format is Format.TABLE:
        write_lines(lines, to)
    else:
        write_rows(cells, columns, format, to)


def _tell(opened: Bolt, file: str, quiet: bool) -> None:
    """The problems on stderr, unless they were listed."""
    for problem in () if quiet else opened.problems[:TOLD]:
        say(f"{file}: {problem.what} (byte {problem.offset})")
    if not quiet and len(opened.problems) > TOLD:
        say(f"{file}: {counted(len(opened.problems) - TOLD, 'more problem')}; --check lists them all")


def _find(disk: DiskImage, file: str, partition: int | None, replay_journal: bool) -> FileSource:
    """The file of that path on the host, or in a partition; UsageError where it is nowhere, or in more than one partition."""
    from forensics.file_source import FileSource
    from forensics.filesystem import resolve
    from forensics.stores.host_tree import host_trees, resolve_or_none
    from forensics.survey import survey

    found = survey(disk, replay_journal)
    path = file.encode("utf-8", "surrogateescape")
    sources = {}
    for each in found.partitions:
        number, fs = each.volume.number, each.filesystem
        if fs is None or partition not in (None, number):
            continue
        mounted = found.mount_points.get(number, "/").encode("utf-8", "surrogateescape").rstrip(b"/")
        below = path.removeprefix(mounted) if path.startswith(mounted + b"/") else path
        for inside in sorted({path, below}):
            try:
                inode = resolve(fs, inside)
                if inode is not None and fs.inode(inode).type == "f":
                    sources[number] = FileSource(fs, inode, file)
            except FormatError as error:
                say(f"partition {number}: {error}")
    places = (resolve_or_none(tree, path) for tree in host_trees(found)) if partition is None else ()
    for place in places:
        if place is not None and place.fs.inode(place.inode).type == "f":
            sources.setdefault(place.partition, FileSource(place.fs, place.inode, file))
    if not sources:
        raise UsageError(f"{disk.name}: {file} is in none of its partitions; ctrforensics info {disk.name} shows them")
    if len(sources) > 1:
        numbers = " and ".join(map(str, sources))
        raise UsageError(f"{disk.name}: partitions {numbers} have {file}; say which with --partition")
    return next(iter(sources.values()))
