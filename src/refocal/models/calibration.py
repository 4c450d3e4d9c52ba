"""The document `calibration.json`: what `refocal calibrate` learned of one microscope and one specimen.

Blur is counted from the known-good tiles on: they have none. Noise is in contrast units, quality in dB of peak
signal-to-noise ratio against the denoised good tile. A regressor predicts the mean and, from residuals of tiles that it
was not fitted to, bounds that hold for 90 % of new tiles each.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from refocal.core.documents import read_json
from refocal.core.errors import UsageError
from refocal.imaging.focus_features import NAMES, TERMS, Vector, powers

VERSION = 1
LEVEL = 0.9
"""Each bound holds for this share of new tiles."""
_COARSE = NAMES.index("exponent 4")
_KIND = "refocal calibration"
_AGAIN = "run `refocal calibrate` again"
_GIVE = "give a file that `refocal calibrate` wrote"
_MOST_BYTES = 4 << 20

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Six = Annotated[list[float], Field(min_length=len(NAMES), max_length=len(NAMES))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Bounded(_Part):
    """A prediction with its bounds; each of the two holds for 90 % of new tiles."""

    low: float
    mean: float
    high: float


class Regressor(_Part):
    """A cubic polynomial of the six standardised features, and what it got wrong on tiles it had not seen."""

    coefficients: list[float] = Field(min_length=len(TERMS), max_length=len(TERMS))
    spread: tuple[float, float, float]
    """Scale of the error: the larger of the first, and the second plus the third times the prediction."""
    low: float
    """Lower bound: mean + low x scale."""
    high: float
    errors: list[float] = Field(min_length=2, max_length=1001)
    """Evenly spaced quantiles of (true - predicted) / scale, from the smallest to the largest."""
    limits: tuple[float, float]
    """Smallest and largest value it was fitted to; predictions stay within."""

    def scale(self, mean: float) -> float:
        """Return the scale of the error of a prediction."""
        least, constant, slope = self.spread
        return max(least, constant + slope * mean)

    def __call__(self, terms: Vector) -> Bounded:
        """Predict from the 84 terms."""
        return self.around(float(np.clip(terms @ np.array(self.coefficients), *self.limits)))

    def around(self, mean: float) -> Bounded:
        """Return a prediction with its bounds."""
        scale = self.scale(mean)
        return Bounded(low=mean + self.low * scale, mean=mean, high=mean + self.high * scale)

    def below(self, mean: float, value: float) -> float:
        """Return the probability that the true value is below `value` where `mean` is predicted."""
        at = np.linspace(0, 1, len(self.errors))
        return float(np.interp((value - mean) / self.scale(mean), self.errors, at, left=0.0, right=1.0))


class Range(_Part):
    """Which features the calibration has seen."""

    mean: Six
    sd: Six
    lowest: Six
    """Smallest and largest standardised features; beyond them the cubic would run away, so they are held there."""
    highest: Six
    inverse_covariance: Annotated[list[Six], Field(min_length=len(NAMES), max_length=len(NAMES))]
    """Of the standardised features."""
    farthest: float = Field(gt=0)
    """Largest Mahalanobis distance that counts as inside."""

    def terms(self, raw: Vector) -> Vector:
        """Return the 84 terms of six features."""
        held: Vector = np.clip(self._standard(raw), np.array(self.lowest), np.array(self.highest))
        return powers(held)

    def distance(self, raw: Vector) -> float:
        """Return the Mahalanobis distance of six features from the calibrated ones."""
        z = self._standard(raw)
        return math.sqrt(max(0.0, float(z @ np.array(self.inverse_covariance) @ z)))

    def softer(self, raw: Vector) -> bool:
        """Say whether six features are smoother at 4 px than anything calibrated."""
        return bool(self._standard(raw)[_COARSE] > self.highest[_COARSE])

    def _standard(self, raw: Vector) -> Vector:
        standard: Vector = (raw - np.array(self.mean)) / np.array(self.sd)
        return standard


class Thresholds(_Part):
    """What the gate decides by."""

    keep_px: float = Field(ge=0)
    """Keep where the upper bound of the blur is below."""
    least_db: float
    """Take again where the lower bound of the relative quality is below; negative."""
    softest_px: float = Field(gt=0)
    """Largest blur that was calibrated; take again above."""
    saturated: float = Field(default=0.5, ge=0, le=1)

    def verdict(
        self, blur: Bounded, relative: Bounded, *, softer: bool = False
    ) -> Literal["keep", "restore", "retake"]:
        """Decide; `softer` says that the tile is smoother than anything calibrated."""
        if blur.high < self.keep_px:
            return "keep"
        if self.too_soft(blur, softer=softer) or relative.low < self.least_db:
            return "retake"
        return "restore"

    def too_soft(self, blur: Bounded, *, softer: bool = False) -> bool:
        """Say whether a blur is beyond what was calibrated, where predictions are held back."""
        return blur.mean > self.softest_px or (softer and blur.mean > 0.75 * self.softest_px)


class Costs(_Part):
    """Why the thresholds are where they are."""

    retake: float = Field(gt=0)
    bad: float = Field(gt=0)
    budget: float = Field(gt=0, le=1)
    """Largest share of a section to be taken again."""
    bad_db: float = Field(gt=0)
    """Restored tiles are bad where they lose more against restored good ones."""
    rates: dict[str, float]
    """Expected share of each verdict."""
    bad_share: float
    """Expected share of tiles that are restored and bad."""
    mix: str
    """The blurs for which shares are expected."""
    limited: bool
    """Whether the budget, not the costs, chose the threshold."""
    overrides: int = Field(default=0, ge=0)
    """Verdicts of persons that moved the thresholds."""


class GoodTile(_Part):
    """A tile the calibration was made from."""

    name: str
    sha256: Sha256
    sigma_px: float | None = None
    """Its own blur as the gate `sharpness` measures it."""


class Calibration(_Part):
    """The whole document."""

    kind: Literal["refocal calibration"] = "refocal calibration"
    version: Literal[1] = 1
    refocal: str
    date: str
    seed: int
    restorer: str
    model_sha256: Sha256 | None = None
    pixel_nm: float | None = Field(default=None, gt=0)
    crop_px: int = Field(ge=1)
    samples: int = Field(ge=1)
    native_px: float = Field(ge=0)
    """Median blur of the good tiles as the gate `sharpness` measures it, everything included."""
    native_noise: float = Field(ge=0)
    """Median noise of the good tiles, contrast units."""
    range: Range
    blur: Regressor
    noise: Regressor
    """Of the natural logarithm of the noise in contrast units."""
    quality: Regressor
    ssim: Regressor
    relative: Regressor
    """Quality above (below: negative) that of the same tissue in focus at native noise, restored, dB."""
    thresholds: Thresholds
    costs: Costs
    tiles: list[GoodTile] = Field(min_length=1)
    sha256: Sha256 | None = None
    """Of all the rest, as `sealed` writes it."""


def digest(found: Calibration) -> str:
    """Return the SHA-256 of a calibration's canonical JSON without its own `sha256`."""
    plain = found.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()


def sealed(found: Calibration) -> Calibration:
    """Return the calibration with its SHA-256 in it."""
    return found.model_copy(update={"sha256": digest(found)})


def read(path: Path) -> Calibration:
    """Read a calibration.

    Raises
    ------
    UsageError
        If there is no such file, or it is no calibration, of another version, or damaged.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is too large for a calibration: {_GIVE}")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the calibration {path}: {error.strerror or error}; {_AGAIN}") from error
    try:
        plain = read_json(content, most_bytes=_MOST_BYTES)
        kind, version = plain["kind"], plain["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no calibration, or is damaged: {_GIVE}") from error
    if kind != _KIND:
        raise UsageError(f"{path} is no calibration but {str(kind)[:40]!r}: {_GIVE}")
    if version != VERSION:
        raise UsageError(
            f"{path} is a calibration of version {str(version)[:20]}, this refocal reads version {VERSION}: {_AGAIN}"
        )
    try:
        found = Calibration.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is a damaged calibration ({where}: {first['msg']}): {_AGAIN}") from error
    if found.sha256 != digest(found):
        raise UsageError(f"{path} was damaged or changed by hand (its SHA-256 does not match): {_AGAIN}")
    return found
