"""Training pairs: soft and sharp images of the same fields are registered, assessed, cropped, and split by section.

The soft image is cropped and otherwise left as recorded. The sharp one is resampled onto it and takes its gain and
offset. Pairs that do not fit are named in `pairs.csv` with the reason, and are not written.
"""

import csv
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import TileError, UnsupportedError, UsageError
from refocal.core.layout import TileLocation
from refocal.core.values import Counts, ImageInfo
from refocal.engine.tiles.listing import find_images
from refocal.engine.tiles.tiles import check_output
from refocal.imaging.affine_registration import Fit, inner, moved, register
from refocal.learn.examples.measured import BLURRY, SHARP, TEST, TRAIN
from refocal.parts import layouts
from refocal.parts.formats import create_image, open_image

TABLE = "pairs.csv"
_KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Limits:
    """The worst fit that is kept. Two images of different fields have residuals from 0.6 up."""

    residual: float = 0.4
    """1 - correlation after matching the blur."""
    overlap: float = 0.5
    """Least share of the soft image that both images show."""
    scale: float = 0.05
    """Most that the pixel sizes may differ."""
    shear: float = 0.05
    local_px: float = 3.0
    """Median shift between parts that is left; scans that drift unlike each other have more."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be limits."""
        if not (0 < self.residual <= 1 and 0 < self.overlap <= 1 and min(self.scale, self.shear, self.local_px) > 0):
            raise UsageError(f"limits are positive, residual and overlap at most 1; got {asdict(self)}")


@dataclass(frozen=True, slots=True)
class PairPaths:
    """A soft and a sharp image of a field."""

    name: str
    """Relative, without extension."""
    section: str
    field: str
    sharp: Path
    blurry: Path
    page: int = 0


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """One line of `pairs.csv`; None where it could not be measured. Lengths are pixels of the soft image."""

    name: str
    section: str
    share: Literal["", "train", "test"]
    verdict: Literal["kept", "rejected", "failed"]
    reason: str
    residual: float | None = None
    overlap: float | None = None
    local_px: float | None = None
    shift_x_px: float | None = None
    shift_y_px: float | None = None
    scale_x: float | None = None
    scale_y: float | None = None
    shear: float | None = None
    rotation_deg: float | None = None
    blur_px: float | None = None
    gain: float | None = None
    offset: float | None = None
    clipped: float | None = None
    """Share of the sharp pixels that gain and offset drive out of the range of the number format."""
    height: int | None = None
    width: int | None = None
    pixel_nm: float | None = None
    sharp: str = ""
    blurry: str = ""


def find(sharp: Path, blurry: Path) -> list[PairPaths]:
    """Return what belongs together: by relative name, or one sharp image with every blurry one (a focus series).

    Parameters
    ----------
    sharp, blurry
        A file, a folder, or a pattern like folder/*.png each.

    Raises
    ------
    UsageError
        If nothing is found, an image has no partner, or a file has more pages than its partner.
    """
    one, other = _images(sharp), _images(blurry)
    if len(one) == 1 and not sharp.is_dir():
        (alone,) = one.values()
        other = {name: path for name, path in other.items() if not path.samefile(alone)}
        matched = [(name, alone, path) for name, path in other.items()]
    else:
        ends = {_stem(name): path for name, path in one.items()}
        others = {_stem(name): path for name, path in other.items()}
        if lonely := sorted(ends.keys() ^ others.keys()):
            some = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
            raise UsageError(
                f"{len(one)} sharp and {len(other)} blurry images: {len(lonely)} have no partner of the same name "
                f"({some}); give the same names to both images of a field"
            )
        matched = [(name, ends[_stem(name)], path) for name, path in other.items()]
    if not matched:
        raise UsageError(f"no blurry image under {blurry} beside the sharp one; give soft images of the same field")
    layout = registry.make("layouts", layouts.recognise(sharp if sharp.is_dir() else sharp.parent))
    found = [two for name, a, b in matched for two in _pages(name, a, b, layout.place(_relative(a, sharp)))]
    if twice := [name for name, times in Counter(two.name for two in found).items() if times > 1]:
        raise UsageError(f"two images would both be written to {twice[0]}.tif; give them different names")
    return found


