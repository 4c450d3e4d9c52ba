"""HDF5 files of other programs: attributes, links, filters, what is not stored, and damage; h5py is the judge."""

import json

import numpy as np
import pytest

from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UnreadableError, UnsupportedError
from refocal.core.storage import store
from refocal.parts.volume_formats import format_of, is_volume, open_volume

h5py = pytest.importorskip("h5py")
SHAPE = (4, 20, 30)
ALL = Box((0, 0, 0), SHAPE)


@pytest.fixture
def counts():
    return np.random.default_rng(1).integers(1, 255, SHAPE, np.uint8)


def written(path, counts, attributes=(), **how):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("volumes/raw", data=counts, **how)
        for name, value in dict(attributes).items():
            dataset.attrs[name] = value
    return path


@pytest.mark.parametrize(
    ("attributes", "voxel"),
    [
        ({"resolution": [40.0, 4.0, 5.0]}, (40.0, 4.0, 5.0)),
        ({"element_size_um": [0.04, 0.004, 0.005]}, (40.0, 4.0, 5.0)),
        ({"voxel_size": [40, 4, 5], "units": ["nm", "nm", "nm"]}, (40.0, 4.0, 5.0)),
        ({"spacing": [0.04, 0.004, 0.005], "unit": "um"}, (40.0, 4.0, 5.0)),
        ({"resolution": [400.0, 40.0, 50.0], "units": "angstrom"}, (40.0, 4.0, 5.0)),
        ({"pixel_size": [40, 4, 5]}, None),
        ({"resolution": [40.0, 4.0, 5.0], "unit": "furlong"}, None),
        ({"resolution": [0.0, 0.0, 0.0]}, None),
        ({"resolution": [np.nan, 4.0, 4.0]}, None),
        ({"resolution": [np.inf, 4.0, 4.0]}, None),
        ({"resolution": [-40.0, 4.0, 4.0]}, None),
        ({"resolution": 4.0}, None),
        ({"resolution": 4}, None),
        ({"resolution": "4nm"}, None),
        ({"resolution": ["a", "b", "c"]}, None),
        ({"resolution": h5py.Empty("f")}, None),
        ({"resolution": np.array([(1, 2)], [("a", "i4"), ("b", "i4")])}, None),
    ],
)
def test_the_voxel_size_is_taken_where_its_unit_is_known(attributes, voxel, counts, tmp_path):
    volume = open_volume(store(written(tmp_path / "v.h5", counts, attributes)))
    assert volume.info.voxel_nm == voxel
    assert (voxel is None) == any("voxel size is not known" in line for line in volume.info.warnings)
    np.testing.assert_array_equal(volume.read(ALL), counts)
    volume.close()


@pytest.mark.parametrize("offset", [0, "x", [1, 2], [np.nan, 0.0, 0.0], h5py.Empty("f")])
def test_an_offset_that_is_no_triple_is_not_known(offset, counts, tmp_path):
    info = open_volume(store(written(tmp_path / "v.h5", counts, {"offset": offset}))).info
    assert info.offset_nm == (0.0, 0.0, 0.0)
    assert any("offset" in line for line in info.warnings)


def test_attributes_are_carried_over(counts, tmp_path):
    given = {
        "element_size_um": [0.04, 0.004, 0.005], "comment": "Probe 7, µ", "number": 7, "none": h5py.Empty("f4"),
        "words": ["a", "b"], "matrix": np.eye(3), "offset": [40.0, 0.0, 8.0],
        "pair": np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]),
    }  # fmt: skip
    source = open_volume(store(written(tmp_path / "v.h5", counts, given)))
    format_of("hdf5").create(store(tmp_path / "out.h5"), [source.info], {})
    source.close()
    with h5py.File(tmp_path / "v.h5") as a, h5py.File(tmp_path / "out.h5") as b:
        was, now = a["volumes/raw"].attrs, b["volumes/raw"].attrs
        assert set(now) == {*was, "refocal"}
        for name in set(was) - {"none"}:
            np.testing.assert_array_equal(now[name], was[name])
            assert np.asarray(now[name]).dtype == np.asarray(was[name]).dtype
        assert isinstance(now["none"], h5py.Empty)


