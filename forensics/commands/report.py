"""report: what a case says, as a document for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.case.lookup import find_container, open_case
from forensics.commands.output import ForceOption, open_output
from forensics.commands.tables import CaseArgument, destination
from parsers.errors import UsageError

if TYPE_CHECKING:
    from reports.report import Report

_OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="REPORT", help="A file whose name ends in .html, .md or .json.", show_default=False),
]
_ContainerOption = Annotated[
    str | None, typer.Option("--container", "-c", metavar="CONTAINER", help="Only about this container.", show_default=False)
]
_ExaminerOption = Annotated[str | None, typer.Option("--examiner", help="Who examined it.", show_default=False)]
_NumberOption = Annotated[str | None, typer.Option("--case-number", help="The number of the case.", show_default=False)]
_NotesOption = Annotated[str | None, typer.Option("--notes", help="What the examiner has to say.", show_default=False)]
_SecretsOption = Annotated[bool, typer.Option("--show-secrets", help="Do not redact what looks like a secret.")]


def report(
    case: CaseArgument,
    output: _OutputOption,
    container: _ContainerOption = None,
    examiner: _ExaminerOption = None,
    case_number: _NumberOption = None,
    notes: _NotesOption = None,
    show_secrets: _SecretsOption = False,
    force: ForceOption = False,
) -> None:
    """Write a report to read, print and hand on.

    One file, whose name says what it is: .html opens in any browser and needs nothing else, .md is Markdown, .json is for
    programs. It is made from the case file alone.

    Example: ctrforensics report disk.img.case.db -o report.html --examiner "A. Smith" --case-number 2026-17
    """
    form = output.suffix.lower()
    if form not in (".html", ".md", ".json"):
        raise UsageError(f"{output}: a report's name ends in .html, .md or .json; name such a file with -o")
    with open_case(case) as opened:
        to = destination(opened, output, force)
        from importlib.metadata import version

        from reports.report import About, read_report

        found = find_container(opened, container) if container is not None else None
        about = About(
            case.name, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"), f"ctrforensics {version('ctrforensics')}",
            (found.name or found.container_id[:12]) if found else None, found.number if found else None, _plain(examiner),
            _plain(case_number), _plain(notes), show_secrets,
        )  # fmt: skip
        text = _written(read_report(opened.db, about), form)
        with open_output(to) as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))


def _written(report: Report, form: str) -> str:
    if form == ".html":
        from reports.as_html import as_html

        return as_html(report)
    if form == ".md":
        from reports.as_markdown import as_markdown

        return as_markdown(report)
    from reports.as_json import as_json

    return as_json(report)


def _plain(text: str | None) -> str | None:
    """What was typed, without the surrogates that stand for bytes that are not UTF-8; nothing where it is empty."""
    return re.sub(r"[\ud800-\udfff]", "?", text).strip() or None if text else None
