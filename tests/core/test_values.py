"""Values: what frames take for granted, and what they ask for."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from refocal.core.values import UNIT, Contrast, Frames


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "uint32"])
def test_integer_frames_take_the_range_of_their_dtype(dtype: str) -> None:
    frames = Frames(np.zeros((1, 4, 5), dtype))
    limits = np.iinfo(dtype)
    assert frames.contrast == Contrast(limits.min, limits.max)
    assert replace(frames, target=0, contrast=UNIT).contrast == UNIT


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bool", "complex64"])
def test_other_frames_demand_a_contrast(dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"frames of {dtype} need a contrast.*Contrast\(0, 255\)"):
        Frames(np.zeros((1, 4, 5), dtype))
    assert Frames(np.zeros((1, 4, 5), dtype), contrast=UNIT).contrast == UNIT


def test_copied_frames_keep_their_contrast() -> None:
    frames = Frames(np.zeros((1, 4, 5), np.uint16), contrast=Contrast(100, 900))
    for same in (copy.deepcopy(frames), pickle.loads(pickle.dumps(frames)), replace(frames, pixel_nm=4.0)):
        assert same.contrast == frames.contrast
