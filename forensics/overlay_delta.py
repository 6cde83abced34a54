"""What one layer changes in the merged view of the layers below it.

The view with the layer on top (`new`) and the view without it (`old`) are walked side by side, but only where they can differ:
where a directory of the new view is the layer's own directory on top of just what the old view has there, nothing but the
layer's own names needs a look; where both are made of the same directories, nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from forensics.overlay_layer import DIRECTORY, LayerIndex, as_ranges
from forensics.overlay_lookup import Element, Found, Stack, View
from parsers.overlay_marks import PREFIXES

_Cause = tuple[int, str]  # the entry that hides something, and how

_ERRORS = {
    "EIO": "the kernel refuses it: a metacopy file without data or with a damaged mark (EIO)",
    "EINVAL": "the kernel refuses it: an invalid redirect (EINVAL)",
    "EACCES": "the kernel refuses it: a redirect to . or .. (EACCES)",
    "EPERM": "the kernel refuses it: a redirect or metacopy file that the mount does not follow (EPERM)",
}


@dataclass(frozen=True, slots=True)
class OverlayProblem:
    """Something about an entry that the merge met. kind: refused, redirect, root mark, stale whiteout or limit."""

    entry: int
    kind: str
    text: str


class Hidden(NamedTuple):
    """Entries that are hidden for one reason, from the first to the last; by: the entry that hides them."""

    first: int
    last: int
    by: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What a layer changes in the view below it; entries are entry ids, paths absolute.

    invisible: own entries that its own view does not show, and why: whiteout, mark (another name that only the overlay reads) or
    unreachable (below a refused name). hidden: entries of lower layers that the view below shows at their own path and this one
    does not; reason: whiteout, opaque, replaced, merged (a directory that shows this layer's metadata instead), redirect,
    unreachable. placed: (number, entry, path) of entries of lower layers that this view shows where
    the view below does not. unplaced: (number, by entry, reason) of lower layers' placements that this view does not show; lost:
    their (path, entry), in the same order. data: (entry, entry that has its bytes) of metacopy files, None where nothing has.
    merged: own directories that have a lower one below; their link count reads 1.
    """

    layer: str
    invisible: tuple[tuple[int, str], ...] = ()
    hidden: tuple[Hidden, ...] = ()
    placed: tuple[tuple[int, int, bytes], ...] = ()
    unplaced: tuple[tuple[int, int | None, str], ...] = ()
    lost: tuple[tuple[bytes, int], ...] = ()
    data: tuple[tuple[int, int | None], ...] = ()
    merged: tuple[int, ...] = ()
    problems: tuple[OverlayProblem, ...] = ()


@dataclass(slots=True)
class Level:
    """A layer in its chain, and what is remembered of its delta while layers are put on it.

    cut: redirects led to more than was followed, so that a lookup in the view may find what the deltas do not tell.
    """

    index: LayerIndex
    placed: dict[tuple[bytes, int], int] = field(default_factory=dict)
    data: dict[int, int | None] = field(default_factory=dict)
    cut: bool = False


class _Frame(NamedTuple):
    """A directory whose names are to be compared. cause: of all that vanishes in it; None where only own names can differ."""

    path: bytes
    new: Stack
    old: Stack
    cause: _Cause | None


def compute_delta(levels: Sequence[Level], view: View, first_placement: int) -> Delta:
    """The delta of the topmost of `levels` (lowest first), which is remembered in that level."""
    return _Comparison(levels, view, first_placement).run()


