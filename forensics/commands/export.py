"""export: a view as a PAX archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forensics.case.lookup import open_case
from forensics.commands.browse import ContainerArgument, ImageOption, LayerOption, chosen_view
from forensics.commands.output import GAPS, ForceOption, open_output, say
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from forensics.commands.tables import CaseArgument, destination
from forensics.text import readable
from parsers.errors import UsageError


def export(
    case: CaseArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The archive to make; - is stdout.", show_default=False)],
    container: ContainerArgument = None,
    layer: LayerOption = None,
    image: ImageOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    force: ForceOption = False,
) -> None:
    """Write a container's root filesystem as a PAX archive.

    With --layer, that layer's own directory. Names, types, modes, owners, times to the nanosecond, device numbers, xattrs,
    hard links and contents are the kernel's.

    Example: ctrforensics export disk.img.case.db web -o web.tar
    """
    from forensics.archive import write_archive
    from forensics.content import open_contents

    with open_case(case) as opened:
        view, extra = chosen_view(opened, container, None, layer)
        if extra is not None:
            raise UsageError("--layer stands for the container: give CASE --layer LAYER, without a CONTAINER")
        to = destination(opened, output, force, image)
        if to.is_terminal:
            raise UsageError("an archive is not written to a terminal; name a file with -o, or pipe it into another program")
        unread = left_out = 0
        with open_contents(opened, image or (), secrets(passphrase_file, key_file)) as contents, open_output(to) as stream:
            for note in write_archive(view, contents, stream):
                if note.unread:
                    unread += 1
                    say(f"{readable(note.path)}: {note.text}")
                else:
                    left_out += 1
        if left_out:
            say(f"{left_out} entries were left out, as no archive can hold them: sockets")
    if unread:
        raise typer.Exit(GAPS)
