"""ls and cat: looking around in a container's merged filesystem, or in one layer."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from forensics.case.lookup import Case, find_container, find_layer, open_case
from forensics.case.view import KINDS, Entry, View, layer_view, merged_view
from forensics.commands.output import (
    Destination,
    ForceOption,
    Format,
    FormatOption,
    OutputOption,
    open_output,
    write_lines,
    write_rows,
)
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from forensics.commands.tables import CaseArgument, destination, select
from forensics.text import harmless, readable, utc
from parsers.errors import UsageError

_CONTAINER = typer.Argument(metavar="CONTAINER", help="Id, beginning of an id, name, or pod/name.", show_default=False)
ContainerName = Annotated[str, _CONTAINER]
ContainerArgument = Annotated[str | None, _CONTAINER]
PathArgument = Annotated[str | None, typer.Argument(metavar="[PATH]", help="A path in it.", show_default=False)]
LayerOption = Annotated[
    str | None, typer.Option("--layer", help="Look into this layer's own directory instead of a container.", show_default=False)
]
ImageOption = Annotated[
    list[Path] | None,
    typer.Option("--image", help="Where the disk image is now, if not where it was; once for each disk.", show_default=False),
]

LongOption = Annotated[bool, typer.Option("-l", help="Mode, links, owner, size and time too.")]
RecursiveOption = Annotated[bool, typer.Option("-R", help="Everything below, one path in a line.")]
HiddenOption = Annotated[bool, typer.Option("--hidden", help="What upper layers hide of lower ones, and by what.")]

_TYPES = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "c": stat.S_IFCHR,
    "b": stat.S_IFBLK,
    "p": stat.S_IFIFO,
    "s": stat.S_IFSOCK,
}


def ls(
    case: CaseArgument,
    container: ContainerArgument = None,
    path: PathArgument = None,
    layer: LayerOption = None,
    long: LongOption = False,
    recursive: RecursiveOption = False,
    hidden: HiddenOption = False,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List a directory of a container, or of a layer.

    A container is listed as its processes saw it, mounts apart; a layer as it lies on the disk, with its whiteouts.

    Example: ctrforensics ls disk.img.case.db web /etc -l
    """
    with open_case(case) as opened:
        view, wanted = chosen_view(opened, container, path, layer)
        raw = view.typed(wanted or "/")
        if hidden:
            _list_hidden(opened, view, raw, recursive, format, destination(opened, output, force))
            return
        top = view.follow(raw, last=not long)
        to = destination(opened, output, force)
        if format is not Format.TABLE:
            columns, rows = view.rows(top, recursive)
            write_rows(rows, columns, format, to)
            return
        entries = _listed(view, top, recursive)
        if long:
            write_lines(_long_lines(entries, None if recursive or top.type != "d" else top), to)
        else:
            whole = recursive or top.type != "d"
            write_lines((readable(entry.path if whole else entry.name) for entry in entries), to)


def cat(
    case: CaseArgument,
    container: ContainerArgument = None,
    path: PathArgument = None,
    layer: LayerOption = None,
    image: ImageOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Write a file's content, read from the disk image.

    Into a file or a pipe it goes byte by byte; on a terminal, what would steer the terminal is shown, not obeyed.

    Example: ctrforensics cat disk.img.case.db web /etc/passwd
    """
    from forensics.content import open_contents

    with open_case(case) as opened:
        view, wanted = chosen_view(opened, container, path, layer)
        if wanted is None:
            raise UsageError("cat needs the path of a file; ctrforensics ls lists what there is")
        entry = view.follow(view.typed(wanted))
        if entry.type != "f":
            raise UsageError(f"{view.title}: {readable(entry.path)} is {KINDS[entry.type]}; ctrforensics ls -l shows it")
        to = destination(opened, output, force, image)
        with open_contents(opened, image or (), secrets(passphrase_file, key_file)) as contents, open_output(to) as stream:
            for chunk in contents.chunks(view, entry):
                stream.write(_for_terminal(chunk) if to.is_terminal else chunk)


def chosen_view(case: Case, container: str | None, path: str | None, layer: str | None) -> tuple[View, str | None]:
    """The view that the arguments name, and the path; with --layer there is no CONTAINER, so the first word is the path."""
    if layer is not None:
        if path is not None:
            raise UsageError("--layer stands for the container: give CASE --layer LAYER PATH, without a CONTAINER")
        return layer_view(case, find_layer(case, layer)), container
    if container is None:
        raise UsageError("name a CONTAINER, or a layer with --layer; ctrforensics containers and layers list them")
    return merged_view(case, find_container(case, container)), path


def _listed(view: View, top: Entry, recursive: bool) -> Iterable[Entry]:
    if top.type != "d":
        return [top]
    return view.below(top.path) if recursive else view.children(top.path)


def _long_lines(entries: Iterable[Entry], directory: Entry | None) -> Iterator[str]:
    """Lines as `ls -l --time-style=full-iso` has them, in UTC; names alone where they stand in `directory`."""
    for entry in entries:
        mode = stat.filemode(_TYPES[entry.type] | entry.mode) if entry.type in _TYPES else "?" + stat.filemode(entry.mode)[1:]
        size = "{}, {}".format(*entry.rdev) if entry.rdev is not None else "?" if entry.size is None else str(entry.size)
        when = "?" if entry.mtime_ns is None else utc(entry.mtime_ns)
        arrow = "" if entry.target is None else f" -> {readable(entry.target)}"
        name = readable(entry.path if directory is None else entry.name)
        yield f"{mode} {entry.nlink:>3} {entry.uid:>5} {entry.gid:>5} {size:>11} {when:>30} {name}{arrow}"


def _list_hidden(case: Case, view: View, directory: bytes, recursive: bool, form: Format, to: Destination) -> None:
    if view.relation != "files":
        raise UsageError("--hidden needs a CONTAINER: only a merged view hides anything")
    start = readable(directory.rstrip(b"/") + b"/")
    columns = (
        "path, type, size, seconds(mtime_ns) AS modified, layer_kind AS of, '#' || layer_number AS layer, reason,"
        " nullif(hidden_by, path) AS by, '#' || hidden_by_layer_number AS by_layer"
    )
    sql = (
        f"SELECT {columns if form is Format.TABLE else '*'} FROM hidden_files WHERE container_number = :number"
        " AND (path = :own OR path > :start AND path < :end AND (:recursive OR instr(substr(path, :name), '/') = 0))"
        " ORDER BY path, layer"
    )
    bounds = {"own": start[:-1], "start": start, "end": start[:-1] + "0", "name": len(start) + 1}
    select(case, sql, form, to, {"number": view.number, "recursive": recursive, **bounds})


def _for_terminal(chunk: bytes) -> bytes:
    r"""Content that a terminal may see: line breaks and tabs stay, all other control characters are spelled out."""
    lines = readable(chunk).split("\n")
    return "\n".join("\t".join(harmless(part) for part in line.split("\t")) for line in lines).encode("utf-8")
