"""LVM2 volumes: against the mapping that lvs prints, against a mapping drawn at random, and damaged in every way."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.volumes import find_volumes
from parsers import lvm2
from parsers.errors import CtrForensicsError, EvidenceError, FormatError
from support.disks import MIB, Disk, put, put_pv, run, vg_text
from support.lvm_disks import EXTENT, PV_EXTENTS, PV_SIZE, UUIDS, disk_with, extent_at, linear, pv_list, volumes_of


def test_linear_segments_over_two_physical_volumes():
    text = vg_text("vg0", pv_list(2), {"root": (True, [linear(0, 3, 0, 5), linear(3, 2, 1, 7), linear(5, 1, 0, 0)])})
    disk = disk_with(text, pvs=2)
    volumes, errors = volumes_of(disk)
    volume = volumes["vg0/root"]
    content = b"".join(extent_at(disk, *place) for place in ((0, 5), (0, 6), (0, 7), (1, 7), (1, 8), (0, 0)))
    assert errors == []
    assert (volume.number, volume.type, volume.offset, volume.length) == (3, "linear", None, 6 * EXTENT)
    assert volume.source.read(0, 10 * EXTENT) == content
    for offset in (0, EXTENT - 1, 3 * EXTENT - 1, 3 * EXTENT, 6 * EXTENT - 1):
        assert volume.source.read(offset, 2) == content[offset : offset + 2]
        assert disk[volume.source.locate(offset)] == content[offset]
    assert (volume.source.read(6 * EXTENT, 1), volume.source.read(-1, 1), volume.source.locate(6 * EXTENT)) == (b"", b"", None)


def test_one_piece_in_several_segments_has_an_offset():
    text = vg_text("vg0", pv_list(1), {"a": (True, [linear(0, 1, 0, 3), linear(1, 2, 0, 4)])})
    volumes, _ = volumes_of(disk_with(text))
    assert volumes["vg0/a"].offset == 2 * MIB + 3 * EXTENT


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.sampled_from([8, 16, 128]), st.integers(1, 4), st.integers(0, 2**32))
def test_stripes_fall_as_the_kernel_lays_them(columns, chunk_sectors, rows, seed):
    """Chunk n of a striped segment is chunk n // columns of column n % columns: Linux drivers/md/dm-stripe.c."""
    numbers = random.Random(seed)
    starts = [numbers.randrange(PV_EXTENTS - rows - 2) for _ in range(columns)]
    stripes = ", ".join(f'"pv{pv}", {start}' for pv, start in enumerate(starts))
    striped = {"start_extent": 0, "extent_count": rows * columns, "type": '"striped"', "stripes": f"[{stripes}]"}
    striped |= {"stripe_count": columns} | ({"stripe_size": chunk_sectors} if columns > 1 else {})
    tail = linear(rows * columns, 1, 0, PV_EXTENTS - 1)
    disk = disk_with(vg_text("vg0", pv_list(3), {"st": (True, [striped, tail])}), pvs=3)
    chunk = chunk_sectors * 512
    content = bytearray()
    for n in range(rows * columns * EXTENT // chunk):
        pv = n % columns
        start = 2 * MIB + pv * PV_SIZE + starts[pv] * EXTENT + n // columns * chunk
        content += disk[start : start + chunk]
    content += extent_at(disk, 0, PV_EXTENTS - 1)
    volumes, errors = volumes_of(disk)
    source = volumes["vg0/st"].source
    assert errors == []
    assert source.read(0, source.size) == content
    for _ in range(20):
        offset, size = numbers.randrange(len(content)), numbers.randrange(200_000)
        assert source.read(offset, size) == content[offset : offset + size]
        assert disk[source.locate(offset)] == content[offset]


def test_the_text_that_wraps_around_its_ring():
    text = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 1)])})
    size = 16384
    volumes, errors = volumes_of(disk_with(text, text_at=size - 512, mda_size=size))
    assert errors == []
    assert list(volumes) == ["vg0/root"]


