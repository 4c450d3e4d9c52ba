"""Register a sharp image of a field to a soft one of the same field: an affine map, a blur, a gain and an offset.

    soft(x) ~ gain * (sharp * gaussian(blur_px))(A x + t) + offset

Coordinates are (x, y) pixels, 0 at the centre of the first pixel. The soft image is left as it was recorded, because a
net will later see what the microscope writes; the sharp one is moved onto it. Both are compared in a frequency band:
without shading, and without the finest detail, which is noise in the one and missing in the other.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import UnsupportedError
from refocal.core.values import Pixels

Matrix = NDArray[np.float64]
"""(2, 3): A and t."""

SMALLEST_PX = 48
_START, _LEVELS = 4, (4, 2, 1)  # binning; a shift is looked for at the first, the affine map at one after the other
_ITERATIONS, _CHANGE = 60, 1e-5
_SMOOTH_PX = 2.0
_BLURS_PX = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_LANCZOS_PX = 4
_PARTS = 4  # of each side, for local shifts


@dataclass(frozen=True, slots=True)
class Fit:
    """What `register` found."""

    matrix: Matrix
    """Maps (x, y) of the soft image to (x, y) of the sharp one."""
    blur_px: float
    """Standard deviation of the Gaussian that makes the sharp image most like the soft one."""
    residual: float
    """1 - correlation of the soft image and the moved, blurred sharp one, in a band; 0 is perfect."""
    local_px: float
    """Median shift that is left between parts of the two; what an affine map cannot follow."""
    gain: float
    offset: float

    @property
    def scale(self) -> tuple[float, float]:
        """Pixel size of the soft image over that of the sharp one, along x and y."""
        return float(np.hypot(*self.matrix[:, 0])), float(np.linalg.det(self.matrix[:, :2])) / self._along_x

    @property
    def shear(self) -> float:
        """Cosine of the angle between the two axes after the map; 0 where they stay perpendicular."""
        along_x, along_y = self.matrix[:, 0], self.matrix[:, 1]
        return float(along_x @ along_y / (np.hypot(*along_x) * np.hypot(*along_y)))

    @property
    def rotation_deg(self) -> float:
        """Angle by which the x axis turns, from x towards y."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def _along_x(self) -> float:
        return float(np.hypot(*self.matrix[:, 0]))


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Part of an image: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels, 0 where there are none."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)


def register(sharp: Pixels, soft: Pixels) -> Fit:
    """Find how two (y, x) float32 images of one field and size belong together.

    The start is the peak of the phase correlation; from coarse to fine the affine map then maximises the enhanced
    correlation coefficient (Evangelidis and Psarakis 2008), in which gain and offset cancel.

    Raises
    ------
    UnsupportedError
        If the sizes differ, the images are too small, flat or not finite, or nothing correlates.
    """
    if sharp.shape != soft.shape:
        raise UnsupportedError(f"sizes differ: the sharp image is {_size(sharp)} px, the soft one {_size(soft)}")
    if min(soft.shape) < SMALLEST_PX:
        raise UnsupportedError(f"{_size(soft)} px is too small to register; at least {SMALLEST_PX} px a side")
    if not (np.isfinite(sharp).all() and np.isfinite(soft).all()):
        raise UnsupportedError("there are pixels that are not finite")
    if not (np.ptp(sharp) and np.ptp(soft)):
        raise UnsupportedError("one of the images is flat")
    detail, seen = _unshaded(sharp), _unshaded(soft)
    matrix = _shift(detail, seen)
    try:
        for binning in _LEVELS[:-1]:
            matrix = _refined(detail, seen, matrix, binning)
        # The finest level compares like with like, or what only one of the two shows would pull.
        matrix = _refined(_blurred(detail, _likest(detail, seen, matrix)[0]), seen, matrix, _LEVELS[-1])
    except cv2.error as error:
        raise UnsupportedError("does not register: nothing in the two images correlates") from error
    if not np.isfinite(matrix).all() or inner(matrix, soft.shape).area == 0:
        raise UnsupportedError("does not register: the images do not overlap")
    blur_px, alike = _likest(detail, seen, matrix)
    gain, offset = _intensities(_blurred(sharp, blur_px), soft, matrix)
    return Fit(matrix, blur_px, 1 - alike, _local(_blurred(detail, blur_px), seen, matrix), gain, offset)


def inner(matrix: Matrix, shape: tuple[int, ...]) -> Rectangle:
    """Return the rectangle of the soft image that the sharp one of the same (y, x) shape covers whole."""
    height, width = shape
    edge = _LANCZOS_PX  # what interpolation looks at on every side
    corners = np.array([(edge, edge), (width - 1 - edge, edge), (edge, height - 1 - edge),
                        (width - 1 - edge, height - 1 - edge)], float)  # fmt: skip
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    (x, y) = seen.T
    top, left = np.ceil([max(0, y[0], y[1]), max(0, x[0], x[2])])
    bottom, right = np.floor([min(height - 1, y[2], y[3]), min(width - 1, x[1], x[3])]) + 1
    return Rectangle(int(top), int(left), int(bottom), int(right))


