"""A report as JSON: the dataclasses of `Report` as objects, their fields as keys."""

from __future__ import annotations

import json
from dataclasses import asdict

from forensics.text import json_harmless
from reports.report import Report


def as_json(report: Report) -> str:
    """The report as one JSON object; characters that would steer a terminal are written as escapes."""
    return json_harmless(json.dumps(asdict(report), ensure_ascii=False, indent=1)) + "\n"
