"""Case files with one container, and the events that its timeline tells."""

from pathlib import Path

from forensics import cli
from forensics.timeline.all import read_events
from forensics.timeline.copy_up import lower_entries
from support.cli import ask

S = 1_000_000_000
README = Path(__file__).resolve().parent.parent.parent / "README.md"
T = 1_795_000_000 * S


def analysed(builder):
    """The case file, with the events that its records and layers tell."""
    for each in lower_entries(builder.db, {}):
        builder.insert("lower_entry", entry_id=each.entry, lower=each.lower, copied=each.copied)
    for event in list(read_events(builder.db, {}, [])):
        path = None if event.path is None else event.path.decode("utf-8", "backslashreplace")
        builder.insert(
            "event", time_ns=event.time_ns, event=event.event, source=event.source, container=event.container, path=path,
            message=event.message, confidence=event.confidence, partition=event.partition, offset=event.offset,
        )  # fmt: skip
    return builder.finish()


def upper(builder, path, born, **row):
    """An entry of the container's layer. Layers' entries are numbered in one run."""
    number = builder.entry(builder.own, path, crtime_ns=born, atime_ns=born, **({"ctime_ns": born, "mtime_ns": born} | row))
    builder.db.execute("UPDATE layer SET entries = ? - first_entry + 1 WHERE id = ?", (number, builder.own))
    return number


def events(case, condition="1"):
    return ask(case, f"SELECT * FROM timeline WHERE {condition} ORDER BY time_ns, rank")


def run(capfdbinary, *words, expect=0):
    code = cli.run([str(word) for word in words])
    printed = capfdbinary.readouterr()
    assert code == expect, printed.err.decode()
    return printed.out, printed.err.decode()


def whiteout(builder, path, born, changed, **row):
    lower = builder.entry(builder.image, path)
    number = upper(builder, path, born, ctime_ns=changed, type="c", mark="whiteout", rdev="0:0", **row)
    builder.hide(builder.own, lower, "whiteout", number)
