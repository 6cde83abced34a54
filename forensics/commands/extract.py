"""extract: a file or a directory tree of a view onto the analyst's own disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from forensics.case.lookup import open_case
from forensics.case.view import KINDS
from forensics.commands.browse import ContainerArgument, ImageOption, LayerOption, PathArgument, chosen_view
from forensics.commands.output import GAPS, refuse_to_overwrite, say
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
    image: ImageOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that is not empty, replace files.")] = False,
) -> None:
    """Copy a file or a directory tree to this disk, harmless.

    Devices and links that lead out of the directory are not made, set-id bits not set; what was left out is named on stderr.

    Example: ctrforensics extract disk.img.case.db web /etc -o web-etc
    """
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
