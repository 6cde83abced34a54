"""verify: whether a case file still says what its evidence says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.case.lookup import open_case
from forensics.commands.browse import ImageOption
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption, Value, write_rows
from forensics.commands.progress import shown_progress
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from forensics.commands.tables import CaseArgument, destination

if TYPE_CHECKING:
    from forensics.verification.check import Check

DIFFERENT = 1
MOST_SHOWN = 20  # differences of one check in a table
_AGAIN_HELP = "Carve the evidence once more besides, into a temporary file, and compare the two case files row by row."
_COLUMNS = ("check", "state", "facts", "path", "offset", "detail")


def verify(
    case: CaseArgument,
    image: ImageOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    again: Annotated[bool, typer.Option("--again", help=_AGAIN_HELP)] = False,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Hold a case file against its evidence, fact by fact.

    Everything is read again where the case says that it stands. A line for each check, then one for each thing that differs;
    the exit code is 1 if anything does.

    Example: ctrforensics verify disk.img.case.db
    """
    from forensics.verification.all import verify as checks_of

    with open_case(case) as opened:
        to = destination(opened, output, force, image)
        with shown_progress() as progress:
            checks = list(checks_of(opened, image or (), secrets(passphrase_file, key_file), again, progress))
        write_rows(_rows(checks, MOST_SHOWN if format is Format.TABLE else None), _COLUMNS, format, to)
    if any(check.differences for check in checks):
        raise typer.Exit(DIFFERENT)


def _rows(checks: Sequence[Check], most: int | None) -> Iterator[tuple[Value, ...]]:
    """The checks, then what differs, at most so many of a check's."""
    for check in checks:
        text = f"{len(check.differences)} differ" if check.differences else None
        yield check.name, check.state, check.facts, None, None, "; ".join(filter(None, (text, check.note))) or None
    for check in checks:
        for each in check.differences[:most]:
            yield check.name, check.state, None, each.path, each.offset, each.detail
        if most is not None and len(check.differences) > most:
            more = f"{len(check.differences) - most} more; --format csv lists them all"
            yield check.name, check.state, None, None, None, more
