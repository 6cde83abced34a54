"""Reading past bad sectors, for those who look for signatures and tables and must not end at the first failure."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.records import Gap
from forensics.source import Source
from parsers.errors import EvidenceError, FormatError

PAGE = 4096
MAX_GAPS = 64


@dataclass(frozen=True, slots=True)
class Tolerant:
    """A source that fails in some places: what cannot be read is zeros, with a gap in `gaps`, of which there are never many."""

    source: Source
    gaps: list[Gap]

    @property
    def name(self) -> str:
        """The source's own."""
        return self.source.name

    @property
    def size(self) -> int:
        """The source's own."""
        return self.source.size

    def locate(self, offset: int) -> int | None:
        """The source's own."""
        return self.source.locate(offset)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`, after an error page by page."""
        try:
            return self.source.read(offset, size)
        except (EvidenceError, FormatError) as error:
            gap = Gap("volume", str(error), offset=self.locate(offset))
            if len(self.gaps) == MAX_GAPS:
                gap = Gap(
                    "volume", f"cannot be read in more than {MAX_GAPS} places; those behind are not listed", offset=gap.offset
                )
            if gap not in self.gaps and len(self.gaps) <= MAX_GAPS:
                self.gaps.append(gap)
        return b"".join(self._page(start, min(PAGE, offset + size - start)) for start in range(offset, offset + size, PAGE))

    def _page(self, offset: int, size: int) -> bytes:
        try:
            return self.source.read(offset, size)
        except (EvidenceError, FormatError):
            return bytes(min(size, max(0, self.size - offset)))
