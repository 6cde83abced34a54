"""diff: what a container changed against its image, as `docker diff` prints it."""

from __future__ import annotations

from forensics.case.lookup import find_container, open_case
from forensics.commands.browse import ContainerName
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption, say, write_lines, write_rows
from forensics.commands.tables import CaseArgument, destination


def diff(
    case: CaseArgument,
    container: ContainerName,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List what a container added (A), changed (C), deleted (D).

    Example: ctrforensics diff disk.img.case.db web
    """
    with open_case(case) as opened:
        found = find_container(opened, container)
        to = destination(opened, output, force)
        (compared,) = opened.db.execute("SELECT compared FROM container WHERE id = ?", (found.number,)).fetchone()
        if compared == 0:
            say(f"what {found.name or found.container_id} changed is not known: its layer, or one below it, is not there")
        columns = ("kind", "path", "path_raw")
        rows = opened.db.execute(
            "SELECT kind, path, path_raw FROM container_change WHERE container = ? ORDER BY path, kind", (found.number,)
        )
        if format is Format.TABLE:
            write_lines((f"{kind} {path}" for kind, path, _raw in rows), to)
        else:
            write_rows(rows, columns, format, to)
