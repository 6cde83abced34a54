"""A case under construction with one container, for rules to look at: its files in two layers, contents in memory."""

from types import SimpleNamespace

from forensics.findings.all import find
from forensics.findings.scene import Scene
from parsers.errors import FormatError
from support.casebuilder import CaseBuilder


class Contents:
    """What rules need of a filesystem: contents by inode."""

    def __init__(self):
        self.files = {}
        self.source = SimpleNamespace(read=lambda offset, size: self.disk[offset : offset + size])
        self.disk = b""

    def read(self, number, offset=0, size=None):
        if number not in self.files:
            raise FormatError("no such inode")
        return self.files[number][offset:][:size]


class OneContainer:
    """A container `web` (or with other columns) on an image layer; files are put into either layer."""

    def __init__(self, path, **columns):
        self.builder = CaseBuilder(path)
        self.contents = Contents()
        self.image = self.builder.layer("image")
        self.own = self.builder.layer("own", self.image, kind="container")
        self.builder.db.execute("UPDATE entry SET crtime_ns = 1700000000000000001 WHERE path = '/'")
        self.container = self.builder.container("c" * 64, "web", self.own, **columns)

    def below(self, path, content=b"", **row):
        """A file of the image."""
        return self._put(self.image, path, content, row)

    def add(self, path, content=b"", **row):
        """A file of the container, over the image's if that has it."""
        number = self._put(self.own, path, content, {"mtime_ns": 1_700_000_000_000_009_999} | row)
        known = self.builder.db.execute(
            "SELECT id FROM entry WHERE layer_id = ? AND path = (SELECT path FROM entry WHERE id = ?)", (self.image, number)
        ).fetchone()
        if known:
            self.builder.hide(self.own, known[0], "replaced", number)
        return number

    def _put(self, layer, path, content, row):
        size = row.pop("size", len(content))
        number = self.builder.entry(layer, path, size=size, **row)
        (inode,) = self.builder.db.execute("SELECT inode FROM entry WHERE id = ?", (number,)).fetchone()
        self.contents.files[inode] = content
        return number

    def scene(self, **options):
        return Scene(self.builder.db, {1: self.contents}, **options)

    def found(self, rule=None):
        """(severity, title, path) of what a rule, or all rules, find."""
        told = [(text.name, each) for text, findings in find(self.scene()) for each in findings]
        return [(f.severity, f.title, f.path) for name, f in told if rule in (None, name)]