def pair(
    found: Sequence[PairPaths],
    out: Path,
    limits: Limits | None = None,
    test_share: float = 0.2,
    report: Callable[[PairVerdict], None] | None = None,
) -> list[PairVerdict]:
    """Register, judge and write pairs; return the lines of `pairs.csv`.

    Parameters
    ----------
    found
        Of `find`.
    out
        New folder, which gets `train` and `test` with `sharp` and `blurry` each; it appears when all is done.
    limits
        What is kept.
    test_share
        Share of the sections that go to `test`; of the fields where there is only one section. No field is in both.
    report
        Called with each pair as soon as it is judged, before it has a share.

    Raises
    ------
    UsageError
        If the output is there already.
    WriteError, OSError
        If it cannot be written.
    """
    if not 0 <= test_share < 1:
        raise UsageError(f"--test-share is at least 0 and below 1, got {test_share}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: pairs of two runs would mix; choose another output or remove it")
    check_output({path for two in found for path in (two.sharp, two.blurry)}, out)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        judged = []
        for one in _each(found, part / _KEPT, limits or Limits()):
            judged.append(one)
            if report is not None:
                report(one)
        shares = split([two for two, one in zip(found, judged, strict=True) if one.verdict == "kept"], test_share)
        judged = [replace(one, share=shares.get(one.name, "")) for one in judged]
        for one in judged:
            _file(one, part)
        shutil.rmtree(part / _KEPT, ignore_errors=True)
        _write_table(judged, part / TABLE)
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return judged


def split(found: Iterable[PairPaths], test_share: float) -> dict[str, Literal["train", "test"]]:
    """Say for the name of each pair where it belongs; whole sections, or whole fields of an only section.

    The order is that of the SHA-256 of the section's name, so the same names are always split alike.
    """
    found = list(found)
    by_section = len({two.section for two in found}) > 1
    group = {two.name: two.section if by_section else two.field for two in found}
    order = sorted(set(group.values()), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = min(max(round(test_share * len(order)), 1), len(order) - 1) if test_share and order else 0
    tests = set(order[:count])
    return {name: "test" if of in tests else "train" for name, of in group.items()}


def _each(found: Sequence[PairPaths], kept: Path, limits: Limits) -> Iterator[PairVerdict]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda two: _one(two, kept, limits), found)


def _one(two: PairPaths, kept: Path, limits: Limits) -> PairVerdict:
    empty = PairVerdict(two.name, two.section, "", "failed", "", sharp=str(two.sharp), blurry=str(two.blurry))
    try:
        sharp, about = _read(two.sharp, two.page)
        soft, info = _read(two.blurry, two.page)
        info = replace(info, pixel_nm=info.pixel_nm or about.pixel_nm)
    except TileError as error:
        return replace(empty, reason=" ".join(str(error).split()))
    try:
        fit = register(sharp.astype(np.float32), soft.astype(np.float32))
    except UnsupportedError as error:
        return replace(empty, verdict="rejected", reason=str(error))
    part = inner(fit.matrix, soft.shape)
    box = (slice(part.top, part.bottom), slice(part.left, part.right))
    truth, clipped = _counts(moved(sharp.astype(np.float32), fit)[box], soft.dtype)
    centre = (np.array(soft.shape[::-1]) - 1) / 2
    shift = fit.matrix[:, :2] @ centre + fit.matrix[:, 2] - centre
    judged = replace(
        empty, residual=fit.residual, overlap=part.area / soft.size, local_px=fit.local_px, shift_x_px=float(shift[0]),
        shift_y_px=float(shift[1]), scale_x=fit.scale[0], scale_y=fit.scale[1], shear=fit.shear,
        rotation_deg=fit.rotation_deg, blur_px=fit.blur_px, gain=fit.gain, offset=fit.offset, clipped=clipped,
        height=truth.shape[0], width=truth.shape[1], pixel_nm=info.pixel_nm,
    )  # fmt: skip
    if reason := _reason(fit, part.area / soft.size, limits):
        return replace(judged, verdict="rejected", reason=reason)
    like = replace(info, shape=(1, *truth.shape), dtype=soft.dtype, warnings=())
    for side, counts in ((SHARP, truth), (BLURRY, soft[box])):
        path = kept / side / f"{two.name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        create_image(path, [counts], like)
    return replace(judged, verdict="kept")


