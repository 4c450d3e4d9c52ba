"""Every volume format: exact round trips, boxes, units, what is missing, and what other programs make of it."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, UsageError
from refocal.core.storage import store
from refocal.core.volume import VolumeInfo
from refocal.parts.volume_formats import format_of, open_volume
from refocal.testing import VolumeFormatContract
from refocal.testing.volume_formats import ALL, SHAPE, made

pytest.importorskip("zarr")
pytest.importorskip("h5py")


class TestEveryVolumeFormat(VolumeFormatContract):
    kinds = registry.names("volume_formats")


def voxels(rng, dtype="uint8", shape=SHAPE):
    return rng.integers(1, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_what_is_a_volume_is_told_without_a_library_or_the_engine(tmp_path):
    (tmp_path / "v.zarr").mkdir()
    (tmp_path / "v.zarr" / ".zattrs").write_text("{}")
    (tmp_path / "v.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "tile.tif").write_bytes(b"II*\0")
    code = """
import sys
from refocal.parts.volume_formats import is_volume, names_volume
print([is_volume(path) for path in sys.argv[1:]], [names_volume(path) for path in sys.argv[1:]])
print([name for name in sys.modules if name in ("zarr", "h5py", "fsspec") or name.startswith("refocal.engine")])
"""
    given = [tmp_path / "v.zarr", tmp_path / "v.h5", tmp_path / "tile.tif", tmp_path, "s3://a/b", "x.h5::volumes/raw"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, given)], capture_output=True, text=True, check=True)
    told = [[True, True, False, False, True, True], [True, True, True, False, True, True]]
    assert done.stdout.splitlines() == [f"{told[0]} {told[1]}", "[]"]


def test_an_empty_axis_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=(0, 16, 16), chunks=(1, 16, 16), dtype="u1")
    axes = [{"name": n, "type": "space"} for n in "zyx"]
    steps = [{"type": "scale", "scale": [1, 1, 1]}]
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["multiscales"] = [image]
    with pytest.raises(UsageError, match="empty axis"):
        open_volume(store(tmp_path / "v.zarr"))


# OME-Zarr: yaozarrs is the independent judge.


@pytest.mark.parametrize(
    ("version", "unit", "axes"),
    [("0.4", (2, 16, 16), "zyx"), ("0.5", (2, 16, 16), "zyx"), ("", (4, 32, 32), "zyx"), ("0.4", (2, 16, 16), "tczyx")],
)
def test_ome_zarr_is_valid(version, unit, axes, tmp_path, rng):
    yaozarrs = pytest.importorskip("yaozarrs")
    place = store(tmp_path / "v.zarr")
    first = VolumeInfo(SHAPE, np.dtype("u1"), (2, 16, 16), unit, (30.0, 4.0, 4.0), axes=axes, version=version)
    half = VolumeInfo((5, 20, 35), first.dtype, (2, 16, 16), unit, (30.0, 8.0, 8.0), (0.0, 2.0, 2.0), axes=axes)
    format_of("ome_zarr").create(place, [first, half], {"model": "gran-em"})
    yaozarrs.validate_zarr_store(place.path)
    assert open_volume(place).info.version == (version or "0.5")
    assert open_volume(place).info.unit == unit
    assert open_volume(place, 1).info.voxel_nm == (30.0, 8.0, 8.0)
    stored = json.loads((place.path / ("zarr.json" if version != "0.4" else ".zattrs")).read_text())
    attributes = stored.get("attributes", stored)
    assert attributes["refocal"] == {"model": "gran-em"}
    assert "refocal" not in attributes.get("ome", {})


@pytest.mark.parametrize("axes", ["xyz", "yxz", "yzx", "cxyz", "zyxc", "yx"])
def test_axes_in_another_order(axes, tmp_path, rng):
    counts = voxels(rng)[: 1 if "z" not in axes else None]
    place = store(tmp_path / "v.zarr")
    made(place, "ome_zarr", counts, axes=axes, version="0.5")
    back = open_volume(place)
    assert back.info.axes == axes
    assert back.info.shape == counts.shape
    assert back.info.voxel_nm[1:] == (4.0, 4.5)
    np.testing.assert_array_equal(back.read(Box((0, 3, 5), (1, 20, 60))), counts[:1, 3:20, 5:60])
    import zarr

    stored = zarr.open_array(str(place.path), path="0", mode="r")
    order = [a for a in axes if a in "zyx"]
    assert [n for a, n in zip(axes, stored.shape, strict=True) if a in "zyx"] == [
        counts.shape["zyx".index(a)] for a in order
    ]


def test_units_other_than_nanometres_and_scales_of_the_whole_image(tmp_path, rng):
    place = store(tmp_path / "v.zarr")
    made(place, "ome_zarr", voxels(rng), version="0.4")
    path = place.path / ".zattrs"
    stored = json.loads(path.read_text())
    image = stored["multiscales"][0]
    for axis in image["axes"]:
        axis["unit"] = "micrometer"
    image["coordinateTransformations"] = [{"type": "scale", "scale": [0.001, 0.001, 0.001]}]
    path.write_text(json.dumps(stored))
    assert open_volume(place).info.voxel_nm == (30.0, 4.0, 4.5)
    del image["axes"][0]["unit"]
    path.write_text(json.dumps(stored))
    assert open_volume(place).info.voxel_nm is None


def test_channels_are_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    place = store(tmp_path / "v.zarr")
    format_of("ome_zarr").create(place, [VolumeInfo(SHAPE, np.dtype("u1"), SHAPE, SHAPE, axes="czyx")], {})
    group = zarr.open_group(str(place.path), mode="r+")
    group.create_array("0", shape=(3, *SHAPE), chunks=(1, *SHAPE), dtype="u1", overwrite=True)
    with pytest.raises(UnsupportedError, match="3 entries along 'c'"):
        open_volume(place)


# Precomputed: TensorStore is the independent reader and writer.


def theirs(path, **more):
    ts = pytest.importorskip("tensorstore")
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": str(path)}}
    return ts.open({**spec, **more}).result()


def test_precomputed_agrees_with_tensorstore(tmp_path, rng):
    counts = voxels(rng, "uint16")
    place = store(tmp_path / "v.precomputed")
    made(place, "precomputed", counts)
    found = theirs(place.path)
    np.testing.assert_array_equal(found[...].read().result()[..., 0].T, counts)
    assert tuple(found.domain.origin[:3]) == (2, 2, 2)
    metadata = {
        "multiscale_metadata": {"data_type": "uint16", "num_channels": 1, "type": "image"},
        "scale_metadata": {
            "size": SHAPE[::-1], "resolution": [4, 4, 30], "encoding": "raw", "chunk_size": [16, 16, 2], "key": "a",
            "voxel_offset": [5, 6, 7],
        },
    }  # fmt: skip
    other = theirs(tmp_path / "t.precomputed", create=True, **metadata)
    other[...] = counts.T[..., None]
    back = open_volume(store(tmp_path / "t.precomputed"))
    np.testing.assert_array_equal(back.read(ALL), counts)
    assert back.info.offset_nm == (210.0, 24.0, 20.0)


def test_precomputed_gzip_and_truncated_chunks(tmp_path, rng):
    counts = voxels(rng)
    place = store(tmp_path / "v.precomputed")
    made(place, "precomputed", counts)
    first, second, *_ = sorted(p for p in place.path.rglob("*") if p.is_file() and p.name != "info")
    first.with_name(first.name + ".gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    np.testing.assert_array_equal(open_volume(place).read(ALL), counts)
    assert open_volume(place).missing(ALL) == 0
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(UnreadableError, match="truncated"):
        open_volume(place).read(ALL)


@pytest.mark.parametrize("change", [{"encoding": "jpeg"}, {"sharding": {"@type": "neuroglancer_uint64_sharded_v1"}}])
def test_precomputed_encodings_that_are_not_read_are_named(change, tmp_path, rng):
    place = store(tmp_path / "v.precomputed")
    made(place, "precomputed", voxels(rng))
    about = json.loads(place.read("info"))
    about["scales"][0] |= change
    place.write("info", json.dumps(about).encode())
    with pytest.raises(UnsupportedError, match="raw"):
        open_volume(place)


def test_precomputed_that_does_not_say_how_it_is_stored_is_damaged(tmp_path, rng):
    place = store(tmp_path / "v.precomputed")
    made(place, "precomputed", voxels(rng))
    about = json.loads(place.read("info"))
    for name in ("encoding", "key"):
        less = {**about, "scales": [{n: v for n, v in about["scales"][0].items() if n != name}]}
        place.write("info", json.dumps(less).encode())
        with pytest.raises(UnreadableError, match="info is damaged"):
            open_volume(place)


@pytest.mark.parametrize("edge", [4.6, 0.1, 7.7, 1 / 3])
def test_precomputed_keeps_its_offset_when_it_is_copied(edge, tmp_path):
    start = (3, 7, 1001)
    info = VolumeInfo(SHAPE, np.dtype("u1"), (2, 16, 16), (2, 16, 16), (edge,) * 3, tuple(n * edge for n in start))
    for name in "abc":
        place = store(tmp_path / name)
        format_of("precomputed").create(place, [info], {})
        assert json.loads(place.read("info"))["scales"][0]["voxel_offset"] == [1001, 7, 3]
        info = open_volume(place).info


def test_older_versions_of_ome_zarr_are_read_and_written_as_0_4(tmp_path, rng):
    counts, place = voxels(rng), store(tmp_path / "v.zarr")
    made(place, "ome_zarr", counts)
    about = json.loads(place.read(".zattrs"))
    about["multiscales"][0] |= {"version": "0.3", "axes": list("zyx")}
    place.write(".zattrs", json.dumps(about).encode())
    old = open_volume(place)
    np.testing.assert_array_equal(old.read(ALL), counts)
    format_of("ome_zarr").create(store(tmp_path / "w.zarr"), [old.info], {})
    assert open_volume(store(tmp_path / "w.zarr")).info.version == "0.4"


# HDF5: h5py itself, laid out as CREMI does.


def test_hdf5_as_cremi_lays_it_out(tmp_path, rng):
    import h5py

    counts = voxels(rng)
    with h5py.File(tmp_path / "c.hdf", "w") as file:
        raw = file.create_dataset("volumes/raw", data=counts)
        raw.attrs["resolution"] = (40.0, 4.0, 4.0)
        file.create_dataset("volumes/labels/neuron_ids", data=counts.astype("u8"))
        file.create_dataset("other/em", data=counts[:2])
    back = open_volume(store(tmp_path / "c.hdf"))
    assert back.info.voxel_nm == (40.0, 4.0, 4.0)
    np.testing.assert_array_equal(back.read(ALL), counts)
    assert open_volume(store(f"{tmp_path}/c.hdf::other/em")).info.shape == (2, 40, 70)
    with pytest.raises(UnreadableError, match="volumes/raw"):
        open_volume(store(f"{tmp_path}/c.hdf::volumes/nothing"))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = counts, counts
    with pytest.raises(UnsupportedError, match="DATASET"):
        open_volume(store(tmp_path / "two.h5"))


def test_hdf5_provenance(tmp_path, rng):
    import h5py

    made(store(tmp_path / "v.h5"), "hdf5", voxels(rng))
    with h5py.File(tmp_path / "v.h5") as file:
        assert json.loads(file["volumes/raw"].attrs["refocal"]) == {"model": "gran-em"}
