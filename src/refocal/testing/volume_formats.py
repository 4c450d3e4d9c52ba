"""What every volume format promises: exact round trips, boxes, units, what is missing, and errors of one line."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError
from refocal.core.storage import Store, store
from refocal.core.values import Counts
from refocal.core.volume import VolumeInfo
from refocal.parts.volume_formats import format_of, is_volume, kind_of, kind_of_name, names_volume, open_volume
from refocal.testing._part import PartContract

SHAPE = (5, 40, 70)
ALL = Box((0, 0, 0), SHAPE)


class VolumeFormatContract(PartContract):
    """A volume format holds uint8 and, if it can, int16, uint16 and float32, with the size and place of its voxels."""

    family: ClassVar[str] = "volume_formats"
    dtypes: ClassVar[tuple[str, ...]] = ("uint8", "int16", "uint16", "float32")

    def test_it_is_not_taken_for_images(self, kind: str, tmp_path: Path) -> None:
        """By its name for outputs, and for inputs by what lies there."""
        place = next(places(kind, tmp_path))
        assert names_volume(place.url)
        assert not is_volume(place.url)
        made(place, kind, voxels())
        assert is_volume(place.url)
        moved = Path(place.url).rename(tmp_path / "of another name")
        assert is_volume(moved)
        assert not names_volume(moved)

    def test_round_trip_keeps_voxels_dtype_size_and_place(self, kind: str, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        for dtype in self.dtypes:
            counts = voxels(dtype)
            for place in places(kind, tmp_path / dtype):
                made(place, kind, counts)
                assert kind_of(place) == kind
                assert kind_of_name(place.url) == kind
                back = open_volume(place)
                assert back.info.shape == SHAPE
                assert back.info.dtype == np.dtype(dtype)
                assert back.info.voxel_nm == (30.0, 4.0, 4.5)
                assert back.info.offset_nm == (60.0, 8.0, 9.0)
                assert back.info.chunk == (2, 16, 16)
                np.testing.assert_array_equal(back.read(ALL), counts)
                for _ in range(5):
                    corners = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in SHAPE]
                    box = Box(tuple(a for a, _ in corners), tuple(b for _, b in corners))
                    np.testing.assert_array_equal(back.read(box), counts[box.slices])
                back.close()

    def test_units_are_written_one_by_one_and_missing_ones_are_counted_and_read_as_zero(
        self, kind: str, tmp_path: Path
    ) -> None:
        _skip_unless_blockwise(kind)
        counts = voxels()
        for place in places(kind, tmp_path):
            info = VolumeInfo(SHAPE, counts.dtype, (2, 16, 16), (2, 16, 16))
            format_of(kind).create(place, [info], {})
            volume = format_of(kind).open(place, write=True)
            assert volume.missing(ALL) == 3 * 3 * 5
            corner = Box((4, 32, 64), SHAPE)
            volume.write(corner, counts[corner.slices])
            assert volume.missing(ALL) == 3 * 3 * 5 - 1
            assert volume.missing(corner) == 0
            back = open_volume(place).read(ALL)
            np.testing.assert_array_equal(back[corner.slices], counts[corner.slices])
            assert np.count_nonzero(back) == counts[corner.slices].size

    def test_making_it_again_keeps_what_is_there(self, kind: str, tmp_path: Path) -> None:
        _skip_unless_blockwise(kind)
        place, counts = next(places(kind, tmp_path)), voxels()
        info = made(place, kind, counts)
        format_of(kind).create(place, [info], {"model": "gran-em"})
        np.testing.assert_array_equal(open_volume(place).read(ALL), counts)

    def test_damage_is_one_line(self, kind: str, tmp_path: Path) -> None:
        place = next(places(kind, tmp_path))
        with pytest.raises(UnreadableError, match="no volume"):
            open_volume(place)
        made(place, kind, voxels(shape=(2, 16, 16)))
        where = Path(place.url)
        candidates = [where, *(where / sign for sign in format_of(kind).signs)]
        path = max((path for path in candidates if path.is_file()), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[:-25])
        with pytest.raises(UnreadableError) as error:
            open_volume(place).read(Box((0, 0, 0), (2, 16, 16)))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300


def voxels(dtype: str = "uint8", shape: tuple[int, int, int] = SHAPE) -> Counts:
    """Return noise without zeros."""
    rng = np.random.default_rng(20260101)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(1, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def made(
    place: Store, kind: str, counts: Counts, *, unit: tuple[int, int, int] = (2, 16, 16), **more: Any
) -> VolumeInfo:
    """Make a volume of these counts, in chunks of (2, 16, 16)."""
    z, y, x = counts.shape
    info = VolumeInfo((z, y, x), counts.dtype, (2, 16, 16), unit, (30.0, 4.0, 4.5), (60.0, 8.0, 9.0), **more)
    format_of(kind).create(place, [info], {"model": "gran-em"})
    volume = format_of(kind).open(place, write=True)
    volume.write(Box((0, 0, 0), counts.shape), counts)
    volume.close()
    return info


def places(kind: str, folder: Path) -> Iterator[Store]:
    """Yield a path and, for formats of many files, a place in an object store."""
    name = "v" + registry.load("volume_formats", kind).extensions[0]
    folder.mkdir(exist_ok=True)
    yield store(folder / name)
    if format_of(kind).blockwise and find_spec("fsspec"):
        yield store(f"memory://{uuid4().hex}/{name}")


def _skip_unless_blockwise(kind: str) -> None:
    if not format_of(kind).blockwise:
        pytest.skip("written in one go")
