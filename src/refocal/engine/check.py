"""The check after restoring: the result must be sharper, no noisier, and explain what the microscope saw.

Two witnesses. The grader that asked for restoring looks at the result: blur must have fallen, noise must not have
grown. And the result is blurred again, by the Gaussian that fits best, and compared with the input. What is left over
must be noise: averaged over 4 x 4 pixels noise nearly vanishes, so the variance that stays, as a share of the input's
own, is structure of the input that the result does not explain, or structure of the result that the input does not
have. It is taken for the whole tile and for its worst block, where a local invention would be.

Over-sharpening explains the input too well for that, because any boost can be blurred away. It shows as growth of
detail: the rise of the structure function from 2 to 4 pixels, free of noise, against that of the input.

The limits were set on real tissue of six specimens (`benchmarks/checking.py` prints the rates).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core import registry
from refocal.core.values import Counts, Frames, Gate, Grade, Restored
from refocal.imaging.binning import binned
from refocal.imaging.structure_function import Structure, X, Y, structure

_BIN = 4
_BLOCK = 32
"""Edge of a block of the local comparison, in binned pixels."""
_FIT_PX = 512
_SMALLEST_PX = 32
"""Below, nothing can be measured and the grader asks for no restoring."""
_WIDTHS_PX = np.geomspace(0.5, 6.0, 16)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a restoration may do."""

    unexplained: float = 0.02
    """Largest share of the input's coarse variance that the result does not explain."""
    unexplained_block: float = 0.1
    """The same in the worst block of 128 px that has content."""
    growth: float = 3.1
    """Largest growth of detail of 2 to 4 pixels."""
    noise: float = 1.3
    """Largest noise of the result, in units of that of the input."""
    residual: float = 1.3
    """Largest residual of the re-blurred result, in units of the input's noise."""
    softer_px: float = 0.1
    """The result may be this much, and a twentieth, softer than the input: the error of the measure."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found."""

    ok: bool
    reason: str
    """One line; empty where the check was passed."""
    measured: Mapping[str, float | None] = field(default_factory=dict)
    """Plain numbers for the log; None where not measurable."""


LIMITS = Limits()


def check(
    frames: Frames, restored: Restored, grade: Grade, *, gate: Gate | None = None, limits: Limits = LIMITS
) -> Checked:
    """Check a restored tile against its input.

    Parameters
    ----------
    frames
        What was restored; the target frame counts.
    restored
        The result, of the same shape and dtype.
    grade
        What `gate` said of the input.
    gate
        The grader that looks at the result; `sharpness` by default, which then also grades the input again.
    limits
        What may not be exceeded.
    """
    if gate is None:
        gate = registry.make("gates", "sharpness")
        grade = gate(frames)
    image, result = frames.image, restored.counts
    if result.shape != image.shape:
        return Checked(False, f"restored to {result.shape} from {image.shape}")
    if result.dtype.kind == "f" and not np.isfinite(result).all():
        return Checked(False, "restored to pixels that are NaN or infinite")
    if min(image.shape) < _SMALLEST_PX:
        return Checked(True, "", {})
    after = gate(Frames(result[None], contrast=frames.contrast, pixel_nm=frames.pixel_nm))
    # A tile without noise still has that of rounding.
    rounding = 1 / math.sqrt(12) if image.dtype.kind in "ui" else 1e-6 * (frames.contrast.high - frames.contrast.low)
    noise = max(grade.noise or 0.0, rounding)
    measured: dict[str, float | None] = {
        "blur_before_px": grade.sigma_px,
        "blur_after_px": after.sigma_px,
        "noise_before": grade.noise,
        "noise_after": after.noise,
        "growth": _growth(_structure(image, grade), _structure(result, after), noise, image.size),
        **_consistency(_float(image), _float(result), noise),
    }
    reason = _fault(measured, after, noise, limits)
    return Checked(not reason, reason, measured)


@dataclass(frozen=True, slots=True)
class Checker:
    """The check as `refocal.engine.loop.run` takes it: what was measured, or one line that says what is wrong."""

    gate: Gate
    """The gate of the run; where it measured nothing (`always`), `sharpness` stands in."""

    def __call__(self, frames: Frames, restored: Restored, grade: Grade, /) -> Mapping[str, float | None] | str:
        """Check one restored tile."""
        found = check(frames, restored, grade, gate=None if grade.noise is None else self.gate)
        return found.measured if found.ok else f"check after restoring: {found.reason}"