def segment(count, kind, **more):
    return {"start_extent": 0, "extent_count": count, "type": f'"{kind}"', **more}


def test_kinds_that_are_not_read_are_rows_and_gaps():
    merging = segment(2, "snapshot", origin='"root"', merging_store='"snap"')
    text = vg_text(
        "vg0",
        pv_list(1),
        {
            "root": (True, [linear(0, 2, 0, 0)]),
            "snap": (False, [linear(0, 1, 0, 2)]),
            "snapshot0": (True, [merging]),
            "thin1": (True, [segment(9, "thin", thin_pool='"gone"', device_id=1)]),
            "r": (True, [segment(2, "raid5", raids='["r_rmeta_0", "r_rimage_0"]')]),
            "v": (True, [segment(2, "vdo")]),
        },
    )
    volumes, errors = volumes_of(disk_with(text))
    kinds = {"vg0/r": "raid5", "vg0/root": "linear", "vg0/snap": "snapshot", "vg0/thin1": "thin", "vg0/v": "vdo"}
    assert {name: volume.type for name, volume in volumes.items()} == kinds
    assert volumes["vg0/thin1"].length == 9 * EXTENT
    assert [error.split(":")[0] for error in errors] == ["vg0/r", "vg0/snap", "vg0/thin1", "vg0/v"]
    assert "the type raid5 " in volumes["vg0/r"].error
    assert "merged" in volumes["vg0/snap"].error
    assert "gone is not described" in volumes["vg0/thin1"].error
    assert volumes["vg0/thin1"].source.size == 0


def test_raid0_falls_as_stripes_do():
    legs = {f"r_rimage_{n}": (False, [linear(0, 2, 0, 2 * n)]) for n in range(2)}
    whole = segment(4, "raid0", stripe_count=2, stripe_size=128, raid0_lvs='["r_rimage_0", "r_rimage_1"]')
    disk = disk_with(vg_text("vg0", pv_list(1), {"r": (True, [whole]), **legs}))
    volumes, errors = volumes_of(disk)
    assert errors == []
    assert list(volumes) == ["vg0/r"]
    first, second = (bytes(disk[2 * MIB + n * 2 * EXTENT :][: 2 * EXTENT]) for n in range(2))
    chunks = range(0, 2 * EXTENT, 64 << 10)
    expected = b"".join(leg[at : at + (64 << 10)] for at in chunks for leg in (first, second))
    assert volumes["vg0/r"].source.read(0, 4 * EXTENT) == expected


def test_a_snapshot_is_its_origin_but_for_the_chunks_that_were_copied():
    snapshot = segment(4, "snapshot", origin='"root"', cow_store='"snap"', chunk_size=8)
    lvs = {"root": (True, [linear(0, 4, 0, 0)]), "snap": (False, [linear(0, 2, 0, 8)]), "snapshot0": (True, [snapshot])}
    disk = disk_with(vg_text("vg0", pv_list(1), lvs))
    store = 2 * MIB + 8 * EXTENT
    put(disk, store, struct.pack("<4I", 0x70416E53, 1, 1, 8).ljust(4096, b"\0"))
    put(disk, store + 4096, struct.pack("<6Q", 3, 2, 17, 5, 0, 0).ljust(4096, b"\0"))
    volumes, errors = volumes_of(disk)
    assert errors == []
    root, snap = (volumes[f"vg0/{name}"].source for name in ("root", "snap"))
    expected = bytearray(root.read(0, root.size))
    for old, new in ((3, 2), (17, 5)):
        expected[old * 4096 : old * 4096 + 4096] = disk[store + new * 4096 : store + new * 4096 + 4096]
    assert snap.read(0, snap.size) == expected
    assert snap.locate(3 * 4096 + 5) == store + 2 * 4096 + 5
    assert snap.locate(4096) == root.locate(4096)
    put(disk, store + 4, bytes(4))
    assert "no room" in volumes_of(disk)[1][0]


