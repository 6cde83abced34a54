"""The command line as an analyst has it: a process of its own."""

import contextlib
import sqlite3
import subprocess
import sys


def run_cli(*words, expect=0):
    """What ctrforensics printed, as bytes. It must end with the exit code that is expected, and never with a traceback."""
    command = [sys.executable, "-c", "from forensics.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    said = done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in said, said
    assert done.returncode == expect, f"exit {done.returncode}: {said}"
    return done.stdout


def ask(case, sql):
    """The rows of a query, as dicts."""
    with contextlib.closing(sqlite3.connect(f"file:{case}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql)]