def _reason(fit: Fit, overlap: float, limits: Limits) -> str:
    """Say what is beyond a limit; nothing if all is well."""
    stretch = max(abs(scale - 1) for scale in fit.scale)
    checks = (
        (fit.residual > limits.residual, f"residual {fit.residual:.3f} above {limits.residual:g}"),
        (fit.gain <= 0, f"contrast is inverted (gain {fit.gain:.3g})"),
        (overlap < limits.overlap, f"overlap {overlap:.3f} below {limits.overlap:g}"),
        (stretch > limits.scale, f"scale differs by {stretch:.3f}, above {limits.scale:g}"),
        (abs(fit.shear) > limits.shear, f"shear {fit.shear:.3f} beyond {limits.shear:g}"),
        (fit.local_px > limits.local_px, f"parts are {fit.local_px:.1f} px apart, above {limits.local_px:g}"),
    )
    return "; ".join(words for wrong, words in checks if wrong)


def _counts(pixels: Counts, dtype: np.dtype[Any]) -> tuple[Counts, float]:
    """Round to the number format of the microscope; also return the share of pixels beyond its range."""
    if dtype.kind not in "ui":
        return pixels.astype(dtype), 0.0
    info = np.iinfo(dtype)
    rounded = np.rint(pixels)
    beyond = float(((rounded < info.min) | (rounded > info.max)).mean())
    return np.clip(rounded, info.min, info.max).astype(dtype), beyond


def _file(one: PairVerdict, part: Path) -> None:
    """Move a kept pair to its share."""
    for side in (SHARP, BLURRY) if one.share else ():
        target = part / (TEST if one.share == "test" else TRAIN) / side / f"{one.name}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / _KEPT / side / f"{one.name}.tif", target)


def _write_table(judged: Sequence[PairVerdict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as part, part.open("w", newline="") as file:
        table = csv.DictWriter(file, [*PairVerdict.__dataclass_fields__], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(one) for one in judged)


def _read(path: Path, page: int) -> tuple[Counts, ImageInfo]:
    with open_image(path) as image:
        return image.read(page), image.info


def _pages(name: str, sharp: Path, blurry: Path, place: TileLocation | None) -> list[PairPaths]:
    section, field = (place.section, place.tile) if place else (".", sharp.stem)
    try:
        with open_image(sharp) as one, open_image(blurry) as other:
            pages = one.info.shape[0], other.info.shape[0]
    except TileError:
        pages = 1, 1  # the pair fails by itself, and its line says why
    if pages[0] != pages[1]:
        raise UsageError(f"{name}: {pages[0]} sharp and {pages[1]} blurry pages; stacks of a pair have as many pages")
    names = [_stem(name)] if pages[0] == 1 else [f"{_stem(name)}-{page:04d}" for page in range(pages[0])]
    return [PairPaths(n, section, f"{section}/{field}#{page}", sharp, blurry, page) for page, n in enumerate(names)]


def _images(where: Path) -> dict[str, Path]:
    if where.exists() or not where.parent.is_dir():
        return find_images([where])
    return find_images(sorted(where.parent.glob(where.name)) or [where])


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if root.is_dir() else path.name


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)]
