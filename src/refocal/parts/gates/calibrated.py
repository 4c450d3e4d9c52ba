"""Grade by a calibration to this microscope and this specimen.

First come the questions of `sharpness` (large enough, numbers, content, clipped). Then, from six features of the tile:
keep if the upper bound of its blur is small, retake if it is softer than anything calibrated or the lower bound of its
quality after restoring is too low, else restore. Each bound holds for 90 % of new tiles.
"""

import math
from pathlib import Path

from refocal.core.errors import UnsupportedError
from refocal.core.values import Frames, Grade
from refocal.imaging.blur_scale import direction
from refocal.imaging.focus_features import features
from refocal.imaging.screening import Measured, Screen
from refocal.models.calibration import Bounded, Calibration, Thresholds, read

__all__ = ["Calibrated"]

_TOLERANCE = 0.02


class Calibrated:
    """Decide from a calibration whether a tile is kept, restored or imaged again.

    `sigma_px` is the blur beyond that of the known-good tiles, `expected` the quality after restoring, dB. Tiles that
    are unlike the calibrated ones are graded all the same, and the reason says so.

    Parameters
    ----------
    path
        A file that `refocal calibrate` wrote.
    keep_px, least_db
        Used instead of the calibration's own thresholds.

    Raises
    ------
    UsageError
        If the file is no calibration, of another version, or damaged.
    BadOptionError
        If a threshold contradicts the calibration.
    """

    def __init__(self, path: str, keep_px: float | None = None, least_db: float | None = None) -> None:
        self._calibration = read(Path(path))
        self.sha256 = self._calibration.sha256
        given = {k: float(v) for k, v in (("keep_px", keep_px), ("least_db", least_db)) if v is not None}
        self._thresholds = self._calibration.thresholds.model_copy(update=given)
        if not 0 <= self._thresholds.keep_px < self._thresholds.softest_px:
            raise ValueError(
                f"keep_px must lie between 0 and the calibrated {self._thresholds.softest_px:g} px, got {keep_px}"
            )
        self._screen = Screen(saturated=self._thresholds.saturated)

    @property
    def calibration(self) -> Calibration:
        """What was read."""
        return self._calibration

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade the target frame; blur in pixels beyond the good tiles', noise in counts.

        Raises
        ------
        UnsupportedError
            If the frames have another pixel size than the calibration.
        """
        self.same_pixel(frames.pixel_nm)
        seen = self._screen(frames.image)
        if isinstance(seen, Grade):
            return seen
        return self._judge(seen, frames)

    def _judge(self, seen: Measured, frames: Frames) -> Grade:
        known, limits = self._calibration, self._thresholds
        contrast = frames.contrast
        raw = features(seen, contrast)
        terms = known.range.terms(raw)
        blurred, quality, relative = known.blur(terms), known.quality(terms), known.relative(terms)
        noise = math.exp(known.noise(terms).mean) * (contrast.high - contrast.low)
        softer = known.range.softer(raw)
        verdict = limits.verdict(blurred, relative, softer=softer)
        reason = _reason(verdict, blurred, relative, limits, softer=softer)
        if known.range.distance(raw) > known.range.farthest:
            reason += "; outside the calibrated range: recalibrate"
        reason += seen.faults
        along = direction(seen.found, seen.floor)
        return Grade(verdict, reason, blurred.mean, noise, *along, quality.mean, structure=seen.found)

    def same_pixel(self, pixel_nm: float | None) -> None:
        """Check that a pixel size is that of the calibration; an unknown one passes.

        Raises
        ------
        UnsupportedError
            If it is another one; says both.
        """
        known = self._calibration.pixel_nm
        if known is None or pixel_nm is None or abs(pixel_nm - known) <= _TOLERANCE * known:
            return
        raise UnsupportedError(
            f"the calibration is for {known:g} nm pixels and the tile has {pixel_nm:g} nm: "
            "calibrate with tiles of this pixel size"
        )


def _reason(verdict: str, blur: Bounded, relative: Bounded, limits: Thresholds, *, softer: bool) -> str:
    found = f"blur {blur.mean:.2f} px ({blur.low:.2f} to {blur.high:.2f}) beyond that of good tiles"
    if verdict == "keep":
        return f"{found}: surely below {limits.keep_px:.2f} px"
    if limits.too_soft(blur, softer=softer):
        return f"{found}: beyond the {limits.softest_px:g} px that were calibrated"
    sign = "over" if verdict == "retake" else "within"
    lost, most = (max(0.0, -loss) for loss in (relative.low, limits.least_db))
    return f"{found}; restoring loses up to {lost:.1f} dB against good tiles, {sign} {most:.1f} dB"
