"""What every image format promises: exact round trips, boxes, untouched sources, and writing whole or not at all."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UnreadableError, UsageError, WriteError
from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats import create_image, is_image_name, open_image
from refocal.testing._part import PartContract

DTYPES = ("uint8", "int8", "uint16", "int16", "float16", "float32")


class FormatContract(PartContract):
    """A format holds at least one page of uint8 with a pixel size; what else it cannot hold, it refuses to write."""

    family: ClassVar[str] = "formats"

    def test_names_with_its_extensions_are_names_of_images(self, kind: str) -> None:
        for extension in registry.load(self.family, kind).extensions:
            assert extension == extension.lower()
            assert extension.startswith(".")
            for name in (f"a{extension}", f"A{extension.upper()}", f"s.ome{extension}"):
                assert is_image_name(Path("folder") / name)
            for name in (f"a{extension}.part", f".a{extension}", f"~a{extension}", f"a{extension}~", extension[1:]):
                assert not is_image_name(Path(name))

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(1, 45, 67), (1, 1, 1), (1, 50, 3), (1, 3, 301), (3, 20, 31)])
    def test_round_trip_is_exact(self, kind: str, dtype: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
        counts = image(dtype, shape)
        try:
            path = write(name_of(kind, tmp_path), counts, nm=30.32)
        except WriteError as error:
            if dtype == "uint8" and shape[0] == 1:
                raise
            pytest.skip(str(error))
        with open_image(path) as back:
            assert back.info.shape == shape
            assert back.info.dtype == np.dtype(dtype)
            assert back.info.pixel_nm == pytest.approx(30.32, rel=1e-6)
            assert back.info.warnings == ()
            for page in range(shape[0]):
                got = back.read(page)
                assert got.dtype == np.dtype(dtype)
                assert got.dtype.isnative
                np.testing.assert_array_equal(got, counts[page])
                got[:] = 0  # the caller's own
                np.testing.assert_array_equal(back.read(page), counts[page])

    @pytest.mark.parametrize("nm", [0.5, 4.0, 1.201, 50.0, 316.0, None])
    def test_pixel_size_survives(self, kind: str, nm: float | None, tmp_path: Path) -> None:
        path = write(name_of(kind, tmp_path), image(), nm=nm)
        with open_image(path) as back:
            assert back.info.pixel_nm == (None if nm is None else pytest.approx(nm, rel=1e-6))

    def test_a_box_equals_the_slice_of_the_whole(self, kind: str, tmp_path: Path) -> None:
        counts, rng = image("uint8", (1, 40, 333)), np.random.default_rng(7)
        path = write(name_of(kind, tmp_path), counts)
        with open_image(path) as back:
            for _ in range(20):
                (y0, y1), (x0, x1) = (sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in counts.shape[1:])
                box = Box((y0, x0), (y1, x1))
                np.testing.assert_array_equal(back.read(0, box), counts[0][box.slices])

    def test_pages_and_boxes_outside_are_refused(self, kind: str, tmp_path: Path) -> None:
        path = write(name_of(kind, tmp_path), image())
        with open_image(path) as back:
            for page, box in ((1, None), (-1, None), (0, Box((0, 0), (46, 10))), (0, Box((5, 5), (5, 9)))):
                with pytest.raises(UsageError):
                    back.read(page, box)

    def test_the_source_is_untouched_and_never_overwritten(self, kind: str, tmp_path: Path) -> None:
        source = write(name_of(kind, tmp_path, "raw"), image(), nm=4.0)
        before, stat = source.read_bytes(), source.stat()
        source.chmod(0o444)
        with open_image(source) as raw:
            counts = raw.read()[None]
            copy = write(name_of(kind, tmp_path), counts, nm=raw.info.pixel_nm, source=source)
            with pytest.raises(WriteError, match="source"):
                write(source, counts, source=source)
        assert source.read_bytes() == before
        assert source.stat().st_mtime_ns == stat.st_mtime_ns
        with open_image(copy) as back:
            assert back.info.pixel_nm == 4.0

    def test_a_copy_of_unchanged_pixels_is_a_copy_of_the_information(self, kind: str, tmp_path: Path) -> None:
        """Copying the copy changes not one byte more: everything kept the first time is kept again."""
        first = write(name_of(kind, tmp_path, "a"), image(), nm=4.0, metadata={"stage_x_nm": 1.5})
        with open_image(first) as one:
            second = tmp_path / ("b" + first.suffix)
            create_image(second, [one.read()], one.info, first)
            with open_image(second) as two:
                assert two.info == one.info
                third = tmp_path / ("c" + first.suffix)
                create_image(third, [two.read()], two.info, second)
        assert third.read_bytes() == second.read_bytes()

    @pytest.mark.parametrize("reason", ["folder", "pages", "shape", "dtype", "source of pages"])
    def test_failed_writing_leaves_nothing(self, kind: str, reason: str, tmp_path: Path) -> None:
        counts = image()
        path = name_of(kind, tmp_path / "missing" if reason == "folder" else tmp_path)
        like = ImageInfo(_three(counts.shape), counts.dtype)

        def pages() -> Iterator[Counts]:
            yield {"shape": counts[0, :-1], "dtype": counts[0].astype(np.uint16)}.get(reason, counts[0])
            if reason == "pages":
                yield counts[0]
            if reason == "source of pages":
                raise UnreadableError("raw.tif: damaged")

        with pytest.raises(UnreadableError if reason == "source of pages" else WriteError):
            create_image(path, pages(), like)
        assert list(tmp_path.iterdir()) == []

    def test_failed_writing_keeps_the_older_file(self, kind: str, tmp_path: Path) -> None:
        path = write(name_of(kind, tmp_path), image())
        before = path.read_bytes()
        with pytest.raises(WriteError):
            create_image(path, [], ImageInfo((1, 45, 67), np.dtype("uint8")))
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_is_a_write_error(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Disks may tell so only when a file is flushed, which must come before it gets its name."""

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(WriteError, match="No space left"):
            write(name_of(kind, tmp_path), image())
        assert list(tmp_path.iterdir()) == []

    def test_content_decides_not_the_name(self, kind: str, tmp_path: Path) -> None:
        counts = image()
        other = "tiff" if kind == "png" else "png"
        path = write(name_of(kind, tmp_path), counts).rename(name_of(other, tmp_path))
        with open_image(path) as back:
            np.testing.assert_array_equal(back.read(), counts[0])
            assert "content" in back.info.warnings[0]
            again = write(tmp_path / f"again{path.suffix}", counts, source=path)
        assert again.read_bytes()[:4] == path.read_bytes()[:4]

    def test_a_truncated_file_is_one_line(self, kind: str, tmp_path: Path) -> None:
        path = write(name_of(kind, tmp_path), image("uint8", (1, 200, 200)))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RefocalError) as error, open_image(path) as back:
            back.read()
        assert "\n" not in str(error.value)


def image(dtype: str = "uint8", shape: tuple[int, int, int] = (1, 45, 67)) -> Counts:
    """Return noise over the whole range of a dtype."""
    rng = np.random.default_rng(20260101)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def write(
    path: Path,
    counts: Counts,
    nm: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    source: Path | None = None,
) -> Path:
    """Write (page, y, x) counts and return the path."""
    create_image(path, iter(counts), ImageInfo(_three(counts.shape), counts.dtype, nm, metadata or {}), source)
    return path


def name_of(kind: str, folder: Path, stem: str = "tile") -> Path:
    """Return a file name with the first extension of a format."""
    return folder / f"{stem}{registry.load('formats', kind).extensions[0]}"


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    pages, y, x = shape
    return pages, y, x
