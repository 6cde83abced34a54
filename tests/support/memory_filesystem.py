"""A filesystem made of a dict, and one that shows another filesystem with chosen inodes damaged."""

from dataclasses import dataclass, field, replace

from forensics.filesystem import DirEntry, Inode
from forensics.source import Buffer
from parsers.errors import FormatError


@dataclass
class Node:
    """A file (bytes), a directory (dict) or a symlink (str)."""

    content: bytes | dict | str
    crtime_ns: int | None = None
    xattrs: dict = field(default_factory=dict)
    mtime_ns: int = 0

    @property
    def type(self):
        return {bytes: "f", dict: "d", str: "l"}[type(self.content)]


class MemoryFilesystem:
    """tree: directories as dicts by name (str), files as bytes, symlinks as their target (str), or a Node of one of these."""

    kind, label, uuid, state, root, block_size = "memory", None, None, "clean", 2, 4096

    def __init__(self, tree, uuid=None, label=None):
        self.uuid, self.label = uuid, label
        self.source = Buffer("memory", b"")
        self.problems = []
        self.nodes = {}
        self._add(tree)

    def _add(self, thing):
        node = thing if isinstance(thing, Node) else Node(thing)
        number = len(self.nodes) + 2
        self.nodes[number] = node
        if node.type == "d":
            inside = {name.encode() if isinstance(name, str) else name: self._add(child) for name, child in node.content.items()}
            self.nodes[number] = replace(node, content=inside)
        return number

    def inode(self, number):
        node = self.nodes[number]
        size = len(node.content) if node.type == "f" else 0
        return Inode(number, node.type, 0o755, 0, 0, size, 1, node.mtime_ns, 0, 0, node.crtime_ns)

    def entries(self, number):
        node = self.nodes[number]
        names = sorted(node.content.items()) if node.type == "d" else ()
        return [DirEntry(name, child, self.nodes[child].type) for name, child in names]

    def find(self, directory, name):
        node = self.nodes[directory]
        return node.content.get(name) if node.type == "d" else None

    def xattrs(self, number):
        return self.nodes[number].xattrs

    def target(self, number):
        return self.nodes[number].content.encode()

    def read(self, number, offset=0, size=None):
        content = self.nodes[number].content
        return content[offset : None if size is None else offset + size]

    def extents(self, number):
        return None

    def extents_of(self, numbers):
        return {}

    def directories(self):
        for number, node in self.nodes.items():
            if node.type == "d":
                yield number, [(name, child) for name, child in node.content.items() if self.nodes[child].type == "d"]


class DamagedFilesystem:
    """Another filesystem in which some files have other contents, some links other targets, some inodes cannot be read."""

    def __init__(self, fs, contents=None, targets=None, broken=()):
        self._fs, self._contents, self._targets, self._broken = fs, contents or {}, targets or {}, set(broken)

    def __getattr__(self, name):
        return getattr(self._fs, name)

    def _whole(self, number):
        if number in self._broken:
            raise FormatError("the inode's checksum is wrong")

    def inode(self, number):
        self._whole(number)
        inode = self._fs.inode(number)
        return replace(inode, size=len(self._contents[number])) if number in self._contents else inode

    def entries(self, number):
        return [] if number in self._broken else self._fs.entries(number)

    def find(self, directory, name):
        return None if directory in self._broken else self._fs.find(directory, name)

    def xattrs(self, number):
        self._whole(number)
        return self._fs.xattrs(number)

    def target(self, number):
        self._whole(number)
        return self._targets[number] if number in self._targets else self._fs.target(number)

    def read(self, number, offset=0, size=None):
        self._whole(number)
        if number not in self._contents:
            return self._fs.read(number, offset, size)
        content = self._contents[number]
        return content[offset : None if size is None else offset + size]

    def directories(self):
        for number, inside in self._fs.directories():
            if number not in self._broken:
                yield number, inside
