"""Point spread functions on the pixel grid, and convolution with mirrored borders.

Every kernel is float64, (2r+1, 2r+1), non-negative, sums to 1. Its width is given as `sigma_px`, the standard
deviation along one axis averaged over directions, sqrt(trace(covariance) / 2): for a uniform disc R = 2 sigma.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from refocal.core.values import Example, Pixels
from refocal.parts.degradations._draw import with_pixels

Kernel = NDArray[np.float64]


def gaussian(covariance: NDArray[np.float64], radius: int | None = None) -> Kernel:
    """Return the Gaussian of a (x, y) covariance matrix in px^2; a vanishing one gives the identity kernel."""
    width = float(np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0.0)))
    if width < 1e-3:
        return _identity(radius or 0)
    r = radius if radius is not None else int(np.ceil(4 * width))
    # Below about 0.3 px a sampled Gaussian is no longer one; a floor on the minor axis keeps the matrix invertible.
    inverse = np.linalg.inv(covariance + np.eye(2) * 1e-4)
    y, x = np.mgrid[-r : r + 1, -r : r + 1].astype(float)
    exponent = inverse[0, 0] * x * x + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y * y
    kernel: Kernel = np.exp(-exponent / 2)
    kernel /= kernel.sum()
    return kernel


def disc(sigma_px: float, edge_px: float = 0.5) -> Kernel:
    """Return a uniform disc whose edge is softened by the source, a Gaussian of `edge_px`, `sigma_px` wide in all.

    The edge takes its part of the width; where less than a radius of 1.4 pixels is left, the disc cannot be told from
    a Gaussian, which is returned.
    """
    squared = 4 * (sigma_px**2 - edge_px**2)
    if squared < 2:
        return gaussian(np.eye(2) * sigma_px**2)
    # Pixels add up to 1/12 px^2 of their own, less for small discs: measure it and take it out.
    for _ in range(3):
        squared += 4 * (sigma_px**2 - width(_soft_disc(float(np.sqrt(squared)), edge_px)) ** 2)
    return _soft_disc(float(np.sqrt(squared)), edge_px)


def _soft_disc(radius: float, edge_px: float) -> Kernel:
    oversampling = 9
    r = int(np.ceil(radius + 3 * edge_px)) + 1
    axis = np.arange(-(r + 0.5) + 0.5 / oversampling, r + 0.5, 1 / oversampling)
    inside = (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(float)
    n = 2 * r + 1
    kernel = inside.reshape(n, oversampling, n, oversampling).mean((1, 3))
    soft = gaussian(np.eye(2) * edge_px**2, radius=int(np.ceil(3 * edge_px)))
    return _full(kernel, soft)


def wave(
    sigma_px: float,
    astigmatism_px: float = 0.0,
    angle_deg: float = 0.0,
    *,
    coma_px: float = 0.0,
    pixel_nm: float = 4.0,
    energy_kv: float = 1.5,
    alpha_mrad: float = 8.0,
    spherical_mm: float = 1.0,
    chromatic_mm: float = 1.0,
    energy_spread_ev: float = 0.7,
    source_px: float = 0.3,
) -> Kernel:
    """Return the wave-optical probe of a scanning microscope.

    The intensity is |FFT of the aperture with the aberration phase|^2, averaged over the energy spread and blurred
    by the source. Signed `sigma_px` is the geometric defocus (sigma = alpha df / 2 px); diffraction, source and lens
    errors come on top, so a focused probe still has a width. `coma_px` is C alpha^2, its tail's length, along
    `angle_deg`; the probe stays centred.
    """
    alpha, volts = alpha_mrad * 1e-3, energy_kv * 1e3
    wavelength = 1.2264 / np.sqrt(volts * (1 + 0.978e-6 * volts))
    spread_nm = chromatic_mm * 1e6 * energy_spread_ev / 2.355 / volts
    spherical_nm = spherical_mm * 1e6
    lens_px = (spherical_nm * alpha**3 + 1.5 * spread_nm * alpha) / pixel_nm
    reach_px = 4 * (abs(sigma_px) + abs(astigmatism_px)) + abs(coma_px) + lens_px + 6
    # Beyond 1024 samples diffraction is far below a pixel: a smaller pixel gives the same kernel and saves the work.
    pixel_nm = min(pixel_nm, 512 * wavelength / (2.2 * alpha) / reach_px)
    spacing = min(pixel_nm / 2, wavelength / (2.2 * alpha))
    n = int(fft.next_fast_len(int(2 * reach_px * pixel_nm / spacing) + 16))
    theta = np.fft.fftfreq(n, spacing) * wavelength
    tx, ty = theta[None, :], theta[:, None]
    squared = tx**2 + ty**2
    turn = np.deg2rad(angle_deg)
    twofold = (tx**2 - ty**2) * np.cos(2 * turn) + 2 * tx * ty * np.sin(2 * turn)
    onefold = (squared / alpha**2 - 1) * (tx * np.cos(turn) + ty * np.sin(turn))
    to_nm = 2 * pixel_nm / alpha
    still = astigmatism_px * to_nm * twofold / 2 + spherical_nm * squared**2 / 4 + coma_px * pixel_nm * onefold / 3
    aperture = squared <= alpha**2
    intensity = np.zeros((n, n))
    for shift, weight in zip((-1.5, -0.75, 0.0, 0.75, 1.5), (0.13, 0.24, 0.26, 0.24, 0.13), strict=True):
        path = (sigma_px * to_nm + shift * spread_nm) * squared / 2 + still
        intensity += weight * np.abs(fft.ifft2(aperture * np.exp(2j * np.pi / wavelength * path))) ** 2
    kernel = _bin(np.fft.fftshift(intensity), spacing / pixel_nm)
    return _full(kernel, gaussian(np.eye(2) * source_px**2, radius=2))


def blurred(example: Example, kernel: Kernel, sigma_px: float) -> Example:
    """Return the example with every frame convolved; the hints `sigma_px` and `kernel` add up over several blurs."""
    pixels = convolve(example.frames.counts, kernel)
    before = example.hints.get("kernel")
    whole = kernel if before is None else _full(before, kernel)
    return with_pixels(example, pixels, sigma_px=wider(example, sigma_px), kernel=whole)


def wider(example: Example, sigma_px: float) -> float:
    """Return the width of another blur on top of what the example's hints tell."""
    return float(np.hypot(float(example.hints.get("sigma_px", 0.0)), sigma_px))