def moved(sharp: Pixels, fit: Fit) -> Pixels:
    """Return the sharp image on the grid of the soft one, with its gain and offset; sharp only within `inner`."""
    lanczos = cv2.INTER_LANCZOS4
    return _warped(sharp, fit.matrix, lanczos) * np.float32(fit.gain) + np.float32(fit.offset)


def _shift(sharp: Pixels, soft: Pixels) -> Matrix:
    one, other = (_binned(_blurred(image, _START / 2), _START) for image in (soft, sharp))
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(one, other, window)
    return np.array([[1, 0, x * _START], [0, 1, y * _START]], float)


def _refined(sharp: Pixels, soft: Pixels, matrix: Matrix, binning: int) -> Matrix:
    template, image = (_binned(_blurred(i, binning), binning) for i in (soft, sharp))
    # Pixel k of a binned image has its centre at binning * k + centre.
    centre, linear = np.full(2, (binning - 1) / 2), matrix[:, :2]
    small = np.column_stack([linear, (linear @ centre + matrix[:, 2] - centre) / binning]).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ITERATIONS, _CHANGE)
    _, small = cv2.findTransformECC(template, image, small, cv2.MOTION_AFFINE, stop, None, 1)
    found = small.astype(float)
    return np.column_stack([found[:, :2], binning * found[:, 2] - found[:, :2] @ centre + centre])


def _likest(sharp: Pixels, soft: Pixels, matrix: Matrix) -> tuple[float, float]:
    """Return the blur that makes the moved sharp image most like the soft one, and their correlation."""
    part = inner(matrix, soft.shape)
    if part.area == 0:
        raise UnsupportedError("does not register: the images do not overlap")
    warped, there = _blurred(_warped(sharp, matrix), _SMOOTH_PX), _blurred(soft, _SMOOTH_PX)
    found = [(_correlation(_blurred(warped, blur_px), there, part), -blur_px) for blur_px in _BLURS_PX]
    alike, blur_px = max(found)
    return -blur_px, alike


def _intensities(sharp: Pixels, soft: Pixels, matrix: Matrix) -> tuple[float, float]:
    """Return gain and offset of the sharp counts by least squares on the soft ones; without fine noise: it biases."""
    part = inner(matrix, soft.shape)
    x = _cut(_blurred(_warped(sharp, matrix), _SMOOTH_PX), part).astype(float)
    y = _cut(_blurred(soft, _SMOOTH_PX), part).astype(float)
    gain = float(((x - x.mean()) * (y - y.mean())).sum() / max(float(np.square(x - x.mean()).sum()), 1e-12))
    return gain, float(y.mean() - gain * x.mean())


def _local(sharp: Pixels, soft: Pixels, matrix: Matrix) -> float:
    """Return the median shift between corresponding parts of two images that are registered as wholes."""
    part = inner(matrix, soft.shape)
    images = [_cut(_blurred(i, _SMOOTH_PX), part) for i in (soft, _warped(sharp, matrix))]
    height, width = (_transformable(n // _PARTS) for n in images[0].shape)
    if min(height, width) < 8:
        return 0.0
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    shifts = []
    for row in range(_PARTS):
        for column in range(_PARTS):
            box = (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
            one, other = (np.ascontiguousarray(image[box]) for image in images)
            (x, y), _ = cv2.phaseCorrelate(one, other, window)
            shifts.append(np.hypot(x, y))
    return float(np.median(shifts))


def _transformable(length: int) -> int:
    """Return the nearest length below that is even and not padded: else OpenCV's phase correlation is off by 0.5 px."""
    return next((n for n in range(length, 0, -1) if n % 2 == 0 and cv2.getOptimalDFTSize(n) == n), 0)


def _correlation(one: Pixels, other: Pixels, part: Rectangle) -> float:
    a, b = (_cut(i, part).astype(float) - _cut(i, part).mean(dtype=float) for i in (one, other))
    return float((a * b).sum() / max(float(np.sqrt(np.square(a).sum() * np.square(b).sum())), 1e-12))


def _unshaded(image: Pixels) -> Pixels:
    """Remove what is as coarse as an eighth of the image; computed at a sixteenth of its size, which is fast."""
    size = image.shape[::-1]
    small = cv2.resize(image, tuple(max(8, n // 16) for n in size), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(small, (0, 0), min(small.shape) / 8)
    return image - np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _blurred(image: Pixels, sigma_px: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32) if sigma_px > 0 else image


def _binned(image: Pixels, binning: int) -> Pixels:
    height, width = (n // binning for n in image.shape)
    cut = image[: height * binning, : width * binning]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _warped(image: Pixels, matrix: Matrix, how: int = cv2.INTER_LINEAR) -> Pixels:
    size = image.shape[::-1]
    flags = how | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT), np.float32)


def _cut(image: Pixels, part: Rectangle) -> Pixels:
    return image[part.top : part.bottom, part.left : part.right]


def _size(image: Pixels) -> str:
    return "x".join(str(n) for n in image.shape)
