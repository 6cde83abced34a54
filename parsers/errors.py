"""Every error that ctrforensics raises on purpose.

CtrForensicsError            one line for the analyst: what, where, what to do
+-- UsageError               the request cannot be carried out as it was put            (exit code 2)
+-- EvidenceError            the evidence cannot be opened or read                      (exit code 1)
+-- CaseError                the case file cannot be opened, read or written            (exit code 1)
+-- FormatError              bytes that are not what their format demands; becomes a row in `gaps`
    +-- UnsupportedFormat    well-formed, but with a feature that is named and not read
"""

from __future__ import annotations


class CtrForensicsError(Exception):
    """Base of all errors that end in one line for the analyst, never in a traceback."""

    exit_code = 1


class UsageError(CtrForensicsError):
    """The request cannot be carried out as it was put."""

    exit_code = 2


class EvidenceError(CtrForensicsError):
    """The evidence cannot be opened or read."""


class CaseError(CtrForensicsError):
    """The case file cannot be opened, read or written."""


class FormatError(CtrForensicsError):
    """Bytes that are not what their format demands.

    `source` names the artefact (a path in the evidence, a volume); `offset` is the byte offset in that artefact, or None
    where no single byte is to blame.
    """

    def __init__(self, what: str, source: str = "", offset: int | None = None) -> None:
        self.what, self.source, self.offset = what, source, offset
        super().__init__(what)

    def __str__(self) -> str:
        where = self.source
        if self.offset is not None:
            where = f"{where or 'data'} at byte {self.offset}"
        return f"{where}: {self.what}" if where else self.what


class UnsupportedFormat(FormatError):
    """Well-formed, but with a feature that is named in the message and not read."""
