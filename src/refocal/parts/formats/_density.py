"""Pixel size from the print density of general-purpose formats (pixels per metre).

Programs that do not know the pixel size write a screen or print resolution, 72 to 2400 dpi, which would be a pixel of
10 to 350 micrometres. No electron micrograph has such pixels, so these are taken as "not known".
"""

from fractions import Fraction

_COARSEST_NM = 10_000.0


def pixel_nm(per_metre: float) -> float | None:
    """Return the pixel edge in nm, None where the density cannot be that of a micrograph."""
    if not per_metre > 0:
        return None
    edge = rounded(1e9 / per_metre)
    return edge if is_likely(edge) else None


def is_likely(nm: float) -> bool:
    """Say whether a pixel of a micrograph may have this edge."""
    return 0 < nm < _COARSEST_NM


def per_metre(nm: float | None, most: int) -> int:
    """Return whole pixels per metre, 0 where not known or above `most`."""
    density = round(1e9 / nm) if nm and nm > 0 else 0
    return density if density <= most else 0


def per_centimetre(nm: float) -> tuple[int, int]:
    """Return pixels per centimetre as a ratio of two unsigned 32-bit numbers (TIFF RATIONAL)."""
    most = 2**32 - 1
    density = 1e7 / nm
    ratio = Fraction(density).limit_denominator(max(1, int(most / max(density, 1.0))))
    return min(ratio.numerator, most), ratio.denominator


def rounded(nm: float) -> float:
    """Round to 7 digits: integer densities carry no more, and 30.32 nm comes back as 30.32."""
    return float(f"{nm:.7g}")
