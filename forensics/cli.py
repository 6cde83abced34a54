"""The command line: `ctrforensics COMMAND ...`, its exit codes, and one line for every error.

0 complete, 1 failed, 2 usage, 3 finished with gaps; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import gc
import io
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Annotated

import typer
from typer.main import get_command

from forensics.commands.bolt import bolt
from forensics.commands.browse import cat, ls
from forensics.commands.carve import carve
from forensics.commands.datasette import datasette
from forensics.commands.diff import diff
from forensics.commands.export import export
from forensics.commands.extract import extract
from forensics.commands.findings import findings, rules
from forensics.commands.info import info
from forensics.commands.logs import logs
from forensics.commands.output import say
from forensics.commands.query import query
from forensics.commands.report import report
from forensics.commands.show import show
from forensics.commands.tables import LISTINGS, listing_command
from forensics.commands.timeline import timeline
from forensics.commands.verify import verify
from parsers.errors import CtrForensicsError

TRACEBACK = "CTRFORENSICS_TRACEBACK"
USAGE = 2
INTERRUPTED = 130

COMMANDS: tuple[Callable[..., None], ...] = (
    carve,
    info,
    *(listing_command(listing) for listing in LISTINGS),
    findings,
    rules,
    show,
    ls,
    cat,
    extract,
    export,
    diff,
    logs,
    timeline,
    report,
    query,
    datasette,
    bolt,
    verify,
)

app = typer.Typer(
    name="ctrforensics",
    help="Read a powered-off Linux host's disk image and find every container that was there.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in COMMANDS:
    app.command(each.__name__)(each)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ctrforensics {version('ctrforensics')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command; without a command, show what there is."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and answer its exit code; what went wrong is one line on stderr."""
    try:
        # not app(...), which would put an exception hook of its own in the place of ours
        code = get_command(app).main(list(arguments), prog_name="ctrforensics", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        say(f"ctrforensics: {_usage(error)}")
        return error.exit_code
    except CtrForensicsError as error:
        say(f"ctrforensics: {error}")
        return error.exit_code
    except BrokenPipeError:
        # whoever read our output has seen enough; what is left in the buffer must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except sqlite3.Error as error:
        say(f"ctrforensics: the case file cannot be read ({error}); copy it again, or carve the disk image again")
        return 1
    except OSError as error:
        say(f"ctrforensics: {error.filename or 'output'}: {error.strerror or error}")
        return 1
    if code == INTERRUPTED:
        say("ctrforensics: stopped")
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where to read how it should be."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ctrforensics"
    return f"{' '.join(error.format_message().split()).rstrip('.')}; {command} -h tells how it goes"


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody foresaw, without its traceback."""
    if issubclass(kind, KeyboardInterrupt):
        say("ctrforensics: stopped")
        return
    what = f"{kind.__name__}: {error}" if str(error) else kind.__name__
    say(f"ctrforensics: this should not happen: {what}; set {TRACEBACK}=1 to see where, and please report it")


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not os.environ.get(TRACEBACK):
        sys.excepthook = _one_line
    code = run(sys.argv[1:])
    gc.freeze()  # what is left goes with the process; to look it all through for cycles first takes longer than most commands
    sys.exit(code)
