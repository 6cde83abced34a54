"""Merged views in two ways that the product does not go: by the kernel's algorithm, and by the algebra of deltas.

`merged_view` reads the whole of every layer and looks up every name of every directory. It is written from the description of
overlayfs' lookup on its own, and shares no code with forensics.overlay*.
"""

from dataclasses import dataclass, field

from forensics.overlay import Delta, LayerTree


@dataclass(frozen=True)
class Visible:
    """error: what stat fails with. data: the entry with the bytes, for files."""

    path: bytes
    entry: int
    data: int | None = None
    error: str | None = None


@dataclass
class Node:
    entry: int
    type: str
    size: int
    device: tuple
    xattrs: dict
    children: dict = field(default_factory=dict)


class Refused(Exception):
    pass


def nodes(layer: LayerTree) -> Node:
    tree, made = layer.tree, []
    for row, name in enumerate(tree.names):
        device = (int(tree.rdev_major[row]), int(tree.rdev_minor[row]))
        node = Node(layer.first_entry + row, chr(tree.type[row]), int(tree.size[row]), device, tree.xattrs.get(row, {}))
        made.append(node)
        if row:
            made[tree.parent[row]].children[name] = node
    return made[0]


class DirectMerge:
    """chain: topmost layer first."""

    def __init__(self, chain, follow=True, metacopy=True):
        self.roots = [nodes(layer) for layer in chain]
        self.prefix = {"trusted": b"trusted.overlay.", "user": b"user.overlay."}[chain[0].marks]
        if chain[0].marks == "user":
            follow = metacopy = False
        self.follow, self.metacopy = follow, metacopy

    def attribute(self, node, name):
        return node.xattrs.get(self.prefix + name)

    def is_whiteout(self, node):
        if node.type == "c" and node.device == (0, 0):
            return True
        return node.type == "f" and node.size == 0 and self.attribute(node, b"whiteout") is not None

    def redirect(self, node):
        value = self.attribute(node, b"redirect")
        if value is None:
            return None
        if value == b"":
            raise Refused("EINVAL")
        value = value.partition(b"\0")[0]
        if value[:1] == b"/":
            if any(part == b"" for part in value.split(b"/")[1:]):
                raise Refused("EINVAL")
        elif b"/" in value:
            raise Refused("EINVAL")
        return value

    def lookup(self, parents, name):  # noqa: PLR0912 # one algorithm, in one piece, to be read beside its description
        """parents: [(layer number, node)]. Gives None or (first node, [(layer number, node)] of a directory, data, error)."""
        components, absolute = [name], False  # what is looked for; absolute: from the layers' roots
        places = list(parents)
        found, first = [], None
        state = {"dir": False, "metacopy": False, "stop": False}
        redirected = False
        try:
            while places and not state["stop"]:
                number, base = places.pop(0)
                lowest = number == len(self.roots) - 1 if self.follow else not places
                node, at = base, 0
                while at < len(components):
                    final = at == len(components) - 1
                    if components[at] in (b"", b".", b".."):
                        raise Refused("EACCES")
                    node = node.children.get(components[at])
                    if node is None:
                        break
                    if self.is_whiteout(node):
                        state["stop"], node = True, None
                        break
                    if (node.type != "d" and (not final or state["dir"])) or (final and state["metacopy"] and node.type != "f"):
                        state["stop"], node = True, None
                        break
                    if final:
                        first = first or node
                        if node.type == "d":
                            state["dir"] = True
                    look_for_redirect = not lowest
                    if node.type == "d":
                        if look_for_redirect and self.attribute(node, b"opaque") == b"y":
                            state["stop"], look_for_redirect = True, False
                    else:
                        mark = self.attribute(node, b"metacopy") if node.type == "f" else None
                        if mark is not None and len(mark) in (1, 2, 3):
                            raise Refused("EIO")
                        state["metacopy"] = mark is not None
                        state["stop"] = mark is None
                        look_for_redirect = look_for_redirect and mark is not None
                    to = self.redirect(node) if look_for_redirect else None
                    if to is not None:
                        redirected = True
                        if to[:1] == b"/":
                            state["stop"], absolute = False, True
                            new = to.split(b"/")[1:]
                            components, at = new + components[at + 1 :], len(new) - 1
                        else:
                            components = [*components[:at], to, *components[at + 1 :]]
                    at += 1
                if node is None:
                    continue
                if state["metacopy"] and not self.metacopy:
                    raise Refused("EPERM")
                if state["dir"] or not state["metacopy"] or not found:
                    found.append((number, node))
                if redirected and not self.follow:
                    raise Refused("EPERM")
                if absolute:
                    places = [(n, root) for n, root in enumerate(self.roots) if n > number]
            if state["metacopy"]:
                raise Refused("EIO")
        except Refused as refused:
            return (found[0][1] if found else first), [], None, str(refused)
        if not found:
            return None
        if state["dir"]:
            return found[0][1], found, None, None
        return found[0][1], [], found[-1][1], None

    def view(self):
        root = list(enumerate(self.roots))
        yield Visible(b"/", self.roots[0].entry)
        pending = [(b"", root)]
        while pending:
            path, stack = pending.pop()
            for name in sorted({name for _, node in stack for name in node.children}):
                hit = self.lookup(stack, name)
                if hit is None:
                    continue
                node, below, data, error = hit
                here = path + b"/" + name
                yield Visible(here, node.entry, data.entry if data and node.type == "f" else None, error)
                if below:
                    pending.append((here, below))


def merged_view(chain, follow=True, metacopy=True):
    return sorted(DirectMerge(chain, follow, metacopy).view(), key=lambda v: (v.path, v.entry))


def entry_paths(layer: LayerTree) -> dict[int, bytes]:
    paths = {}
    for row, name in enumerate(layer.tree.names):
        paths[row] = paths[int(layer.tree.parent[row])] + b"/" + name if row else b""
    return {layer.first_entry + row: path or b"/" for row, path in paths.items()}


def view_from_deltas(chain: list[LayerTree], deltas: dict[str, Delta]) -> list[Visible]:
    """What the case file's SQL computes. chain: topmost layer first."""
    keys = [layer.key for layer in chain]
    hidden = {entry for key in keys for each in deltas[key].hidden for entry in range(each.first, each.last + 1)}
    unplaced = {number for key in keys for number, _, _ in deltas[key].unplaced}
    data = {entry: at for key in reversed(keys) for entry, at in deltas[key].data}
    shown = []
    for layer in chain:
        invisible = {entry for entry, _ in deltas[layer.key].invisible}
        own = entry_paths(layer)
        shown += [(path, entry) for entry, path in own.items() if entry not in invisible and entry not in hidden]
        shown += [(path, entry) for number, entry, path in deltas[layer.key].placed if number not in unplaced]
    files = {layer.first_entry + row for layer in chain for row in range(len(layer.tree)) if layer.tree.type[row] == ord("f")}
    return [Visible(path, entry, data.get(entry, entry) if entry in files else None) for path, entry in sorted(shown)]
