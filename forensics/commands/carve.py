"""carve: the main job, from a disk image to a case file and a summary of it."""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.case.lookup import open_case
from forensics.commands.output import GAPS, Destination, open_output, refuse_to_overwrite
from forensics.commands.progress import shown_progress
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from parsers.errors import UsageError

if TYPE_CHECKING:
    from forensics.progress import Progress
    from reports.summary import Summary


class Carve(StrEnum):
    """Which space is searched for what was removed."""

    UNALLOCATED = "unallocated"
    ALL = "all"
    NONE = "none"


class Hash(StrEnum):
    """Which layers' files get a SHA-256."""

    ALL = "all"
    CHANGED = "changed"
    NONE = "none"


class YaraScope(StrEnum):
    """Which files YARA rules look at."""

    CHANGED = "changed"
    RECOVERED = "recovered"
    ALL = "all"


_YARA_HELP = "YARA rules of your own, a file or a directory; needs pip install 'ctrforensics[yara]'."
_SCOPE_HELP = "What --yara looks at: files of containers' own layers, deleted files, all of them and all layers."
_IMAGE_HELP = "A disk image (any file of one in several), a block device, a directory or a tar archive; several of one host."
ImageArgument = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help=_IMAGE_HELP, show_default=False)]
_SNAPSHOT_HELP = "Read this internal snapshot of a QCOW2, by name or id."
SnapshotOption = Annotated[str | None, typer.Option("--snapshot", metavar="NAME", help=_SNAPSHOT_HELP, show_default=False)]
_UNPACK_HELP = "Unpack a compressed disk image (gzip, zstd, xz, bzip2) into this directory, and read that."
_UnpackOption = Annotated[Path | None, typer.Option("--unpack", metavar="DIR", help=_UNPACK_HELP, show_default=False)]
JournalOption = Annotated[
    bool, typer.Option("--no-journal", help="Read the disk as it lies; do not replay a filesystem's journal in memory.")
]
_CASE_HELP = "The case file to make; default: IMAGE's name + .case.db, in this directory."
_CaseOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="CASE", help=_CASE_HELP, show_default=False)]
_ForceOption = Annotated[bool, typer.Option("--force", help="Replace the case file if it is there.")]
_CARVE_HELP = "Search for what was removed: in unallocated space and journals, also in all that no filesystem has, or not at all."
_CarveOption = Annotated[Carve, typer.Option("--carve", help=_CARVE_HELP)]
_EXECUTABLES_HELP = "Search for ELF files and scripts there, too; those that nothing names become deleted files without a path."
_ExecutablesOption = Annotated[bool, typer.Option("--carve-executables", help=_EXECUTABLES_HELP)]
_VERIFY_HELP = "Hold layers of container images against the archives that they were unpacked from; default: with --hash all."
_VerifyOption = Annotated[bool | None, typer.Option("--verify-layers/--no-verify-layers", help=_VERIFY_HELP, show_default=False)]
_FINDINGS_HELP = "Look for what is suspicious; with --hash none, which reads no files, only in containers' settings unless asked."
_FindingsOption = Annotated[bool | None, typer.Option("--findings/--no-findings", help=_FINDINGS_HELP, show_default=False)]
_HashOption = Annotated[Hash, typer.Option("--hash", help="SHA-256 of files: in all layers, in containers' own layers, of none.")]


def carve(
    image: ImageArgument,
    output: _CaseOption = None,
    force: _ForceOption = False,
    hash: _HashOption = Hash.ALL,
    carve: _CarveOption = Carve.UNALLOCATED,
    carve_executables: _ExecutablesOption = False,
    hash_image: Annotated[bool, typer.Option("--hash-image", help="SHA-256 of the disk image too.")] = False,
    no_journal: JournalOption = False,
    snapshot: SnapshotOption = None,
    unpack: _UnpackOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    verify_layers: _VerifyOption = None,
    findings: _FindingsOption = None,
    yara: Annotated[Path | None, typer.Option("--yara", metavar="RULES", help=_YARA_HELP, show_default=False)] = None,
    yara_scope: Annotated[YaraScope, typer.Option("--yara-scope", help=_SCOPE_HELP)] = YaraScope.CHANGED,
    no_logs: Annotated[bool, typer.Option("--no-logs", help="Read no logs of containers and engines.")] = False,
) -> None:
    """Read a disk image, leave a case file with all its containers.

    The case file holds every container that was on the host, its exact filesystem and what it changed. The disk image is
    only read. Exit code 3 tells that something on it could not be; ctrforensics gaps lists what.

    Examples: ctrforensics carve disk.img -o disk.case.db; ctrforensics carve system.E01 data.E01
    """
    case_path = output if output is not None else Path(f"{image[0].absolute().name or 'collection'}.case.db")
    _check_output(case_path, image, force)
    if carve_executables and carve is Carve.NONE:
        raise UsageError("--carve-executables searches what --carve none leaves out; leave one of them out")
    if yara is not None and findings is False:
        raise UsageError("--yara looks for findings, --no-findings looks for none; leave one of them out")
    # Layers become millions of small objects, none in a cycle; looking for cycles as often as usual takes a tenth of the time.
    gc.set_threshold(3_000_000, 50, 100)
    from forensics import pipeline
    from reports.summary import summarise

    command = shlex.join(["ctrforensics", *sys.argv[1:]])
    with shown_progress() as progress:
        disks = [_unpacked(path, unpack, force, progress) if unpack else path for path in image]
        options = pipeline.CarveOptions(
            hash=hash.value,
            hash_image=hash_image,
            replay_journal=not no_journal,
            snapshot=snapshot,
            unpack=unpack,
            command=command,
            findings=_where_to_look(findings, hash),
            carve=carve.value,
            carve_executables=carve_executables,
            yara=yara,
            yara_scope=yara_scope.value,
            verify_layers=hash is Hash.ALL if verify_layers is None else verify_layers,
            logs=not no_logs,
            secrets=secrets(passphrase_file, key_file),
        )
        done = pipeline.carve(disks, case_path, options, progress)
    with open_case(case_path) as case:
        _print_summary(summarise(case.db, case_path))
    if done.gaps:
        raise typer.Exit(GAPS)


def _where_to_look(findings: bool | None, hash: Hash) -> str:
    if findings is None:
        return "settings" if hash is Hash.NONE else "all"
    return "all" if findings else "none"


def _unpacked(path: Path, directory: Path, force: bool, progress: Progress) -> Path:
    """The disk image itself, or what a compressed one was unpacked to."""
    from forensics.images.collections import packs_an_archive
    from forensics.images.unpack import packed_format, unpack

    kind = None if path.is_dir() else packed_format(path)
    if kind is None or packs_an_archive(path, kind):
        return path
    progress.stage(f"unpacking {path.name}", unit="B")
    return unpack(path, directory, force, progress.advance)


def _check_output(case_path: Path, images: Sequence[Path], force: bool) -> None:
    from forensics.images.segments import find_segments

    if str(case_path) == "-":
        raise UsageError("a case file is a database and cannot go to stdout; name a file with -o")
    if case_path.exists() and not (case_path.is_file() or case_path.is_dir()):
        raise UsageError(f"{case_path} is no regular file; name another with -o")
    for image in images:
        if image.is_dir() and case_path.absolute().is_relative_to(image.absolute()):
            raise UsageError(
                f"{case_path} would lie in the directory {image}, which is the evidence; name a place outside of it with -o"
            )
    files = [image for image in images if not image.is_dir()]
    refuse_to_overwrite(case_path, force, [path for image in files for path in (image, *find_segments(image))])


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
