"""datasette: what makes a case file readable in datasette."""

from __future__ import annotations

import json

from forensics.case.lookup import open_case
from forensics.commands.output import ForceOption, OutputOption, open_output
from forensics.commands.tables import CaseArgument, destination


def datasette(case: CaseArgument, output: OutputOption = None, force: ForceOption = False) -> None:
    """Write what datasette needs to show a case file well.

    Descriptions of its views, and named queries: `datasette disk.img.case.db -m metadata.json` shows them.
    datasette is a program of its own (pip install datasette).

    Example: ctrforensics datasette disk.img.case.db -o metadata.json
    """
    with open_case(case) as opened:
        from reports.datasette import metadata

        text = json.dumps(metadata(opened.db, case), indent=2)
        with open_output(destination(opened, output, force)) as stream:
            stream.write(text.encode() + b"\n")
