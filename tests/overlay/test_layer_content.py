"""What of a merge is told of layers whose lower ones are not all there."""

from unittest.mock import create_autospec

import pytest

from forensics.case.writer import CaseWriter
from forensics.content_plan import ContentPlan
from forensics.layer_content import LayerContent
from forensics.layers import NumberedLayer
from forensics.progress import Progress
from forensics.records import Layer
from support.small_tree import file, small_tree, whiteout

OWN, BASE = 3, 2  # inodes of the layers' directories


class Disk:
    """A filesystem that has a layer with a whiteout in a directory of its own, and one below it."""

    def tree(self, directory):
        return small_tree({b"/new/gone": whiteout()} if directory == OWN else {b"/f": file()})


def layer(number, kind, directory, chain, dangling=False, **more):
    return NumberedLayer(number, Layer(f"l{number}", f"l{number}", kind, directory, "/", 1, **more), chain, dangling)


def written(*layers):
    case = create_autospec(CaseWriter, instance=True)
    content = LayerContent(case, {1: Disk()}, ContentPlan("none"), create_autospec(Progress, instance=True))
    content.write(1, layers)
    return case, content


def told(*layers):
    case, _ = written(*layers)
    return [call.args[1] for call in case.anomaly.call_args_list]


@pytest.mark.parametrize("layers", [
    (layer(1, "image", OWN, (1,)),),
    (layer(1, "image", BASE, (1,)), layer(2, "container", OWN, (2, 1), lower="l1")),
])  # fmt: skip
def test_a_whiteout_that_hides_nothing_is_told(layers):
    assert told(*layers) == ["stale whiteout"]


@pytest.mark.parametrize("layers", [
    (layer(1, "orphan", OWN, (1,)),),
    (layer(1, "orphan", OWN, (1,), origin="recovered"),),
    (layer(1, "image", OWN, (1,), dangling=True, lower="gone"),),
    (layer(1, "image", None, (1,)), layer(2, "container", OWN, (2, 1), lower="l1")),
    (layer(1, "image", BASE, (1,), dangling=True, lower="gone"),
     layer(2, "container", OWN, (2, 1), dangling=True, lower="l1")),
])  # fmt: skip
def test_what_a_whiteout_hid_in_a_layer_that_is_gone_is_not_known(layers):
    assert told(*layers) == []


CONTAINER = layer(2, "container", BASE, (2, 1), lower="l1")


@pytest.mark.parametrize(("layers", "known"), [
    ((layer(1, "image", OWN, (1,)), CONTAINER), {2}),
    ((layer(1, "image", None, (1,)), CONTAINER), set()),
    ((layer(1, "image", OWN, (1,), dangling=True, lower="gone"),
      layer(2, "container", BASE, (2, 1), dangling=True, lower="l1")), set()),
])  # fmt: skip
def test_changes_are_told_only_against_all_that_was_below(layers, known):
    _, content = written(*layers)
    assert content.changes.keys() == known