def _fault(measured: Mapping[str, float | None], after: Grade, noise: float, limits: Limits) -> str:
    """Return what is wrong with a result, worst first, or an empty string."""
    share, worst = measured["unexplained"] or 0.0, measured["unexplained_block"] or 0.0
    if share > limits.unexplained:
        return f"re-blurred, the result leaves {share:.1%} of the input unexplained, over {limits.unexplained:.0%}"
    if worst > limits.unexplained_block:
        return f"re-blurred, a part of the result leaves {worst:.0%} of the input unexplained"
    residual = measured["residual"] or 0.0
    if residual > limits.residual:
        return f"re-blurred, the result differs from the input by {residual:.2f} times its noise"
    growth = measured["growth"]
    if growth is not None and growth > limits.growth:
        return f"over-sharpened: fine detail grew {growth:.1f} times, over {limits.growth:g}"
    if after.verdict in ("no_content", "unreadable"):
        return f"the result has nothing to see: {after.reason}"
    if (after.noise or 0.0) > limits.noise * noise:
        return f"noise grew from {noise:.3g} to {after.noise:.3g} counts"
    before_px, after_px = measured["blur_before_px"], measured["blur_after_px"]
    if before_px is not None and after_px is not None and after_px > 1.05 * before_px + limits.softer_px:
        return f"blur grew from {before_px:.2f} to {after_px:.2f} px"
    return ""


def _structure(image: Counts, grade: Grade) -> Structure:
    """Return the structure function of an image, from its grade where the gate measured one."""
    return grade.structure if isinstance(grade.structure, Structure) else structure(image)


def _growth(before: Structure, after: Structure, noise: float, pixels: int) -> float | None:
    """Return by how much the rise of the structure function from 2 to 4 px grew; None where it drowns in noise."""
    rise, grown = (sum(s.rise(direction, 2, 4) for direction in (X, Y)) for s in (before, after))
    floor = 10 * noise**2 * math.sqrt(8 / pixels)
    return None if not rise > floor or not math.isfinite(grown) else float(grown / rise)


def _consistency(image: NDArray[np.float32], result: NDArray[np.float32], noise: float) -> dict[str, float | None]:
    """Return width and residual of the best re-blur, and the share of the input that it leaves unexplained."""
    width = _refit(image, result)
    rest = image - _blurred(result, width)
    rest -= rest.mean()
    white = noise**2 / _BIN**2
    coarse, left = binned(image, _BIN), binned(rest, _BIN)
    if not coarse.size:
        return {"reblur_px": width, "residual": float(rest.std()) / noise, "unexplained": None,
                "unexplained_block": None}  # fmt: skip
    signal = max(float(coarse.var()) - white, 0.1 * white)
    return {
        "reblur_px": width,
        "residual": float(rest.std()) / noise,
        "unexplained": max(0.0, float(left.var()) - white) / signal,
        "unexplained_block": _worst(coarse, left, white, signal),
    }


def _worst(coarse: NDArray[np.float32], left: NDArray[np.float32], white: float, signal: float) -> float | None:
    """Return the largest unexplained share of a block; blocks with little content count by that of the tile."""
    shares = []
    for top in range(0, coarse.shape[0] - _BLOCK + 1, _BLOCK):
        for column in range(0, coarse.shape[1] - _BLOCK + 1, _BLOCK):
            part = (slice(top, top + _BLOCK), slice(column, column + _BLOCK))
            own = max(float(coarse[part].var()) - white, signal / 2)
            shares.append(max(0.0, float((left[part] ** 2).mean()) - 1.5 * white) / own)
    return max(shares, default=None)


def _refit(image: NDArray[np.float32], result: NDArray[np.float32]) -> float:
    """Return the width, px, of the Gaussian that brings the result closest to the input, in the middle of the tile."""
    top, left = (max(0, (n - _FIT_PX) // 2) for n in image.shape)
    part = (slice(top, top + _FIT_PX), slice(left, left + _FIT_PX))
    seen, made = image[part], result[part]
    errors = [float((seen - _blurred(made, float(width))).var()) for width in _WIDTHS_PX]
    return float(_WIDTHS_PX[int(np.argmin(errors))])


def _blurred(image: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    soft: NDArray[np.float32] = cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REFLECT)
    return soft


def _float(image: Counts) -> NDArray[np.float32]:
    return np.ascontiguousarray(image, np.float32)
