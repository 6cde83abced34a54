"""query: any SELECT on a case file, and nothing but that."""

from __future__ import annotations

import sqlite3
from typing import Annotated

import typer

from forensics.case.lookup import open_case
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption, write_rows
from forensics.commands.tables import CaseArgument, destination
from parsers.errors import UsageError

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_TELLING = {"table_list", "user_version", "function_list", "integrity_check", "quick_check"}
_TELLING_OF = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "quick_check"}
_STEPS = 100_000  # of SQLite's machine between two looks at whether Ctrl-C was pressed


def query(
    case: CaseArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT.", show_default=False)],
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Ask the case file anything, in SQL.

    Nothing is ever changed in it.

    Example: ctrforensics query disk.img.case.db "SELECT kind, count(*) FROM changes GROUP BY kind"
    """
    with open_case(case) as opened:
        to = destination(opened, output, force)
        opened.db.set_authorizer(_allow)
        opened.db.set_progress_handler(lambda: 0, _STEPS)  # a Python call, in which a signal can be heard
        try:
            cursor = opened.db.execute(sql)
            if cursor.description is None:
                raise UsageError("that is no SELECT; a case file is only read")
            write_rows(cursor, [column[0] for column in cursor.description], format, to)
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise KeyboardInterrupt from error
            raise UsageError(f'SQL: {error}; ctrforensics query {case} "PRAGMA table_list" lists the views') from error
        except (sqlite3.DatabaseError, sqlite3.Warning) as error:
            raise UsageError(f"SQL: {str(error).rstrip('.')}; a case file is only read, by one SELECT") from error


def _allow(action: int, first: str | None, second: str | None, _database: str | None, _view: str | None) -> int:
    """What SQLite asks before it does anything; `first` is a pragma's name, `second` its value."""
    told = action == sqlite3.SQLITE_PRAGMA and first in (_TELLING if second is None else _TELLING_OF)
    return sqlite3.SQLITE_OK if action in _ALLOWED or told else sqlite3.SQLITE_DENY