class _Comparison:
    def __init__(self, levels: Sequence[Level], view: View, first_placement: int) -> None:
        self.lower, own = levels[:-1], levels[-1]
        self.level, self.index, self.marks = len(levels) - 1, own.index, own.index.marks
        self.cut_below = any(level.cut for level in self.lower)
        self.placed_below = [level.placed for level in reversed(self.lower) if level.placed]
        self.own, self.view, self.next_placement = own, view, first_placement
        self.new_root, self.old_root = view.root(self.level), view.root(self.level - 1)
        # A layer made by the kernel places an entry at most once, so that a view has no more names than the layers have;
        # hostile redirects can make a view grow without end.
        rows = 1000 + sum(len(level.index.layer.tree) for level in levels)
        self.placements_left, self.names_left = 2 * rows, 4 * rows + 2 * sum(len(level.placed) for level in levels)
        self.invisible: dict[int, str] = {}
        self.hidden: list[Hidden] = []
        self.unplaced: dict[tuple[bytes, int], tuple[int, int | None, str]] = {}
        self.merged: set[int] = set()
        self.problems: list[OverlayProblem] = []
        self.frames: list[_Frame] = []

    def run(self) -> Delta:
        self._own_marks()
        if self.level == 0:
            self._lowest()
        else:
            self.winding = self._winding_rows()
            root = (self.index.entry(0), "merged")
            cause = None if self.new_root[1:] == self.old_root else (self.index.entry(0), "opaque")
            self._vanish(b"", self.old_root[0], root)
            self._descend(b"", Found(self.new_root[0], self.new_root), self.old_root, cause)
            while self.frames and self.names_left > 0:
                self._compare_directory(self.frames.pop())
            if self.placements_left <= 0 or self.names_left <= 0:
                self.own.cut = True
                self._problem(0, "limit", "redirects that lead to more names than the layers have; not all are followed")
        for row in self.marks.metacopies:
            self.own.data.setdefault(self.index.entry(row), None)  # one that nothing reaches here may be placed further up
        self._stale_whiteouts()
        first = self.index.layer.first_entry
        unplaced = sorted(self.unplaced.items(), key=lambda each: each[1][0])
        return Delta(
            self.index.layer.key,
            tuple((first + row, reason) for row, reason in sorted(self.invisible.items())),
            _joined(self.hidden),
            tuple((number, entry, path or b"/") for (path, entry), number in self.own.placed.items()),
            tuple(row for _, row in unplaced),
            tuple(lost for lost, _ in unplaced),
            tuple(sorted(self.own.data.items())),
            tuple(first + row for row in sorted(self.merged)),
            tuple(sorted(self.problems, key=lambda problem: (problem.entry, problem.kind))),
        )

    # -- the layer's own rows

    def _own_marks(self) -> None:
        for row in sorted(self.marks.hints):
            for below in (row, *self.index.below(row)):
                self.invisible[below] = "mark"
        for row in self.marks.whiteouts:
            self.invisible[row] = "whiteout"
        ignored = 0 in self.marks.redirects or (0 in self.marks.opaque and self.index.layer.marks != "fuse")
        if ignored:
            self._problem(0, "root mark", "an opaque mark or redirect on a layer's root, which the kernel ignores")

    def _lowest(self) -> None:
        """The lowest layer hides nothing and follows nothing; only a metacopy file is not what it seems."""
        for row in self.marks.metacopies:
            self.own.data[self.index.entry(row)] = None
            self._problem(row, "refused", _ERRORS["EIO"])

    def _winding_rows(self) -> dict[int, list[int]]:
        """Rows whose lookup leads elsewhere even where nothing is below, and the way to them, by directory."""
        ways: dict[int, list[int]] = {}
        tree, seen = self.index.layer.tree, {0}
        for row in sorted(self.marks.redirects.keys() | self.marks.metacopies.keys()):
            way = row
            while way not in seen:
                seen.add(way)
                ways.setdefault(int(tree.parent[way]), []).append(way)
                way = int(tree.parent[way])
        return ways

    def _stale_whiteouts(self) -> None:
        """Whiteouts where nothing is merged: the kernel's `ls` shows the name, though nothing is behind it."""
        if self.index.layer.marks not in PREFIXES:
            return
        tree, origin = self.index.layer.tree, PREFIXES[self.index.layer.marks] + b"origin"
        for row in self.marks.whiteouts:
            parent = int(tree.parent[row])
            if parent not in self.merged and origin not in tree.xattrs.get(parent, ()):
                self._problem(row, "stale whiteout", "a whiteout in a directory that merges with nothing hides nothing")

    def _problem(self, row: int, kind: str, text: str) -> None:
        self.problems.append(OverlayProblem(self.index.entry(row), kind, text))

    # -- the walk

    def _compare_directory(self, frame: _Frame) -> None:
        own_row = frame.new[0][1] if frame.new and frame.new[0][0] == self.level else None
        own = self.index.children(own_row) if own_row is not None else {}
        covers = len(frame.new) == (own_row is not None) and not self.placed_below and not self.cut_below
        if frame.cause is not None and not covers:
            for name in sorted(self._names(frame.new) | self._names(frame.old)):
                self._compare_name(frame, name, own.get(name))
            return
        if covers:
            self._vanish_directory(frame, own)  # of the old view, the new one shows nothing here but under own names
        if frame.old:
            shared = set().union(*(own.keys() & self.lower[level].index.children(row).keys() for level, row in frame.old))
            for name in sorted(own if self.winding else shared):
                row = own[name]
                if name in shared or row in self.marks.redirects or row in self.marks.metacopies:
                    self._compare_name(frame, name, row)
                elif row in self.winding:
                    self.frames.append(_Frame(frame.path + b"/" + name, ((self.level, row),), (), None))
        elif own_row is not None:
            for row in self.winding.get(own_row, ()):
                if row not in self.marks.hints and row not in self.marks.whiteouts:
                    self._compare_name(frame, self.index.layer.tree.names[row], row)

    def _names(self, stack: Stack) -> set[bytes]:
        names: set[bytes] = set()
        for level, row in stack:
            names.update(self._index(level).children(row))
        return names

    def _compare_name(self, frame: _Frame, name: bytes, own: int | None) -> None:
        self.names_left -= 1
        path = frame.path + b"/" + name
        new = self.view.lookup(self.new_root, frame.new, name)
        old = self.view.lookup(self.old_root, frame.old, name)
        if new and new.top[0] < self.level and (old is None or new.top != old.top) and not self._place(path, new.top):
            new = None
        top, below = self._causes(own, new, old, frame.cause)
        if old and (new is None or new.top != old.top):
            self._vanish(path, old.top, top)
        if new:
            self._look_at(new, old)
            self._descend(path, new, old.stack if old else (), below)
        elif old and old.stack:
            self.frames.append(_Frame(path, (), old.stack, below))

    def _causes(
        self, own: int | None, new: Found | None, old: Found | None, inherited: _Cause | None
    ) -> tuple[_Cause | None, _Cause | None]:
        """Why something vanishes at a name that the layer itself has, and why below it."""
        if own is None:
            return inherited, inherited
        entry = self.index.entry(own)
        if own in self.marks.whiteouts:
            return (entry, "whiteout"), (entry, "whiteout")
        if new is not None and new.error:
            return (entry, "unreachable"), (entry, "unreachable")
        if new is None or not new.stack:
            return (entry, "replaced"), (entry, "replaced")
        if own in self.marks.opaque:
            below: _Cause = (entry, "opaque")
        elif own in self.marks.redirects:
            below = (entry, "redirect")
        else:
            below = inherited or (entry, "replaced")
        merges = old is not None and old.stack and old.stack[0] in new.stack
        return ((entry, "merged") if merges else below), below

    def _descend(self, path: bytes, new: Found, old: Stack, cause: _Cause | None) -> None:
        """Go into a directory where something may differ."""
        level, row = new.top
        mine = level == self.level
        if mine and len(new.stack) > 1:
            self.merged.add(row)
        if mine and new.error and self.index.types[row] == DIRECTORY:
            for below in self.index.below(row):
                self.invisible.setdefault(below, "unreachable")
        stack = new.stack
        if self.placements_left <= 0:
            stack = stack[:1] if mine else ()
        if stack != old:
            only_own_differs = mine and stack and stack[1:] == old
            self.frames.append(_Frame(path, stack, old, None if only_own_differs else cause))

    def _look_at(self, new: Found, old: Found | None) -> None:
        """Note whose bytes a metacopy file has, and what is wrong with a name."""
        level, row = new.top
        entry = self._index(level).entry(row)
        if new.metacopy:
            data = self._index(new.data[0]).entry(new.data[1]) if new.data else None
            if level == self.level or self._known_data(entry) != data:
                self.own.data[entry] = data
        if new.error and (old is None or (old.top, old.error) != (new.top, new.error)):
            self.problems.append(OverlayProblem(entry, "refused", _ERRORS[new.error]))
        elif level == self.level and new.stack and row in self.marks.redirects and row not in self.marks.opaque:
            where = self.marks.redirects[row].decode("utf-8", "backslashreplace")
            self._problem(row, "redirect", f"goes on at {where}; a mount with redirect_dir=nofollow refuses it")

    # -- what comes and goes

    def _vanish(self, path: bytes, element: Element, cause: _Cause | None) -> None:
        entry = self._index(element[0]).entry(element[1])
        by, reason = cause if cause is not None else (None, "replaced")
        for placed in self.placed_below:
            if (path, entry) in placed:
                self.unplaced[path, entry] = (placed[path, entry], by, reason)
                return
        if not self.cut_below or self._index(element[0]).layer.paths[element[1]] == path:
            self.hidden.append(Hidden(entry, entry, by, reason))

    def _vanish_directory(self, frame: _Frame, own: Mapping[bytes, int]) -> None:
        """Hide all in a directory of the old view but what has one of the `own` names; all in it stands at its own path."""
        seen: set[bytes] = set()
        special: set[bytes] = set()  # names that one look at one layer does not settle
        for level, row in frame.old:
            names = self._index(level).children(row).keys()
            special |= names & seen
            seen |= names
        for level, row in frame.old:
            index = self._index(level)
            children, is_plain = index.children(row), index.is_plain(row)
            single = children.keys() - special - own.keys()
            if is_plain and len(single) == len(children):
                self._hide(index, index.ranges_below(row), frame.cause)
                continue
            if not is_plain:
                odd = {name for name in single if not index.is_plain(children[name])}
                single -= odd
                special |= odd
            rows = sorted(children[name] for name in single)
            self._hide(index, as_ranges(rows), frame.cause)
            for child in rows:
                if index.types[child] == DIRECTORY:
                    self._hide(index, index.ranges_below(child), frame.cause)
        for name in sorted(special - own.keys()):
            if old := self.view.lookup(self.old_root, frame.old, name):
                path = frame.path + b"/" + name
                self._vanish(path, old.top, frame.cause)
                if old.stack:
                    self.frames.append(_Frame(path, (), old.stack, frame.cause))

    def _hide(self, index: LayerIndex, ranges: Iterable[tuple[int, int]], cause: _Cause | None) -> None:
        by, reason = cause if cause is not None else (None, "replaced")
        entry = index.layer.first_entry
        self.hidden.extend([Hidden(entry + first, entry + last, by, reason) for first, last in ranges])

    def _place(self, path: bytes, element: Element) -> bool:
        entry = self._index(element[0]).entry(element[1])
        if self.placements_left <= 0:
            return False
        self.placements_left -= 1
        self.own.placed[path, entry] = self.next_placement
        self.next_placement += 1
        return True

    def _index(self, level: int) -> LayerIndex:
        return self.index if level == self.level else self.lower[level].index

    def _known_data(self, entry: int) -> int | str | None:
        for level in reversed(self.lower):
            if entry in level.data:
                return level.data[entry]
        return "unknown"


def _joined(hidden: Iterable[Hidden]) -> tuple[Hidden, ...]:
    """In order, and what stands together and is hidden by one entry as one."""
    joined: list[Hidden] = []
    first, last, by, reason = 0, -1, None, ""
    for each in sorted(hidden, key=itemgetter(0)):
        if each.first == last + 1 and each.by == by and each.reason == reason:
            last = each.last
        else:
            if reason:
                joined.append(Hidden(first, last, by, reason))
            first, last, by, reason = each
    if reason:
        joined.append(Hidden(first, last, by, reason))
    return tuple(joined)
