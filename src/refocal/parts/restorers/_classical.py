"""Classical restorers work on one image in contrast units; this carries counts there and back."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Frames, Pixels, Restored

Kernel = NDArray[np.float64]


def each(batch: Sequence[Frames], restore: Callable[[Pixels], NDArray[np.floating]]) -> list[Restored]:
    """Apply a function of (y, x) pixels in contrast units to the target image of each of the frames."""
    done = []
    for frames in batch:
        unit = restore(frames.contrast.unit(frames.image)).astype(np.float32, copy=False)
        done.append(Restored(frames.contrast.counts(unit, frames.image.dtype), contrast=frames.contrast))
    return done


def kernel_of(kernel: Sequence[Sequence[float]] | None, sigma_px: float) -> Kernel:
    """Return a point-spread function that sums to 1: the given one, or a Gaussian of `sigma_px`.

    Raises
    ------
    ValueError
        If the kernel is not a table of non-negative numbers, or sigma is not positive.
    """
    if kernel is None:
        if not 0 < sigma_px < 100:
            raise ValueError(f"sigma_px must lie between 0 and 100, got {sigma_px}")
        radius = max(1, round(4 * sigma_px))
        line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
        table = np.outer(line, line)
    else:
        table = np.asarray(kernel, np.float64)
        if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all() or table.min() < 0 or table.sum() <= 0:
            raise ValueError(f"kernel must be a (y, x) table of numbers not below 0 with a sum, got {table.shape}")
    normal: Kernel = table / table.sum()
    return normal


def transfer(kernel: Kernel, shape: tuple[int, int]) -> NDArray[np.complex128]:
    """Return the half-plane transfer function of a kernel, centred on its middle pixel, for images of `shape`."""
    wide = np.zeros(shape)
    wide[: kernel.shape[0], : kernel.shape[1]] = kernel
    centred = np.roll(wide, [-((n - 1) // 2) for n in kernel.shape], axis=(0, 1))
    spectrum: NDArray[np.complex128] = np.fft.rfft2(centred)
    return spectrum


def mirror(image: Pixels, margin: int) -> Pixels:
    """Pad by reflection, at least `margin` on every side and on the far sides up to even lengths."""
    padded: Pixels = np.pad(image, [(margin, margin + (n + 2 * margin) % 2) for n in image.shape], mode="reflect")
    return padded


def crop(padded: NDArray[np.floating], margin: int, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Undo `mirror`."""
    return padded[margin : margin + shape[0], margin : margin + shape[1]]
