"""Binning: the means of squares of pixels."""

from typing import Any

from numpy.typing import NDArray


def binned(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return the means of squares of `factor` pixels of a (y, x) image; what is left over at the far sides is cut.

    Floats keep their dtype, integers give float64.
    """
    height, width = (n // factor for n in pixels.shape)
    cut = pixels[: height * factor, : width * factor]
    means: NDArray[Any] = cut.reshape(height, factor, width, factor).mean((1, 3))
    return means
