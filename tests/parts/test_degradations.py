"""What every degradation promises, whether it ships here or comes from an entry point."""

import dataclasses
import json

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError, UnknownPartError
from refocal.core.values import UNIT, Example, Frames

KINDS = registry.names("degradations")
# A chain without steps does nothing; this one does.
OPTIONS = {
    "chain": {
        "steps": [
            {"kind": "defocus", "probability": 0.5},
            {"choice": [{"kind": "shot_noise"}, {"kind": "jitter"}], "weights": [1, 3]},
        ]
    }
}


def make(kind):
    return registry.make("degradations", kind, **OPTIONS.get(kind, {}))


def an_example(shape=(3, 48, 37)):
    counts = np.random.default_rng(5).random(shape, np.float32)
    middle = shape[0] // 2
    return Example(Frames(counts, middle, UNIT, pixel_nm=4.0), counts[middle].copy(), {"before": 1.0})


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_the_same_seed_gives_the_same_pixels_and_hints(kind):
    one, two = (make(kind)(an_example(), np.random.default_rng(11)) for _ in range(2))
    np.testing.assert_array_equal(one.frames.counts, two.frames.counts)
    assert one.hints.keys() == two.hints.keys()
    for name in one.hints:
        np.testing.assert_array_equal(one.hints[name], two.hints[name])


def test_the_input_and_the_global_generator_are_untouched(kind):
    example, copy = an_example(), an_example()
    example.frames.counts.setflags(write=False)
    example.truth.setflags(write=False)
    before = np.random.get_state()[1].tobytes()
    make(kind)(example, np.random.default_rng(11))
    assert np.random.get_state()[1].tobytes() == before
    np.testing.assert_array_equal(example.frames.counts, copy.frames.counts)
    np.testing.assert_array_equal(example.truth, copy.truth)
    assert example.hints == copy.hints


def test_the_truth_and_what_is_known_stay(kind):
    example = an_example()
    seen = make(kind)(example, np.random.default_rng(11))
    assert seen.truth is example.truth
    assert (seen.frames.target, seen.frames.pixel_nm, seen.frames.contrast) == (1, 4.0, example.frames.contrast)
    assert seen.hints["before"] == 1.0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (1, 9, 1), (2, 3, 2), (1, 33, 64)])
def test_any_size_gives_finite_float32_of_that_size(kind, shape):
    for counts in (an_example(shape).frames.counts, np.zeros(shape, np.float32), np.ones(shape, np.float32)):
        seen = make(kind)(Example(Frames(counts, contrast=UNIT), counts[0]), np.random.default_rng(2))
        assert seen.frames.counts.shape == shape
        assert seen.frames.counts.dtype == np.float32
        assert np.isfinite(seen.frames.counts).all()


def test_it_goes_through_json(kind):
    part = make(kind)
    assert dataclasses.is_dataclass(part)
    text = json.dumps(dataclasses.asdict(part))
    again = registry.make("degradations", kind, **json.loads(text))
    assert json.dumps(dataclasses.asdict(again)) == text
    one, two = (p(an_example(), np.random.default_rng(4)).frames.counts for p in (part, again))
    np.testing.assert_array_equal(one, two)


def test_it_is_frozen(kind):
    part = make(kind)
    assert not hasattr(part, "__dict__")
    for field in dataclasses.fields(part):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field.name, 1)


def test_it_refuses_an_option_that_it_does_not_take(kind):
    with pytest.raises(BadOptionError, match="nonsense"):
        registry.make("degradations", kind, nonsense=1)


def test_every_range_is_checked(kind):
    for field in dataclasses.fields(make(kind)):
        if "Range" in str(field.type):
            for wrong in ([2.0, 1.0], -1e9, [0.0, 1e12], [1.0, 2.0, 3.0]):
                with pytest.raises(BadOptionError, match=field.name):
                    registry.make("degradations", kind, **{field.name: wrong})


@pytest.mark.parametrize("steps", [[{"kind": "defokus"}], [{"choice": [{"kind": "defokus"}]}]])
def test_a_chain_suggests_the_name_that_was_meant(steps):
    with pytest.raises(UnknownPartError, match="Did you mean 'defocus'"):
        registry.make("degradations", "chain", steps=steps)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"kind": "defocus", "sigma": 1}, "Did you mean 'sigma_px'"),
        ({"kind": "defocus", "sigma_px": -1}, "sigma_px must be"),
        ({"sigma_px": 1}, "needs the key 'kind'"),
        ({"kind": "defocus", "probability": 2}, "probability must be within"),
        ({"choice": []}, "one non-negative weight"),
        ({"choice": [{"kind": "defocus"}], "weights": [1, 2]}, "one non-negative weight"),
    ],
)
def test_a_chain_refuses_wrong_steps_before_it_is_used(step, says):
    with pytest.raises(BadOptionError, match=says):
        registry.make("degradations", "chain", steps=[step])
