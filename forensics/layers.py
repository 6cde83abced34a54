"""The layers of a store in the order and with the numbers that a case file gives them, and the chain of each."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from forensics.records import Gap, Layer


@dataclass(frozen=True, slots=True)
class NumberedLayer:
    """A layer in a case. chain: the numbers of its view's layers, itself first. dangling: the lowest one's `lower` is missing."""

    number: int
    layer: Layer
    chain: tuple[int, ...]
    dangling: bool

    @property
    def lower(self) -> int | None:
        """The number of the layer right below."""
        return self.chain[1] if len(self.chain) > 1 else None


def number_layers(layers: Sequence[Layer], first: int) -> tuple[tuple[NumberedLayer, ...], tuple[Gap, ...]]:
    """Number a store's layers from `first` on, each after its lower one, siblings by key.

    A chain that runs in a circle is cut at its smallest key; a `lower` that no layer has ends the chain.
    """
    by_key = {layer.key: layer for layer in layers}
    uppers: dict[str | None, list[Layer]] = {}
    gaps = []
    for layer in sorted(by_key.values(), key=lambda each: each.key):
        lower = _lower(layer, by_key)
        uppers.setdefault(lower, []).append(layer)
    numbered: dict[str, NumberedLayer] = {}
    _descend(uppers.get(None, []), uppers, numbered, first)
    for key in sorted(by_key):
        if key not in numbered:  # only layers of a circle, or above one, are left
            layer = by_key[key]
            gaps.append(Gap("layer chain", f"runs in a circle through {layer.lower}; cut here", layer.partition, layer.path))
            _descend([layer], uppers, numbered, first)
    return tuple(numbered.values()), tuple(gaps)


def _lower(layer: Layer, by_key: dict[str, Layer]) -> str | None:
    return layer.lower if layer.stacked and layer.lower in by_key else None


def _descend(
    roots: Sequence[Layer], uppers: dict[str | None, list[Layer]], numbered: dict[str, NumberedLayer], first: int
) -> None:
    """Number `roots` and all above them, depth first."""
    pending = list(reversed(roots))
    while pending:
        layer = pending.pop()
        if layer.key in numbered:
            continue
        below = numbered.get(layer.lower) if layer.stacked and layer.lower is not None else None
        number = first + len(numbered)
        dangling = below.dangling if below else layer.stacked and layer.lower is not None
        numbered[layer.key] = NumberedLayer(number, layer, (number, *(below.chain if below else ())), dangling)
        pending.extend(reversed(uppers.get(layer.key, [])))


def rootfs_state(own: NumberedLayer | None, present: Container[int], recovered: Container[int] = ()) -> str:
    """How much of a root filesystem is on the disk, complete, partial or missing.

    present: the layers that could be read. recovered: those that were removed, of which more may have been there.
    """
    if own is None or not any(number in present for number in own.chain):
        return "missing"
    whole = not own.dangling and all(number in present and number not in recovered for number in own.chain)
    return "complete" if whole else "partial"
