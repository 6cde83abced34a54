"""A report as one HTML file: no script is needed to read it, nothing is loaded, and no script runs but the one in it."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from forensics.text import counted, harmless
from reports import wording
from reports.plot import LEFT, RIGHT, WIDTH, draw
from reports.report import Report


def as_html(report: Report) -> str:
    """The report as a document. All text of the evidence is escaped, and what would steer a display is spelled out."""
    style, script = _asset("report.css") + _print_style(report), _asset("report.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("page.html.j2").render(
        report=report, plot=draw(report.timeline), style=Markup(style), script=Markup(script), policy=policy,
        plot_width=WIDTH, plot_left=LEFT, plot_right=RIGHT,
        containers={each.number: each for each in report.inventory.containers},
    )  # fmt: skip


def _wrapped(text: str | None) -> Markup:
    """A path or name that may be broken behind its slashes and the like, where a line has no room for it."""
    escaped = str(escape(harmless(text or "")))
    return Markup(re.sub(r"([/:@=,])(?=\S)", r"\1<wbr>", escaped))


_FILTERS = (
    wording.when,
    wording.exactly,
    wording.finely,
    wording.size,
    wording.number,
    wording.mode,
    wording.short,
    counted,
    wording.image,
)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "templates/html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    environment.globals |= {"command_line": wording.command_line, "zip": zip}
    environment.filters |= {each.__name__: each for each in _FILTERS} | {"wrap": _wrapped}
    return environment


def _shown(value: Any) -> Any:
    """What a template writes for a value: text without anything that a display would obey, nothing for what is unknown."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) or not isinstance(value, str) else harmless(value)


def _print_style(report: Report) -> str:
    """The page's head and foot in print."""
    about = report.about
    head = " · ".join(part for part in (report.title, about.case_number and f"case {about.case_number}") if part)
    foot = " · ".join(part for part in (about.case_file, about.examiner, about.made[:10]) if part)
    return (
        f"@page {{ @top-left {{ content: {_css_string(head)}; }} @bottom-left {{ content: {_css_string(foot)}; }}"
        ' @bottom-right { content: "page " counter(page) " of " counter(pages); } }\n'
    )


def _css_string(text: str) -> str:
    """CSS Syntax 3, 4.3.7: every character but letters and digits as its code point."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in harmless(text)) + '"'


def _asset(name: str) -> str:
    return files("reports").joinpath("templates", "html", name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """The source expression of Content Security Policy 3 for an inline element with this content."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