def width(kernel: Kernel) -> float:
    """Return sqrt(trace(covariance) / 2) of a kernel in px."""
    r = kernel.shape[0] // 2
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    return float(np.sqrt((kernel * (x**2 + y**2)).sum() / kernel.sum() / 2))


def convolve(image: Pixels, kernel: Kernel) -> Pixels:
    """Convolve (..., y, x) pixels with a kernel; beyond the border the image is mirrored."""
    r = kernel.shape[0] // 2
    if r == 0:
        return image.copy()
    pads = [(0, 0)] * (image.ndim - 2) + [(r, r), (r, r)]
    padded = np.pad(image, pads, mode="symmetric" if min(image.shape[-2:]) <= r else "reflect")
    shape = [fft.next_fast_len(n, real=True) for n in padded.shape[-2:]]
    spectrum = fft.rfft2(padded, shape) * fft.rfft2(kernel.astype(np.float32), shape)
    full = fft.irfft2(spectrum, shape)
    height, across = image.shape[-2:]
    cropped: Pixels = full[..., 2 * r : 2 * r + height, 2 * r : 2 * r + across].astype(np.float32)
    return cropped


def _identity(radius: int) -> Kernel:
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    kernel[radius, radius] = 1
    return kernel


def _full(a: Kernel, b: Kernel) -> Kernel:
    shape = [m + n - 1 for m, n in zip(a.shape, b.shape, strict=True)]
    product: Kernel = np.maximum(fft.irfft2(fft.rfft2(a, shape) * fft.rfft2(b, shape), shape), 0)
    product /= product.sum()
    return product


def _bin(fine: Kernel, step: float) -> Kernel:
    """Collect samples `step` px apart onto the pixel grid, splitting each between its four neighbours."""
    n = fine.shape[0]
    position = (np.arange(n) - n // 2) * step
    r = int(np.floor(np.abs(position).max())) + 1
    low = np.floor(position).astype(int)
    weights = np.zeros((2 * r + 1, n))
    weights[low + r, np.arange(n)] = 1 - (position - low)
    weights[np.minimum(low + r + 1, 2 * r), np.arange(n)] += position - low
    return weights @ fine @ weights.T
