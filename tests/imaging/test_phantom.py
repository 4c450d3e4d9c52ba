"""The drawn section: seeded, plausible, sharp, and spoilt as it says."""

import numpy as np
import pytest

from refocal.imaging.phantom import demo_tiles, draw_section


@pytest.fixture(scope="module")
def tiles():
    return demo_tiles(3, edge=192, overlap=32, pixel_nm=12.0)


def test_the_same_seed_draws_the_same_section():
    first, again, other = (draw_section((160, 224), seed, 12.0) for seed in (5, 5, 6))
    assert first.shape == (160, 224)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.02


def test_the_global_generator_is_left_alone():
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    draw_section((96, 96), 0, 12.0)
    assert np.random.random() == expected


@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (33, 400)])
def test_any_shape(shape):
    image = draw_section(shape, 2)
    assert image.shape == shape
    assert 0 <= image.min() <= image.max() <= 1


def test_membranes_are_dark_on_bright():
    image = draw_section((512, 512), 4, 6.0)
    assert 0.45 < np.median(image) < 0.8
    assert np.percentile(image, 2) < 0.4
    assert image.std() > 0.06


def test_blank_rows_and_columns_hold_resin_only():
    image = draw_section((256, 256), 7, 8.0, (slice(128, 256), slice(128, 256)))
    assert image[136:, 136:].std() < 0.02
    assert image[136:, 136:].mean() > image[:100, :100].mean()


def test_nine_tiles_overlap_in_truth(tiles):
    assert [tile.name for tile in tiles][:4] == [
        "section_0001/tile_r0_c0.tif",
        "section_0001/tile_r0_c1.tif",
        "section_0001/tile_r0_c2.tif",
        "section_0001/tile_r1_c0.tif",
    ]
    assert len(tiles) == 9
    np.testing.assert_array_equal(tiles[0].truth[:, -32:], tiles[1].truth[:, :32])
    np.testing.assert_array_equal(tiles[0].truth[-32:], tiles[3].truth[:32])
    assert tiles[1].stage_x_nm - tiles[0].stage_x_nm == 160 * 12.0
    assert tiles[3].stage_y_nm - tiles[0].stage_y_nm == 160 * 12.0


def test_tiles_are_spoilt_as_they_say(tiles):
    error = {tile.degradation: np.std(tile.counts / 255 - tile.truth) for tile in tiles}
    words = {word.split()[0].rstrip(",:"): value for word, value in error.items()}
    assert words["hopeless"] > words["defocus"] > words["sharp"]
    assert words["noisy"] > words["sharp"]
    assert words["sharp"] == pytest.approx(3 / 255, rel=0.1)
    assert tiles[8].degradation == "blank resin"
    assert tiles[8].truth.std() < 0.02
    assert all(tile.counts.dtype == np.uint8 for tile in tiles)
