"""carve: the main job, from a disk image to a case file and a summary of it."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.case.lookup import open_case
from forensics.commands.output import GAPS, Destination, open_output, refuse_to_overwrite
from forensics.commands.progress import shown_progress
from parsers.errors import UsageError

if TYPE_CHECKING:
    from reports.summary import Summary


class Hash(StrEnum):
    """Which layers' files get a SHA-256."""

    ALL = "all"
    CHANGED = "changed"
    NONE = "none"


_IMAGE_HELP = "A raw disk image, any segment of a split one, or a block device."
ImageArgument = Annotated[Path, typer.Argument(metavar="IMAGE", help=_IMAGE_HELP, show_default=False)]
JournalOption = Annotated[
    bool, typer.Option("--no-journal", help="Read the disk as it lies; do not replay a filesystem's journal in memory.")
]
_CASE_HELP = "The case file to make; default: IMAGE's name + .case.db, in this directory."
_CaseOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="CASE", help=_CASE_HELP, show_default=False)]
_ForceOption = Annotated[bool, typer.Option("--force", help="Replace the case file if it is there.")]
_HashOption = Annotated[Hash, typer.Option("--hash", help="SHA-256 of files: in all layers, in containers' own layers, of none.")]


def carve(
    image: ImageArgument,
    output: _CaseOption = None,
    force: _ForceOption = False,
    hash: _HashOption = Hash.ALL,
    hash_image: Annotated[bool, typer.Option("--hash-image", help="SHA-256 of the disk image too.")] = False,
    no_journal: JournalOption = False,
) -> None:
    """Read a disk image, leave a case file with all its containers.

    The case file holds every container that was on the host, its exact filesystem and what it changed. The disk image is
    only read. Exit code 3 tells that something on it could not be; ctrforensics gaps lists what.

    Example: ctrforensics carve disk.img -o disk.case.db
    """
    case_path = output if output is not None else Path(f"{image.name}.case.db")
    _check_output(case_path, image, force)
    from forensics.pipeline import CarveOptions, carve
    from reports.summary import summarise

    command = shlex.join(["ctrforensics", *sys.argv[1:]])
    with shown_progress() as progress:
        done = carve(image, case_path, CarveOptions(hash.value, hash_image, not no_journal, command), progress)
    with open_case(case_path) as case:
        _print_summary(summarise(case.db, case_path))
    if done.gaps:
        raise typer.Exit(GAPS)


def _check_output(case_path: Path, image: Path, force: bool) -> None:
    from forensics.evidence import find_segments

    if str(case_path) == "-":
        raise UsageError("a case file is a database and cannot go to stdout; name a file with -o")
    if case_path.exists() and not (case_path.is_file() or case_path.is_dir()):
        raise UsageError(f"{case_path} is no regular file; name another with -o")
    refuse_to_overwrite(case_path, force, (image, *find_segments(image)))


def _print_summary(summary: Summary) -> None:
    from forensics.commands.table import write_table

    to = Destination()
    with open_output(to) as stream:
        write_table(summary.facts, (), stream, to.is_terminal)
        stream.write(b"\n")
        if len(summary.containers) > 1:
            write_table(summary.containers[1:], [str(name) for name in summary.containers[0]], stream, to.is_terminal)
            stream.write(b"\n")
        write_table(summary.after, (), stream, to.is_terminal)
