"""The CRI's log lines, also of Podman's k8s-file: `2026-11-21T01:48:59.2239Z stdout F text`.

Sources: kubernetes 1.30, pkg/kubelet/kuberuntime/logs/logs.go; containerd 2.1, internal/cri/io/logger.go; conmon 2.1,
src/ctr_logging.c. P: the line goes on in the stream's next record; F: it ends. Tags may follow after a colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from parsers.log_record import Damage, LogRecord, Piece, as_text, instant, split_lines

_LINE = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::[^ ]*)?(?: (.*))?",
    re.DOTALL,
)
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


def parse_cri_log(pieces: Iterable[Piece], damage: Damage) -> Iterator[LogRecord]:
    """The records of a CRI log; a line that is none is damage."""
    form = _LINE.fullmatch
    for position, line in split_lines(pieces, damage):
        found = form(line)
        if found is not None:
            second, fraction, zone, stream, tag, rest = found.groups()
            text, raw = as_text(rest or b"")
            yield LogRecord(position, instant(second, fraction, zone), _STREAMS[stream], text, raw, tag == b"F")
        elif line:
            damage.at(position, "no line of a CRI log")