def raid_meta(position, events, failed=0, recovery=(1 << 64) - 1):
    return struct.pack("<4I4Q", 0x64526D44, 0, 2, position, events, failed, recovery, 0).ljust(4096, b"\0")


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (raid_meta(0, 7), raid_meta(1, 7), 0),
        (raid_meta(0, 5), raid_meta(1, 7, failed=1), 1),
        (raid_meta(0, 7), raid_meta(1, 7, recovery=4096), 0),
        (raid_meta(0, 7, recovery=0), raid_meta(1, 7), 1),
        (bytes(4096), bytes(4096), 0),
    ],
    ids=["both", "first fell out", "second is being rebuilt", "first is being rebuilt", "no superblocks"],
)
def test_a_mirror_is_read_from_a_leg_that_is_whole(first, second, wanted):
    raids = '["r_rmeta_0", "r_rimage_0", "r_rmeta_1", "r_rimage_1"]'
    lvs = {
        "r": (True, [segment(2, "raid1", device_count=2, raids=raids)]),
        "r_rmeta_0": (False, [linear(0, 1, 0, 0)]),
        "r_rimage_0": (False, [linear(0, 2, 0, 1)]),
        "r_rmeta_1": (False, [linear(0, 1, 1, 0)]),
        "r_rimage_1": (False, [linear(0, 2, 1, 1)]),
    }
    disk = disk_with(vg_text("vg0", pv_list(2), lvs), pvs=2)
    put(disk, 2 * MIB, first)
    put(disk, 2 * MIB + PV_SIZE, second)
    volumes, errors = volumes_of(disk)
    assert errors == []
    assert volumes["vg0/r"].source.read(0, 2 * EXTENT) == extent_at(disk, wanted, 1) + extent_at(disk, wanted, 2)


THIN = """<superblock uuid="" time="2" transaction="3" flags="0" version="2" data_block_size="128" nr_data_blocks="30">
  <device dev_id="1" mapped_blocks="5" transaction="0" creation_time="0" snap_time="2">
    <range_mapping origin_begin="0" data_begin="5" length="3" time="0"/>
    <single_mapping origin_block="4" data_block="2" time="1"/>
    <single_mapping origin_block="6" data_block="9" time="2"/>
  </device>
  <device dev_id="2" mapped_blocks="2" transaction="2" creation_time="2" snap_time="2">
    <range_mapping origin_begin="1" data_begin="6" length="2" time="0"/>
  </device>
</superblock>"""


@pytest.fixture
def thin_disk(tmp_path):
    """A pool of two thin volumes, its metadata written by thin_restore. The data stand from extent 20 on."""
    (tmp_path / "thin.xml").write_text(THIN)
    (tmp_path / "tmeta").write_bytes(bytes(16 * EXTENT))
    run("thin_restore", "-i", tmp_path / "thin.xml", "-o", tmp_path / "tmeta")
    pool = segment(16, "thin-pool", metadata='"tp_tmeta"', pool='"tp_tdata"', chunk_size=128)
    lvs = {
        "one": (True, [segment(8, "thin", thin_pool='"tp"', device_id=1)]),
        "two": (True, [segment(8, "thin", thin_pool='"tp"', device_id=2)]),
        "three": (True, [segment(8, "thin", thin_pool='"tp"', device_id=3)]),
        "tp": (True, [pool]),
        "tp_tmeta": (False, [linear(0, 16, 0, 0)]),
        "tp_tdata": (False, [linear(0, 20, 0, 20)]),
    }
    disk = disk_with(vg_text("vg0", pv_list(1), lvs))
    put(disk, 2 * MIB, (tmp_path / "tmeta").read_bytes())
    return disk


