"""What every degradation promises: nothing but the frames changes, and a seed and its parameters say how."""

import dataclasses
import json
from typing import Any, ClassVar

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Example, Frames
from refocal.testing._part import PartContract


def an_example(shape: tuple[int, int, int] = (3, 48, 37)) -> Example:
    """Return noise, of which the middle frame is the target."""
    counts = np.random.default_rng(5).random(shape, np.float32)
    middle = shape[0] // 2
    return Example(Frames(counts, middle, UNIT, pixel_nm=4.0), counts[middle].copy(), {"before": 1.0})


class DegradationContract(PartContract):
    """Override `options` where the defaults do nothing."""

    family: ClassVar[str] = "degradations"

    def test_the_same_seed_gives_the_same_pixels_and_hints(self, kind: str) -> None:
        one, two = (self.make(kind)(an_example(), np.random.default_rng(11)) for _ in range(2))
        np.testing.assert_array_equal(one.frames.counts, two.frames.counts)
        assert one.hints.keys() == two.hints.keys()
        for name in one.hints:
            np.testing.assert_array_equal(one.hints[name], two.hints[name])

    def test_the_input_and_the_global_generator_are_untouched(self, kind: str) -> None:
        example, copy = an_example(), an_example()
        example.frames.counts.setflags(write=False)
        example.truth.setflags(write=False)
        before = _global_state()
        self.make(kind)(example, np.random.default_rng(11))
        assert _global_state() == before
        np.testing.assert_array_equal(example.frames.counts, copy.frames.counts)
        np.testing.assert_array_equal(example.truth, copy.truth)
        assert example.hints == copy.hints

    def test_the_truth_and_what_is_known_stay(self, kind: str) -> None:
        example = an_example()
        seen = self.make(kind)(example, np.random.default_rng(11))
        assert seen.truth is example.truth
        assert (seen.frames.target, seen.frames.pixel_nm, seen.frames.contrast) == (1, 4.0, example.frames.contrast)
        assert seen.hints["before"] == 1.0

    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (1, 9, 1), (2, 3, 2), (1, 33, 64)])
    def test_any_size_gives_finite_float32_of_that_size(self, kind: str, shape: tuple[int, int, int]) -> None:
        for counts in (an_example(shape).frames.counts, np.zeros(shape, np.float32), np.ones(shape, np.float32)):
            seen = self.make(kind)(Example(Frames(counts, contrast=UNIT), counts[0]), np.random.default_rng(2))
            assert seen.frames.counts.shape == shape
            assert seen.frames.counts.dtype == np.float32
            assert np.isfinite(seen.frames.counts).all()

    def test_it_goes_through_json(self, kind: str) -> None:
        part = self.make(kind)
        text = json.dumps(dataclasses.asdict(part))
        again = registry.make(self.family, kind, **json.loads(text))
        assert json.dumps(dataclasses.asdict(again)) == text
        one, two = (p(an_example(), np.random.default_rng(4)).frames.counts for p in (part, again))
        np.testing.assert_array_equal(one, two)

    def test_it_is_frozen(self, kind: str) -> None:
        part = self.make(kind)
        assert not hasattr(part, "__dict__")
        for field in dataclasses.fields(part):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, field.name, 1)

    def test_every_range_is_checked(self, kind: str) -> None:
        for field in dataclasses.fields(self.make(kind)):
            if "Range" in str(field.type):
                for wrong in ([2.0, 1.0], -1e9, [0.0, 1e12], [1.0, 2.0, 3.0]):
                    with pytest.raises(BadOptionError, match=field.name):
                        registry.make(self.family, kind, **{field.name: wrong})


def _global_state() -> bytes:
    state: Any = np.random.get_state()
    content: bytes = state[1].tobytes()
    return content
