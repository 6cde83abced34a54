"""query: any SELECT on a case file, or one that has a name; nothing but that."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.case.lookup import Case, open_case
from forensics.commands.output import Destination, ForceOption, Format, FormatOption, OutputOption, write_rows
from forensics.commands.tables import destination
from parsers.errors import UsageError

if TYPE_CHECKING:
    from reports.queries import NamedQuery

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_TELLING = {"data_version", "table_list", "user_version", "function_list", "integrity_check", "quick_check"}
_TELLING_OF = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "quick_check"}
_STEPS = 100_000  # of SQLite's machine between two looks at whether Ctrl-C was pressed

_Case = Annotated[Path | None, typer.Argument(metavar="CASE", help="The case file that carve made.", show_default=False)]
_Sql = Annotated[str | None, typer.Argument(metavar="SQL", help="A SELECT, or the name of a query.", show_default=False)]
_Values = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Parameters of the query.", show_default=False)]


def query(
    case: _Case = None,
    sql: _Sql = None,
    values: _Values = None,
    list_queries: Annotated[bool, typer.Option("--list", help="List the queries that have names.")] = False,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Ask the case file anything, in SQL or by a query's name.

    Nothing is ever changed in it. --list shows the queries that have names.

    Example: ctrforensics query disk.img.case.db "SELECT kind, count(*) FROM changes GROUP BY kind"

    Example: ctrforensics query disk.img.case.db setuid container=web
    """
    if list_queries:
        _list(format, Destination(output, force))
        return
    if case is None or sql is None:
        raise UsageError("query needs a CASE and an SQL or a query's name; ctrforensics query --list shows the names")
    given = _given(values or [])
    named = _named(sql)
    if named is not None:
        _check_parameters(named, given)
    with open_case(case) as opened:
        to = destination(opened, output, force)
        if named is None:
            _run(opened, sql, given, format, to)
        else:
            _run(opened, named.sql, dict.fromkeys(named.parameters, "") | given, format, to)


def _list(form: Format, to: Destination) -> None:
    from reports.queries import QUERIES

    columns = ["name", "parameters", "title"] if form is Format.TABLE else ["name", "parameters", "title", "description", "sql"]
    rows = [(each.name, ", ".join(each.parameters), each.title, each.description, each.sql)[: len(columns)] for each in QUERIES]
    write_rows(rows, columns, form, to)


def _given(values: list[str]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise UsageError(f"{value!r} is no parameter; write NAME=VALUE, and put SQL into quotes")
    return dict(value.split("=", 1) for value in values)


def _named(text: str) -> NamedQuery | None:
    from reports.queries import QUERIES

    return next((each for each in QUERIES if each.name == text), None)


def _check_parameters(named: NamedQuery, given: dict[str, str]) -> None:
    unknown = sorted(set(given) - set(named.parameters))
    if unknown:
        known = f"it has {', '.join(named.parameters)}" if named.parameters else "it has none"
        raise UsageError(f"the query {named.name} has no parameter {unknown[0]}; {known}")


def _run(case: Case, sql: str, values: dict[str, str], form: Format, to: Destination) -> None:
    case.db.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # which are set up at their first use, not allowed below
    case.db.execute("SELECT 1 FROM log_search LIMIT 0")  # to open a full-text index SQLite asks for more than to read it
    case.db.set_authorizer(_allow)
    case.db.set_progress_handler(lambda: 0, _STEPS)  # a Python call, in which a signal can be heard
    try:
        cursor = case.db.execute(sql, values)
        if cursor.description is None:
            raise UsageError("that is no SELECT; a case file is only read")
        write_rows(cursor, [column[0] for column in cursor.description], form, to)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error
        hint = f'ctrforensics query {case.path} "PRAGMA table_list" lists the views, --list queries that have names'
        raise UsageError(f"SQL: {error}; {hint}") from error
    except (sqlite3.DatabaseError, sqlite3.Warning) as error:
        raise UsageError(f"SQL: {str(error).rstrip('.')}; a case file is only read, by one SELECT") from error


def _allow(action: int, first: str | None, second: str | None, _database: str | None, _view: str | None) -> int:
    """What SQLite asks before it does anything; `first` is a pragma's name, `second` its value."""
    told = action == sqlite3.SQLITE_PRAGMA and first in (_TELLING if second is None else _TELLING_OF)
    return sqlite3.SQLITE_OK if action in _ALLOWED or told else sqlite3.SQLITE_DENY
