"""extract: a file or a directory tree of a view onto the analyst's own disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from forensics.case.lookup import open_case
from forensics.case.view import KINDS
from forensics.commands.browse import ContainerArgument, ImageOption, LayerOption, PathArgument, chosen_view
from forensics.commands.output import GAPS, Destination, open_output, refuse_to_overwrite, say
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from forensics.commands.tables import CaseArgument
from forensics.text import readable
from parsers.errors import UsageError


def extract(
    case: CaseArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file or directory to make.", show_default=False)],
    container: ContainerArgument = None,
    path: PathArgument = None,
    layer: LayerOption = None,
    deleted: Annotated[
        int | None, typer.Option("--deleted", metavar="NUMBER", help="A deleted file, by its number.", show_default=False)
    ] = None,
    image: ImageOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that is not empty, replace files.")] = False,
) -> None:
    """Copy a file, a tree or a deleted file to this disk, harmless.

    Devices and links that lead out of the directory are not made, set-id bits not set; what was left out is named on stderr.

    Example: ctrforensics extract disk.img.case.db web /etc -o web-etc
    """
    if deleted is not None:
        if (container, path, layer) != (None, None, None):
            raise UsageError("a deleted file goes by its number alone; leave out the container, the path and the layer")
        _extract_deleted(case, deleted, (image or (), secrets(passphrase_file, key_file)), output, force)
        return
    from forensics.content import open_contents
    from forensics.extraction import extract_file, extract_tree

    with open_case(case) as opened:
        view, wanted = chosen_view(opened, container, path, layer)
        top = view.follow(view.typed(wanted or "/"))
        if top.type not in ("d", "f"):
            raise UsageError(f"{view.title}: {readable(top.path)} is {KINDS[top.type]}; only files and directories are extracted")
        with open_contents(opened, image or (), secrets(passphrase_file, key_file)) as contents:
            keep = (opened.path, *contents.disk.paths)
            if top.type == "d":
                notes = extract_tree(view, contents, top, output, force, keep)
            else:
                output = output / os.fsdecode(top.name) if output.is_dir() else output
                refuse_to_overwrite(output, force, keep)
                notes = extract_file(view, contents, top, output, force)
            unread = 0
            for note in notes:
                say(f"{readable(note.path)}: {note.text}")
                unread += note.unread
    if unread:
        raise typer.Exit(GAPS)


Disks = tuple[Sequence[Path], Sequence[bytes]]
"""The disk images, if they are not where they were, and the secrets that open them."""


def _extract_deleted(case: Path, number: int, disks: Disks, output: Path, force: bool) -> None:
    """Write what is left of a deleted file, zeros for the rest, and say how much that is."""
    from forensics.case.deleted_rows import find_deleted_file
    from forensics.content import open_contents

    with open_case(case) as opened:
        found = find_deleted_file(opened.db, number)
        file, left = found.file, found.recovered
        size = file.size
        if size is None:
            raise UsageError(f"of deleted file {number} no content is left to extract")
        if file.type != "f" or left is None:
            raise UsageError(f"deleted file {number} is {KINDS.get(file.type, 'no file')}; only files have content to extract")
        with open_contents(opened, *disks) as contents:
            output = output / f"deleted-{number}" if output.is_dir() else output
            with open_output(Destination(output, force, (opened.path, *contents.disk.paths))) as stream:
                for piece in contents.deleted(found):
                    stream.write(piece)
    if left < size:
        say(f"deleted file {number}: {size - left} of its {size} bytes are lost; zeros stand for them")
        raise typer.Exit(GAPS)
