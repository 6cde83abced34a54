"""Contents for a case file that was filled by hand: bytes in memory instead of a disk image."""

from dataclasses import dataclass, field

from parsers.errors import EvidenceError, FormatError


@dataclass
class StoredContents:
    """Stands in for forensics.content.Contents. by_inode: bytes, or an error to raise; of a list, one piece after another."""

    by_inode: dict = field(default_factory=dict)

    def size(self, view, entry):
        data = view.data(entry)
        return data.size if data is not None else entry.size

    def chunks(self, view, entry):
        data = view.data(entry)
        if data is None:
            raise FormatError("its data is in no layer below it")
        stored = self.by_inode.get(data.inode, b"")
        if isinstance(stored, Exception):
            raise stored
        return self._pieces(stored if isinstance(stored, list) else [stored])

    def _pieces(self, pieces):
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


UNREADABLE = EvidenceError("disk.img: cannot be read at byte 4711")
