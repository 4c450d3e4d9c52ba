"""The parts of a calibration against what they must be: noise, conformal quantiles, costs, overrides, documents."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from drawn import cells
from refocal.core import registry
from refocal.core.errors import UnsupportedError, UsageError
from refocal.core.values import UNIT, Frames, Grade, ImageInfo, Restored
from refocal.engine.check import check
from refocal.imaging.noise import denoised, memory_of, noise_of
from refocal.microscope.calibrate import calibrate
from refocal.microscope.calibrate.blur_series import BlurSeries
from refocal.microscope.calibrate.costs import (
    BlurDistribution,
    HeldOutSamples,
    OperatorVerdict,
    Prices,
    expected,
    operator_verdicts,
    paper_mix,
    shift,
    thresholds,
)
from refocal.microscope.calibrate.fit import quantile
from refocal.microscope.calibrate.reference_tiles import good_tiles
from refocal.models.calibration import Bounded, Regressor, Thresholds, read
from refocal.parts.formats import create_image


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for seed in range(6):
        image = cells(seed)
        create_image(tmp_path / f"{seed}.tif", [image], ImageInfo((1, *image.shape), image.dtype, 4.0))
    return tmp_path


@pytest.mark.parametrize("noise", [4.0, 8.0, 15.0])
def test_noise_of_sharp_tissue(noise: float) -> None:
    assert noise_of(cells(0, noise=noise) / np.float32(255)) * 255 == pytest.approx(noise, rel=0.2)


def test_correlated_noise_is_recognised() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal((512, 512))
    along = np.array(white)
    for x in range(1, 512):
        along[:, x] = 0.5 * along[:, x - 1] + np.sqrt(0.75) * white[:, x]
    assert memory_of((0.5 + 0.03 * white).astype(np.float32)) < 0.05
    assert memory_of((0.5 + 0.03 * along).astype(np.float32)) == pytest.approx(0.5, abs=0.15)
    assert noise_of((0.5 + 0.03 * along).astype(np.float32), 0.5) == pytest.approx(0.03, rel=0.05)


def test_denoising_comes_closer_to_the_truth() -> None:
    truth = cells(1, noise=0).astype(np.float32) / 255
    noisy = truth + np.float32(0.04) * np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32)
    assert np.mean((denoised(noisy, 0.04) - truth) ** 2) < 0.4 * 0.04**2


def test_quantile_gives_each_tile_the_same_weight() -> None:
    values, tiles = np.array([1.0] * 90 + [2.0, 3.0]), np.array([0] * 90 + [1, 2])
    assert quantile(values, tiles, 0.5) == 2.0
    assert quantile(values, tiles, 0.9, unseen_tile=True) == 3.0


def test_conformal_quantile_covers_a_tile_to_come() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        offsets = rng.standard_normal(21)
        values = offsets[:20].repeat(10) + 0.3 * rng.standard_normal(200)
        bound = quantile(values, np.arange(20).repeat(10), 0.9, unseen_tile=True)
        covered.append(np.mean(offsets[20] + 0.3 * rng.standard_normal(50) <= bound))
    assert np.mean(covered) > 0.87


def test_same_seed_same_document(good: Path) -> None:
    goods = good_tiles([good])
    restorer = registry.make("restorers", "wiener")
    series = BlurSeries(crop_px=128, each=16)
    one, two = (calibrate(goods, restorer, name="w", date="d", series=series).calibration for _ in range(2))
    assert one == two
    assert one.sha256 != calibrate(goods, restorer, name="w", date="e", series=series).calibration.sha256
    assert one.pixel_nm == 4.0
    assert len(one.tiles) == 6


def test_calibrated_grades_follow_blur_and_tell_their_range(good: Path, tmp_path: Path) -> None:
    from refocal.microscope.calibrate import write

    made = calibrate(good_tiles([good]), registry.make("restorers", "wiener"), name="w", date="",
                     series=BlurSeries(crop_px=192, each=40)).calibration  # fmt: skip
    write(made, tmp_path / "c.json")
    gate = registry.make("gates", "calibrated", path=str(tmp_path / "c.json"))
    grades = [gate(Frames(cells(20, sigma_px=s)[None])) for s in (0, 1.5, 2.5, 8)]
    assert [g.sigma_px for g in grades] == sorted(g.sigma_px for g in grades)
    assert grades[0].verdict == "keep"
    assert grades[3].verdict == "retake"
    assert all(g.expected is not None for g in grades)
    assert grades[1].expected > grades[3].expected  # a fixed filter spoils what is sharp
    assert grades[0].noise == pytest.approx(4, rel=0.3)
    assert "outside" not in grades[0].reason
    strange = np.random.default_rng(0).integers(0, 2, (256, 256)).astype(np.uint8) * 200
    assert "outside the calibrated range: recalibrate" in gate(Frames(gaussian_filter(strange, 1)[None])).reason
    strict = registry.make("gates", "calibrated", path=str(tmp_path / "c.json"), keep_px=0.0)
    assert strict(Frames(cells(20)[None])).verdict == "restore"


def test_another_pixel_size_is_refused_with_both(calibration: Path) -> None:
    gate = registry.make("gates", "calibrated", path=str(calibration))
    gate(Frames(cells(0)[None], pixel_nm=8.1))
    gate(Frames(cells(0)[None]))
    with pytest.raises(UnsupportedError, match=r"8 nm pixels and the tile has 4 nm"):
        gate(Frames(cells(0)[None], pixel_nm=4.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {}, "no calibration"),
        (lambda d: [1], "no calibration"),
        (lambda d: {**d, "kind": "recipe"}, "'recipe'"),
        (lambda d: {**d, "version": 7}, "version 7"),
        (lambda d: {**d, "extra": 1}, "extra"),
        (lambda d: {**d, "seed": "0"}, "seed"),
        (lambda d: {**d, "native_px": d["native_px"] + 0.1}, "changed by hand"),
        (lambda d: {**d, "blur": {**d["blur"], "coefficients": [0.0]}}, "blur.coefficients"),
    ],
)
def test_foreign_and_damaged_documents_are_refused_in_one_line(calibration, tmp_path, change, words) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(change(json.loads(calibration.read_text()))))
    with pytest.raises(UsageError, match=words) as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b'{"kind": NaN}', b"[" * 100_000])
def test_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(UsageError):
        read(tmp_path / "c.json")
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "absent.json")


def test_good_tiles_are_checked(good: Path) -> None:
    with pytest.raises(UsageError, match="only 3 of 3 tiles"):
        good_tiles([good / f"{i}.tif" for i in range(3)])
    image = cells(9)
    create_image(good / "other.tif", [image], ImageInfo((1, *image.shape), image.dtype, 8.0))
    with pytest.raises(UsageError, match="4 and of 8 nm"):
        good_tiles([good])


def test_sharpest_are_taken_of_each_section(tmp_path: Path) -> None:
    for section in ("a", "b"):
        (tmp_path / section).mkdir()
        for i in range(12):
            image = cells(i, sigma_px=0.0 if i < 4 else 2.0)
            create_image(tmp_path / section / f"{i}.tif", [image], ImageInfo((1, *image.shape), image.dtype))
    chosen = good_tiles([tmp_path], sharpest=0.25)
    assert {(g.section, int(Path(g.name).stem) < 4) for g in chosen} == {("a", True), ("b", True)}
    assert len(chosen) >= 5


LOSS = Regressor(
    coefficients=[0.0] * 84, spread=(1.0, 1.0, 0.0), low=-1.3, high=1.3,
    errors=np.linspace(-2, 2, 41).tolist(), limits=(-12.0, 0.5),
)  # fmt: skip
START = Thresholds(keep_px=0.8, least_db=-3.0, softest_px=4.0)


def judged() -> HeldOutSamples:
    sigma = np.linspace(0, 4.4, 45)
    return HeldOutSamples(
        sigma,
        [Bounded(low=s - 0.3, mean=s, high=s + 0.3) for s in sigma],
        [Bounded(low=-s - 1.3, mean=-s, high=-s + 1.3) for s in sigma],
        -sigma,
    )


def test_costs_move_the_threshold_the_right_way() -> None:
    levels = [thresholds(judged(), LOSS, paper_mix(), Prices(bad=bad), START)[0].least_db for bad in (2, 10, 100)]
    assert levels == sorted(levels)
    cheap, _ = thresholds(judged(), LOSS, paper_mix(), Prices(retake=5, bad=1), START)
    assert cheap.least_db < -100


def test_budget_is_kept() -> None:
    free, limited = thresholds(judged(), LOSS, paper_mix(), Prices(bad=100), START)
    rate = expected(judged(), paper_mix(), free, Prices())[0]["retake"]
    assert not limited
    assert rate > 0.01
    tight, limited = thresholds(judged(), LOSS, paper_mix(), Prices(bad=100, budget=0.005), START)
    assert limited
    assert expected(judged(), paper_mix(), tight, Prices())[0]["retake"] <= 0.005


def test_expected_rates_add_up() -> None:
    rates, bad = expected(judged(), BlurDistribution(np.array([0.0, 0.0, 1.5, 9.0]), ""), START, Prices())
    assert sum(rates.values()) == pytest.approx(1)
    assert rates == pytest.approx({"keep": 0.5, "restore": 0.25, "retake": 0.25}, abs=0.06)
    assert 0 <= bad <= 0.25


def test_overrides_move_thresholds_to_what_persons_said() -> None:
    blur = LOSS.model_copy(update={"low": -0.3, "high": 0.3})
    assert shift(START, [], blur, judged()) == START
    said = [OperatorVerdict("keep", s) for s in (0.6, 0.8, 0.9)] + [OperatorVerdict("restore", s) for s in (1.2, 1.5)]
    moved = shift(START, said, blur, judged())
    assert 1.2 < moved.keep_px < 1.5
    strict = [OperatorVerdict("retake", s) for s in (1.0, 1.4, 1.8)] + [OperatorVerdict("restore", 0.5)]
    assert shift(START, strict, blur, judged()).least_db > START.least_db


def test_overrides_are_read_from_a_log() -> None:
    jobs = [{"event": "job", "job_sha256": "1", "job": {"gate": {"kind": "sharpness"}}},
            {"event": "job", "job_sha256": "2", "job": {"gate": {"kind": "calibrated"}}}]  # fmt: skip
    tiles = [{"event": "tile", "key": k, "job_sha256": j, "sigma_px": s} for k, j, s in
             (("a", "1", 1.0), ("b", "2", 1.0), ("c", "1", None), ("d", "1", 0.5))]  # fmt: skip
    words = [
        {"event": "override", "key": k, "verdict": v}
        for k, v in (("a", "retake"), ("a", "keep"), ("b", "restore"), ("c", "keep"), ("d", "keep"), ("gone", "keep"))
    ]
    assert operator_verdicts([*jobs, *tiles, *words], native_px=0.8) == [
        OperatorVerdict("keep", pytest.approx(0.6)), OperatorVerdict("restore", 1.0), OperatorVerdict("keep", 0.0)
    ]  # fmt: skip


def test_a_word_about_an_image_that_was_taken_anew_is_left_out() -> None:
    first = {"event": "tile", "key": "a", "sigma_px": 1.0, "size": 9, "mtime_ns": 1}
    said = {"event": "override", "key": "a", "verdict": "keep"}
    assert len(operator_verdicts([first, said, {**first, "sigma_px": 1.1}], native_px=0.8)) == 1
    assert not operator_verdicts([first, said, {**first, "mtime_ns": 2}], native_px=0.8)
    assert not operator_verdicts([first, said, {**first, "size": 8}], native_px=0.8)


def test_check_passes_the_truth_and_refuses_inventions() -> None:
    truth, other = cells(3, noise=0), cells(4, noise=0)
    rng = np.random.default_rng(0)
    soft = gaussian_filter(truth.astype(float), 1.8) + 4 * rng.standard_normal(truth.shape)
    frames = Frames(np.clip(np.rint(soft), 0, 255).astype(np.uint8)[None])
    grade = registry.make("gates", "sharpness")(frames)
    honest = gaussian_filter(truth.astype(float), 0.8).round().astype(np.uint8)
    sharpened = np.clip(4.0 * honest - 3 * gaussian_filter(honest.astype(float), 1.5), 0, 255).round().astype(np.uint8)
    patched = honest.copy()
    patched[128:224, 128:224] = other[128:224, 128:224]
    assert check(frames, Restored(honest), grade).ok, check(frames, Restored(honest), grade).reason
    for wrong in (other, 255 - honest, np.roll(honest, 3, 1), sharpened, patched, frames.image // 2 + 60):
        found = check(frames, Restored(wrong), grade)
        assert not found.ok
        assert found.reason
        assert "\n" not in found.reason
    json.dumps(dict(check(frames, Restored(honest), grade).measured), allow_nan=False)


def test_check_never_raises() -> None:
    for shape in ((1, 1), (3, 40), (64, 64)):
        flat = Frames(np.zeros((1, *shape), np.uint8))
        found = check(flat, Restored(flat.image), Grade("restore", ""))
        assert isinstance(found.ok, bool)
    nan = np.full((64, 64), np.nan, np.float32)
    assert not check(Frames(np.zeros((1, 64, 64), np.float32), contrast=UNIT), Restored(nan), Grade("restore", "")).ok
