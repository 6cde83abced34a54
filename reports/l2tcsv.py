"""A timeline in log2timeline's CSV of 17 columns.

Source: plaso 20240308, plaso/output/l2t_csv.py (L2TCSVOutputModule): dates as month/day/year, MACB letters with dots where they
do not hold, 2 as the version; in UTC here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from forensics.text import utc
from reports.event_row import EventRow

HEADER = (
    "date", "time", "timezone", "MACB", "source", "sourcetype", "type", "user", "host", "short", "desc", "version", "filename",
    "inode", "notes", "format", "extra",
)  # fmt: skip
_MACB = {1: "...B", 2: "M...", 3: "..C.", 4: ".A.."}


def l2tcsv_rows(rows: Iterable[EventRow], host: str | None) -> Iterator[tuple[str, ...]]:
    """One row an event, without the header; those beyond the year 9999 are left out. host: the host's name."""
    for row in rows:
        if row.time is None:
            continue
        day, _, clock = utc(row.time_ns).removesuffix("Z").partition("T")
        year, month, date = day.split("-")
        place = f"{row.place} on {host}" if row.place and host else row.place or host or ""
        extra = {"confidence": row.confidence, "partition": row.partition, "offset": row.offset, "nanoseconds": clock[9:]}
        yield (
            f"{month}/{date}/{year}", clock[:8], "UTC", _MACB.get(row.rank, "...."), "FILE" if row.rank in _MACB else "CONTAINER",
            row.source, row.event, "", place, f"{row.event} {row.path or ''}".rstrip(), row.sentence, "2", row.path or "", "",
            "", "ctrforensics", "; ".join(f"{name}: {value}" for name, value in extra.items() if value is not None),
        )  # fmt: skip
