"""A report as Markdown: CommonMark with the tables of GitHub, in which no text of the evidence is markup."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from forensics.text import counted, harmless
from reports import wording
from reports.report import Report
from reports.sections.changes import Change

# What CommonMark 0.31.2 (chapter 6) and GitHub's extensions of it would take for markup inside of a line: emphasis inside of a
# word is none with `_`, and an address becomes a link at `://`, `www.` and `@`.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&#!$@{}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.|(?<=WWW)\.")
_INDENT = "  "


def as_markdown(report: Report) -> str:
    """The report as a Markdown document."""
    environment = Environment(
        loader=PackageLoader("reports", "templates/markdown"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=escaped,
    )  # fmt: skip
    environment.globals |= {"command_line": _command_line, "tree": _tree}
    environment.filters |= {
        "when": wording.when, "exactly": wording.exactly, "size": wording.size, "number": wording.number, "short": wording.short,
        "counted": counted, "image": wording.image,
    }  # fmt: skip
    text = environment.get_template("report.md.j2").render(
        report=report, containers={each.number: each for each in report.inventory.containers}
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escaped(value: Any) -> Markup:
    """What a template writes for a value: text as text, nothing for what is unknown."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else _MARKUP.sub(_escape, harmless(str(value))))


def _escape(match: re.Match[str]) -> str:
    return "\\" + match[0]


def _command_line(*parts: str) -> Markup:
    """A command of ours as code: a fence longer than any in it. In a table `|` would end the cell, code or not."""
    line = harmless(wording.command_line(*parts))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return Markup(f"{fence}{space}{line}{space}{fence}")


def _tree(changes: tuple[Change, ...], depth: int = 0) -> Markup:
    """Changes as a nested list."""
    lines = []
    for change in changes:
        told = [change.kind or "", change.name, f"[{change.severity}]" if change.severity else ""]
        if change.type and change.type != "d":
            told.append(", ".join(_about(change)))
        lines.append(f"{_INDENT * depth}- {' '.join(escaped(part) for part in told if part)}\n")
        lines.append(_tree(change.children, depth + 1))
        if change.left_out:
            lines.append(f"{_INDENT * (depth + 1)}- *{wording.number(change.left_out)} more below, not listed*\n")
    return Markup("".join(lines))


def _about(change: Change) -> list[str]:
    parts = [wording.mode(change.mode, change.type), wording.size(change.size) if change.type == "f" else ""]
    parts.append(wording.when(change.mtime_ns) if change.kind != "D" else "")
    return [part for part in parts if part]