def test_thin_volumes_have_their_chunks_wherever_the_pool_put_them(thin_disk):
    volumes, errors = volumes_of(thin_disk)
    assert [error.split(":")[0] for error in errors] == ["vg0/three"]
    chunk = {number: extent_at(thin_disk, 0, 20 + number) for number in range(10)}
    nothing = bytes(EXTENT)
    one, two = (volumes[f"vg0/{name}"].source for name in ("one", "two"))
    wanted = [chunk[5], chunk[6], chunk[7], nothing, chunk[2], nothing, chunk[9], nothing]
    assert one.read(0, one.size) == b"".join(wanted)
    assert two.read(0, two.size) == b"".join([nothing, chunk[6], chunk[7], *[nothing] * 5])
    assert one.locate(4 * EXTENT + 3) == 2 * MIB + 22 * EXTENT + 3
    assert one.locate(3 * EXTENT) is None
    assert volumes["vg0/tp"].holds == "thin-pool"


def test_a_damaged_thin_pool_is_an_error(thin_disk):
    for place in (0, 40, 320, 330, *(7 * 4096 + at for at in (0, 8, 16, 40, 4000))):
        disk = bytearray(thin_disk)
        disk[2 * MIB + place] ^= 0x10
        volumes, errors = volumes_of(disk)
        assert "vg0/one" in [error.split(":")[0] for error in errors]
        assert volumes["vg0/one"].source.size == 0


def test_a_missing_physical_volume_costs_its_own_extents():
    text = vg_text("vg0", pv_list(2), {"root": (True, [linear(0, 2, 0, 5), linear(2, 2, 1, 0)])})
    disk = disk_with(text, pvs=2, missing=(1,))
    volumes, errors = volumes_of(disk)
    source = volumes["vg0/root"].source
    assert source.read(0, 2 * EXTENT) == extent_at(disk, 0, 5) + extent_at(disk, 0, 6)
    assert source.locate(2 * EXTENT) is None
    with pytest.raises(FormatError, match=f"vg0/root at byte {2 * EXTENT}: lies on a device that is not in this disk"):
        source.read(EXTENT, 2 * EXTENT)
    assert errors == [f"the physical volume {UUIDS[1]} of the volume group vg0, last seen as /dev/x, is not in this disk image"]


def test_segments_that_leave_holes_or_have_no_home():
    lost = linear(0, 1, 9, 0)
    for segments, says in (
        ([linear(1, 1, 0, 0)], "does not follow"),
        ([linear(0, 2, 0, 0), linear(1, 1, 0, 0)], "does not follow"),
        ([lost], "no physical volume of its group"),
        ([], "no segments"),
        ([linear(0, 1 << 60, 0, 0)], "is said to have"),
    ):
        volumes, errors = volumes_of(disk_with(vg_text("vg0", pv_list(1), {"root": (True, segments)})))
        assert says in volumes["vg0/root"].error
        assert len(errors) == 1


def test_an_older_text_serves_where_the_one_in_force_is_damaged():
    old = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 0)])}, seqno=4)
    older = vg_text("vg0", pv_list(1), {"gone": (True, [linear(0, 2, 0, 0)])}, seqno=3)
    new = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 3, 0, 0)])}, seqno=5)
    disk = disk_with(new, text_at=16384)
    mda = MIB + 4096
    put(disk, mda + 512, older)
    put(disk, mda + 8192, old)
    assert volumes_of(disk)[0]["vg0/root"].length == 3 * EXTENT
    disk[mda + 16384 + 100] ^= 1
    disk[mda + 16384 + 3] ^= 0xFF  # nor may it be found by its looks
    volumes, errors = volumes_of(disk)
    assert volumes["vg0/root"].length == 2 * EXTENT
    assert errors == ["data at byte 16384: the LVM2 metadata text's checksum is wrong; an older text, number 4, is used"]


def test_labels_and_headers_that_are_damaged():
    text = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 0)])})
    for place, says in (
        (512 + 40, "label's checksum is wrong"),
        (4096 + 30, "metadata area's checksum is wrong; an older text, number 1"),
    ):
        disk = disk_with(text)
        disk[MIB + place] ^= 0x10
        volumes, errors = volumes_of(disk)
        assert len(errors) == 1
        assert says in errors[0]
        assert len(volumes) == (place > 4096)