def test_an_attribute_that_points_into_the_file_is_named(counts, tmp_path):
    path = written(tmp_path / "v.h5", counts)
    with h5py.File(path, "r+") as file:
        file["volumes/raw"].attrs["where"] = file["volumes"].ref
    assert any("where" in line for line in open_volume(store(path)).info.warnings)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_into_another_file_is_refused(there, soft, counts, tmp_path):
    if there:
        written(tmp_path / "other.h5", counts)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["a/far"] = h5py.ExternalLink("other.h5", "volumes/raw")
        file["near"] = h5py.SoftLink("a/far")
    with pytest.raises(UnsupportedError, match="link into the file"):
        open_volume(store(f"{tmp_path / 'v.h5'}::{'near' if soft else 'a/far'}"))


@pytest.mark.parametrize("target", ["gone", "/near", "near"])
def test_a_soft_link_to_nothing_is_one_line(target, counts, tmp_path):
    path = written(tmp_path / "v.h5", counts)
    with h5py.File(path, "r+") as file:
        file["near"] = h5py.SoftLink(target)
    with pytest.raises(UnreadableError, match="no 3-D dataset"):
        open_volume(store(f"{path}::near"))


@pytest.mark.parametrize("case", ["there", "gone", "partly", "outside"])
def test_virtual_datasets_need_all_their_sources_beside_them(case, counts, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    layout = h5py.VirtualLayout(SHAPE, "u1")
    for z in range(4):
        name = f"../{z}.h5" if case == "outside" else f"{z}.h5"
        with h5py.File(folder / name, "w") as file:
            file["d"] = counts[z]
        layout[z] = h5py.VirtualSource(name, "d", SHAPE[1:])
        if case == "gone" or (case == "partly" and z == 2):
            (folder / name).unlink()
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_virtual_dataset("volumes/raw", layout)
    if case == "there":
        volume = open_volume(store(folder / "v.h5"))
        np.testing.assert_array_equal(volume.read(ALL), counts)
        assert any("4 other datasets" in line for line in volume.info.warnings)
    else:
        told = {"gone": "4 are not there", "partly": "1 are not there", "outside": "outside of its folder"}[case]
        with pytest.raises(RefocalError, match=told):
            open_volume(store(folder / "v.h5"))


def test_values_in_raw_files_elsewhere_are_refused(counts, tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("volumes/raw", SHAPE, "u1", external=[(str(tmp_path / "x.raw"), 0, counts.nbytes)])
    with pytest.raises(UnsupportedError, match="in other files"):
        open_volume(store(tmp_path / "v.h5"))


def test_a_filter_that_is_not_hdf5_s_own_is_named(counts, tmp_path):
    path = written(tmp_path / "v.h5", counts, chunks=(1, 20, 30), compression="gzip")
    path.write_bytes(
        path.read_bytes().replace(
            b"\x01\x00\x08\x00\x01\x00\x01\x00deflate", b"\x01\x7d\x08\x00\x01\x00\x01\x00deflate"
        )
    )
    with pytest.raises(UnsupportedError, match="filter 32001"):
        open_volume(store(path))


@pytest.mark.parametrize(("compression", "shuffle"), [("gzip", True), ("lzf", False), (None, False)])
def test_own_filters_are_read(compression, shuffle, counts, tmp_path):
    path = written(tmp_path / "v.h5", counts, chunks=(2, 8, 8), compression=compression, shuffle=shuffle)
    np.testing.assert_array_equal(open_volume(store(path)).read(ALL), counts)


def test_chunks_that_are_not_stored_are_counted(counts, tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", SHAPE, "u1", chunks=(1, 20, 30), fillvalue=9)
        dataset[:3] = counts[:3]
    volume = open_volume(store(tmp_path / "v.h5"))
    assert "1 of 4 chunks are not stored; they are read as 9" in volume.info.warnings
    assert volume.missing(ALL) == 1
    assert volume.missing(Box((0, 0, 0), (3, 20, 30))) == 0
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_dataset("volumes/raw", SHAPE, "u1", chunks=(1, 20, 30))
    with pytest.raises(UnreadableError, match="not one chunk"):
        open_volume(store(tmp_path / "none.h5"))


@pytest.mark.parametrize(
    ("shape", "chunks"), [((10**6, 10**6, 10**6), (1, 64, 64)), ((10**6, 10**6, 10**6), (4, 20000, 20000))]
)
def test_claims_beyond_what_is_stored_are_refused(shape, chunks, tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", shape, "u1", chunks=chunks)
        if chunks[1] == 64:
            dataset[0, 0, 0] = 1
    with pytest.raises(RefocalError, match=r"claims|chunks of"):
        open_volume(store(tmp_path / "v.h5"))


def test_a_chunk_that_unpacks_to_more_is_refused(tmp_path):
    import zlib

    bomb = zlib.compress(bytes(1 << 29), 9)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", (4, 512, 512), "u1", chunks=(4, 512, 512), compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0), bomb)
    volume = open_volume(store(tmp_path / "v.h5"))
    with pytest.raises(UnreadableError, match="unpacks to more"):
        volume.read(Box((0, 0, 0), (4, 512, 512)))


@pytest.mark.parametrize("kind", ["group", "class"])
def test_labels_are_no_image(kind, counts, tmp_path):
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        name = "volumes/labels/ids" if kind == "group" else "d"
        file[name] = counts.astype("u8")
        if kind == "class":
            file[name].attrs["class"] = "segmentation"
    with pytest.raises(UnsupportedError, match="labels"):
        open_volume(store(f"{path}::{name}"))


@pytest.mark.parametrize("block", [512, 1024, 4096])
def test_a_user_block_is_skipped(block, counts, tmp_path):
    with h5py.File(tmp_path / "v.h5", "w", userblock_size=block) as file:
        file["volumes/raw"] = counts
    np.testing.assert_array_equal(open_volume(store(tmp_path / "v.h5")).read(ALL), counts)


def test_other_axes_and_other_datasets_are_said(counts, tmp_path):
    tags = json.dumps({"axes": [{"key": key} for key in "xyz"]})
    path = written(tmp_path / "v.h5", counts, {"axistags": tags})
    with h5py.File(path, "r+") as file:
        file["volumes/membrane"] = counts
    told = " ".join(open_volume(store(path)).info.warnings)
    assert "axes are x, y, z" in told
    assert "volumes/membrane" in told


def test_a_file_with_colons_in_its_name_is_a_file(counts, tmp_path):
    (tmp_path / "k::l.tif").write_bytes(b"II*\0")
    assert not is_volume(tmp_path / "k::l.tif")
    path = written(tmp_path / "a::b.h5", counts)
    np.testing.assert_array_equal(open_volume(store(path)).read(ALL), counts)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_one_line(seed, counts, tmp_path):
    rng = np.random.default_rng(seed)
    attributes = {"resolution": [40.0, 4.0, 4.0], "offset": [0.0, 0.0, 0.0], "words": ["a", "b"]}
    whole = written(tmp_path / "v.h5", counts, attributes, chunks=(1, 20, 30), compression="gzip").read_bytes()
    said = []
    for _ in range(40):
        damaged = bytearray(whole)
        for at in rng.integers(0, 3000, 6):
            damaged[at] = rng.integers(0, 256)
        (tmp_path / "d.h5").write_bytes(damaged)
        try:
            volume = open_volume(store(tmp_path / "d.h5"))
            volume.read(Box((0, 0, 0), (1, 8, 8)))
            volume.close()
        except RefocalError as error:
            said.append(str(error))
    assert said
    assert not any("\n" in line for line in said)


def test_attributes_that_the_library_reads_for_ever_are_damage(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", data=np.ones((2, 8, 8), np.uint8))
        dataset.attrs["comment"] = "of any length"
    monkeypatch.setattr("refocal.parts.volume_formats._hdf5_attributes._READ", "import time; time.sleep(60)")
    monkeypatch.setattr("refocal.parts.volume_formats._hdf5_attributes._SECONDS", 0.2)
    with pytest.raises(UnreadableError, match="attributes of /volumes/raw"):
        open_volume(store(tmp_path / "v.h5"))
