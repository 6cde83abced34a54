"""A timeline for Timesketch: JSON lines with the fields that it demands, and ours beside them.

Source: Timesketch 20250807, timesketch/lib/utils.py (read_and_validate_jsonl): message, datetime and timestamp_desc are demanded,
`timestamp` is microseconds since 1970.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from forensics.text import utc
from reports.event_row import EventRow

_UNSEEN = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MICROSECOND = 1000


def timesketch_lines(rows: Iterable[EventRow]) -> Iterator[str]:
    """One JSON object a line; events beyond the year 9999, which have no ISO date, are left out."""
    for row in rows:
        if row.time is None:
            continue
        micros = row.time_ns // MICROSECOND
        told = {
            "message": row.sentence,
            "datetime": f"{utc(micros * MICROSECOND)[:26]}+00:00",
            "timestamp": micros,
            "timestamp_desc": row.event,
            "data_type": "ctrforensics:event",
            "event": row.event,
            "source": row.source,
            "container": row.container,
            "container_id": row.container_id,
            "path": row.path,
            "details": row.message,
            "confidence": row.confidence,
            "partition": row.partition,
            "offset": row.offset,
            "time_ns": row.time_ns,
        }
        text = json.dumps({name: value for name, value in told.items() if value is not None}, ensure_ascii=False)
        yield _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
