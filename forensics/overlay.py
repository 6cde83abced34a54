"""The overlayfs merge: each layer once, told as what it changes in the view of the layers below it.

A view is named by its top layer and never stored. Its visible entries are, for its layer and each one below it, the layer's
entries less its `invisible` ones and less those that a layer of the chain has in `hidden`, at their own paths; and the layers'
`placed` ones, less those that a layer of the chain has in `unplaced`. (Delta says what these are.)
"""

from __future__ import annotations

from forensics.overlay_delta import Delta, Level, OverlayProblem, compute_delta
from forensics.overlay_layer import LayerIndex, LayerTree
from forensics.overlay_lookup import View

__all__ = ["Delta", "LayerTree", "Merger", "OverlayProblem"]


class Merger:
    """Takes layers one after another, each after its lower one and depth first, and tells what each changes.

    Only the trees of one chain are held at a time. follow, metacopy: as the mount options redirect_dir=follow and metacopy=on.
    """

    def __init__(self, follow: bool = True, metacopy: bool = True, first_placement: int = 1) -> None:
        self._follow, self._metacopy = follow, metacopy
        self._levels: list[Level] = []
        self._done: set[str] = set()
        self.next_placement = first_placement

    @property
    def chain(self) -> tuple[LayerTree, ...]:
        """The layers of the view of the layer that was added last, itself first."""
        return tuple(level.index.layer for level in reversed(self._levels))

    def add(self, layer: LayerTree) -> Delta:
        """What `layer` changes in the view of its `lower`. A `lower` that was never added counts as none."""
        while self._levels and self._levels[-1].index.layer.key != layer.lower:
            self._levels.pop()
        if not self._levels and layer.lower in self._done:
            raise ValueError(f"layer {layer.key} comes too late after {layer.lower}: layers are added depth first")
        self._levels.append(Level(LayerIndex(layer)))
        view = View([level.index for level in self._levels], self._follow, self._metacopy)
        delta = compute_delta(self._levels, view, self.next_placement)
        self.next_placement += len(delta.placed)
        self._done.add(layer.key)
        return delta
