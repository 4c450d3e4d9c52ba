"""Specimens of an experiment: folders with training and test pairs, made from sharp tiles where none were measured."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import BadOptionError, UsageError
from refocal.core.values import Degradation, ImageInfo
from refocal.engine.tiles.listing import find_images
from refocal.learn.evaluate.scores import Truth, degrade
from refocal.learn.examples.measured import BLURRY, SHARP, TEST, TRAIN, find_pairs
from refocal.learn.pairs.tiles import PairPaths, split
from refocal.parts.formats import create_image, open_image

if TYPE_CHECKING:
    from refocal.learn.experiment.plan import Experiment


def prepare(experiment: "Experiment", given: Mapping[str, Path], out: Path) -> dict[str, Path]:
    """Return a folder with train and test pairs for each specimen.

    Parameters
    ----------
    given
        For each specimen a folder of pairs, with train and test as `refocal pair` leaves them, or sharp tiles. Those
        are split by folder (by image, if there is one folder), cut to squares, degraded, and written into `out`.
    out
        Folder for what is made; what is there already is taken, if it was made in the same way.

    Raises
    ------
    BadOptionError
        If a specimen is missing or unknown, or too small to test on.
    UsageError
        If `out` holds specimens that were made in another way.
    """
    if missing := sorted(set(experiment.specimens) ^ set(given)):
        raise BadOptionError(f"give each of {', '.join(experiment.specimens)} once as NAME=FOLDER; see {missing[0]!r}")
    found = {}
    for name in experiment.specimens:
        path = given[name]
        measured = (path / TRAIN / SHARP).is_dir()
        found[name] = path if measured else _made(experiment, name, path, out / name)
        for share in (TRAIN, TEST):
            find_pairs(found[name] / share)
    return found


def _made(experiment: "Experiment", name: str, path: Path, out: Path) -> Path:
    images = find_images([path])
    how = json.dumps({
        "images": {image: file.stat().st_size for image, file in images.items()}, "test_share": experiment.test_share,
        "cut_px": experiment.cut_px, "degradation": experiment.degradation, "options": experiment.degradation_options,
    })  # fmt: skip
    if out.exists():
        if (out / "made.json").read_text() != how:
            raise UsageError(f"{out} was made from other tiles or in another way; choose another output or remove it")
        return out
    degradation = registry.make("degradations", experiment.degradation, **experiment.degradation_options)
    found = [PairPaths(image, image.rpartition("/")[0], image, file, file) for image, file in images.items()]
    shares = split(found, experiment.test_share)
    if len(set(shares.values())) < 2:
        raise BadOptionError(f"specimen {name} has one image only; give more, so that some are never trained on")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for two in found:
        for truth in _cut(two, experiment.cut_px):
            _write(truth, degradation, part / (TEST if shares[two.name] == "test" else TRAIN))
    with writing(part / "made.json") as file:
        file.write_text(how)
    os.replace(part, out)
    return out


def _cut(two: PairPaths, edge: int) -> Iterator[Truth]:
    """Yield whole squares side by side, of every page."""
    with open_image(two.sharp) as image:
        pages, height, width = image.info.shape
        if min(height, width) < edge:
            raise BadOptionError(f"{two.name} is {height}x{width} px, smaller than cut_px={edge}; lower cut_px")
        for page in range(pages):
            counts = image.read(page)
            for top in range(0, height - edge + 1, edge):
                for left in range(0, width - edge + 1, edge):
                    square = np.ascontiguousarray(counts[top : top + edge, left : left + edge])
                    name = f"{two.name.rpartition('.')[0]}-{page}-{top}-{left}.tif"
                    yield Truth(two.section, name, square, image.info.pixel_nm)


def _write(truth: Truth, degradation: Degradation, folder: Path) -> None:
    like = ImageInfo((1, *truth.counts.shape), truth.counts.dtype, truth.pixel_nm)
    for side, counts in ((SHARP, truth.counts), (BLURRY, degrade(truth, degradation, 0).frames.image)):
        path = folder / side / truth.name
        path.parent.mkdir(parents=True, exist_ok=True)
        create_image(path, [counts], like)
