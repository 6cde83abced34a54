"""findings and rules: what is suspicious in a case, and what was looked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from forensics.case.lookup import Case, find_container, open_case
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption
from forensics.commands.tables import CaseArgument, destination, select
from parsers.errors import UsageError

_ORDER = "CASE severity WHEN 'high' THEN 0 WHEN 'medium' THEN 1 WHEN 'low' THEN 2 ELSE 3 END"
_SHOWN = "severity, rule, coalesce(container, substr(container_id, 1, 12)) AS container, title, path, offset"


class Severity(StrEnum):
    """How grave a finding is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


_SEVERITY_HELP = "Only findings as grave as this, or graver."


def findings(
    case: CaseArgument,
    severity: Annotated[Severity, typer.Option("--severity", "-s", help=_SEVERITY_HELP)] = Severity.INFO,
    container: Annotated[str | None, typer.Option("--container", "-c", help="Only this container's.", show_default=False)] = None,
    rule: Annotated[str | None, typer.Option("--rule", "-r", help="Only what this rule found.", show_default=False)] = None,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """What is suspicious, the gravest first.

    Each finding points to its evidence: container, path, offset in the disk image, SHA-256. What a rule means, how to check it by
    hand, and what harmless things look the same, ctrforensics rules tells.

    Example: ctrforensics findings disk.img.case.db --severity medium --container web
    """
    with open_case(case) as opened:
        conditions = [f"{_ORDER} <= {list(Severity).index(severity)}"]
        values: dict[str, str | int] = {}
        if container is not None:
            conditions.append("container_number = :container")
            values["container"] = find_container(opened, container).number
        if rule is not None:
            _check_rule(opened, rule)
            conditions.append("rule = :rule")
            values["rule"] = rule
        columns = _SHOWN if format is Format.TABLE else "*"
        sql = (
            f"SELECT {columns} FROM findings WHERE {' AND '.join(conditions)} ORDER BY {_ORDER}, container_number, finding_number"
        )
        select(opened, sql, format, destination(opened, output, force), values)


def rules(
    case: CaseArgument,
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="Only this rule.", show_default=False)] = None,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """What was looked for, and what it means.

    Why a rule matters, how to check by hand what it found, and what harmless things look the same.

    Example: ctrforensics rules disk.img.case.db setuid
    """
    with open_case(case) as opened:
        if rule is not None:
            _check_rule(opened, rule)
        counted = "(SELECT count(*) FROM findings WHERE findings.rule = rules.rule) AS findings"
        shown = f"rule, severity, title, {counted}, list(attack) AS attack"
        if rule is not None:
            shown += ", why, check_by_hand, benign"
        columns = shown if format is Format.TABLE else "*"
        condition = "" if rule is None else " WHERE rule = :rule"
        select(opened, f"SELECT {columns} FROM rules{condition} ORDER BY rule", format, destination(opened, output, force),
               {} if rule is None else {"rule": rule})  # fmt: skip


def _check_rule(case: Case, rule: str) -> None:
    known = [name for (name,) in case.db.execute("SELECT rule FROM rules ORDER BY rule")]
    if rule not in known:
        there = ", ".join(known) or "none, as the case was carved with --no-findings"
        raise UsageError(f"{case.path} has no rule {rule!r}; there are: {there}")
