"""The steps around a network that a BioImage.IO description names, on (y, x) images; statistics are of the image."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal.core.errors import BadModelError, UnsupportedError, quoted
from refocal.core.values import Pixels

Undo = Callable[[Pixels], Pixels]
_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps in their order: name and settings of each."""

    named: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def applied(self, image: Pixels) -> tuple[Pixels, Undo]:
        """Return what the steps make of an image, and what undoes their scaling of it."""
        gain, offset = 1.0, 0.0  # of the answer: image = gain * answer + offset
        with np.errstate(all="ignore"):
            for name, settings in self.named:
                if name == "clip":
                    image = np.clip(image, settings.get("min"), settings.get("max")).astype(np.float32)
                elif name == "sigmoid":
                    image = (1 / (1 + np.exp(-image))).astype(np.float32)
                else:
                    a, b = _SCALINGS[name](image, settings)
                    image = image * np.float32(a) + np.float32(b)
                    gain, offset = gain / a, offset - gain * b / a
        if not math.isfinite(image.sum(dtype=np.float64)):
            raise UnsupportedError(f"the network's steps {quoted([n for n, _ in self.named])} make pixels of no number")
        return image, lambda answer: answer * np.float32(gain) + np.float32(offset)


def steps(said: Sequence[Mapping[str, Any]], name: str) -> Steps:
    """Read the steps of a description; those that only name a data type are passed over.

    Raises
    ------
    BadModelError
        If a step is not known here, or looks at another tensor.
    """
    found = []
    for step in said:
        kind = str(step.get("id") or step.get("name"))
        settings = dict(step.get("kwargs") or {})
        if kind == "ensure_dtype":
            continue
        if kind == "zero_mean_unit_variance" and settings.get("mode") == "fixed":
            kind = "fixed_zero_mean_unit_variance"
        if kind not in (*_SCALINGS, "clip", "sigmoid") or settings.get("reference_tensor"):
            raise BadModelError(
                f"{name} asks for the step {quoted(kind)} ({quoted(settings, 200)}), which is not known here"
            )
        found.append((kind, settings))
        _probe(kind, settings, name)
    return Steps(tuple(found))


def _probe(kind: str, settings: Mapping[str, Any], name: str) -> None:
    """Refuse settings that cannot be used before an image is touched."""
    try:
        Steps(((kind, settings),)).applied(np.array([[0, 1]], np.float32))
    except (TypeError, ValueError, KeyError, ArithmeticError, UnsupportedError) as error:
        given = quoted(dict(settings), 200)
        raise BadModelError(f"{name} asks for the step {kind!r} with settings that are no use: {given}") from error


def _linear(_: Pixels, settings: Mapping[str, Any]) -> tuple[float, float]:
    return _one(settings.get("gain", 1.0), "gain"), _one(settings.get("offset", 0.0))


def _fixed(_: Pixels, settings: Mapping[str, Any]) -> tuple[float, float]:
    mean, std = _one(settings["mean"]), _one(settings["std"], "std")
    return 1 / (std + _eps(settings)), -mean / (std + _eps(settings))


def _standard(image: Pixels, settings: Mapping[str, Any]) -> tuple[float, float]:
    mean, scale = float(image.mean(dtype=np.float64)), 1 / (float(image.std(dtype=np.float64)) + _eps(settings))
    return scale, -mean * scale


def _range(image: Pixels, settings: Mapping[str, Any]) -> tuple[float, float]:
    shares = (float(settings.get("min_percentile", 0.0)), float(settings.get("max_percentile", 100.0)))
    low, high = (float(n) for n in np.percentile(image, shares))
    scale = 1 / (high - low + _eps(settings))
    return scale, -low * scale


_SCALINGS: Mapping[str, Callable[[Pixels, Mapping[str, Any]], tuple[float, float]]] = {
    "scale_linear": _linear,
    "fixed_zero_mean_unit_variance": _fixed,
    "zero_mean_unit_variance": _standard,
    "scale_range": _range,
}


def _eps(settings: Mapping[str, Any]) -> float:
    return float(settings.get("eps", _EPS))


def _one(value: Any, divides_by: str = "") -> float:
    """Return a setting that may be given for each channel, if all channels have the same."""
    numbers = {float(n) for n in np.ravel(value)}
    if len(numbers) != 1 or not math.isfinite(number := numbers.pop()) or (divides_by and number == 0):
        raise ValueError(f"expected one number, got {value}")
    return number