def test_one_physical_volume_twice_in_a_disk():
    text = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 0)])})
    disk = disk_with(text, pvs=2)
    put_pv(disk, MIB + PV_SIZE, PV_SIZE, UUIDS[0], text)
    volumes, errors = volumes_of(disk)
    assert list(volumes) == ["vg0/root"]
    assert errors == [f"its id {UUIDS[0]} is that of partition 1 too; that one is used"]


class FailingRing(Disk):
    """A disk image whose first metadata area has a bad sector in the text."""

    def read(self, offset, size):
        bad = MIB + 4096 + 512
        if offset < bad + 512 and offset + size > bad:
            raise EvidenceError(f"disk.img: cannot be read at byte {bad}")
        return super().read(offset, size)


def test_a_bad_sector_in_the_metadata():
    old = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 0)])}, seqno=4)
    new = vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 3, 0, 0)])}, seqno=5)
    disk = disk_with(new)
    put(disk, MIB + 4096 + 8192, old)
    volumes, gaps = find_volumes(FailingRing("disk.img", bytes(disk)))
    assert [volume.length for volume in volumes if volume.scheme == "lvm"] == [2 * EXTENT]
    assert any("cannot be read at byte" in gap.error for gap in gaps)
    assert any("an older text, number 4, is used" in gap.error for gap in gaps)


def test_physical_volumes_whose_group_is_elsewhere():
    disk = disk_with(b"", pvs=2)  # the first was never in a group, the second leaves its text to others
    volumes, gaps = find_volumes(Disk("disk.img", bytes(disk)))
    assert len(volumes) == 2
    assert [(gap.partition, gap.error) for gap in gaps] == [(2, "the metadata of its volume group is not in this disk image")]


def test_a_physical_volume_on_the_whole_disk():
    disk = disk_with(vg_text("vg0", pv_list(1), {"root": (True, [linear(0, 2, 0, 0)])}))[MIB:]
    volumes, errors = volumes_of(disk)
    assert errors == []
    assert (volumes["vg0/root"].number, volumes["vg0/root"].offset) == (2, MIB)


# -- any damage -----------------------------------------------------------------------------------------------------------------

WHOLE = disk_with(vg_text("vg0", pv_list(2), {"root": (True, [linear(0, 2, 0, 0), linear(2, 1, 1, 3)])}), pvs=2)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from([512, 4096, 4608]), st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=6),
    st.sampled_from([None, "label", "header", "text"]),
)
def test_any_damage_to_the_metadata_is_survived(changes, checksum):
    """With `checksum`, that structure's checksum is right nevertheless, as a hostile one's would be."""
    disk = bytearray(WHOLE)
    for part, offset, value in changes:
        disk[MIB + part + offset] = value
    label, header = slice(MIB + 512, MIB + 1024), slice(MIB + 4096, MIB + 4608)
    if checksum == "label":
        put(disk, MIB + 512 + 16, lvm2.calc_crc(bytes(disk[label][20:])).to_bytes(4, "little"))
    if checksum == "text":
        size = int.from_bytes(disk[MIB + 4096 + 48 : MIB + 4096 + 56], "little")
        text = bytes(disk[MIB + 4608 : MIB + 4608 + min(size, MIB)])
        put(disk, MIB + 4096 + 56, lvm2.calc_crc(text).to_bytes(4, "little"))
    if checksum in ("header", "text"):
        put(disk, MIB + 4096, lvm2.calc_crc(bytes(disk[header][4:])).to_bytes(4, "little"))
    for volume in volumes_of(disk)[0].values():
        try:
            volume.source.read(0, 4096)
            volume.source.read(volume.source.size - 10, 100)
        except CtrForensicsError:
            continue
