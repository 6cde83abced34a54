"""Where a file's bytes stand, also where its extents say what cannot be."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from forensics.file_source import FileSource
from forensics.filesystem import Extent
from support.memory_filesystem import MemoryFilesystem

NUMBERS = st.one_of(st.integers(0, 100), st.integers(0, (1 << 72) - 1))


class Placed(MemoryFilesystem):
    """One file with chosen extents; what is in it stands at the same place in the disk image."""

    def __init__(self, extents):
        super().__init__({"f": bytes(100)})
        self.source, self._extents = SimpleNamespace(locate=lambda place: place), extents

    def extents(self, _number):
        return self._extents


def test_each_byte_has_its_extents_place():
    extents = [Extent(50, 10, 20), Extent(0, 500, 40), Extent(70, None, 30)]
    file = FileSource(Placed(extents), 3, "f")
    places = [file.locate(offset) for offset in (0, 39, 40, 50, 69, 70, 99, 100, -1)]
    assert places == [500, 539, None, 10, 29, None, None, None, None]


@given(st.lists(st.tuples(NUMBERS, st.one_of(st.none(), NUMBERS), NUMBERS), max_size=4), st.integers(0, 99))
def test_extents_of_any_numbers_are_answered(numbers, offset):
    file = FileSource(Placed([Extent(*each) for each in numbers]), 3, "f")
    place = file.locate(offset)
    assert place is None or any(
        where is not None and logical <= offset < logical + length and place == where + offset - logical
        for logical, where, length in numbers
    )
