"""What every degradation promises, whether it ships here or comes from an entry point."""

import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError, UnknownPartError
from refocal.testing import DegradationContract

# A chain without steps does nothing; this one does.
OPTIONS = {
    "chain": {
        "steps": [
            {"kind": "defocus", "probability": 0.5},
            {"choice": [{"kind": "shot_noise"}, {"kind": "jitter"}], "weights": [1, 3]},
        ]
    }
}


class TestEveryDegradation(DegradationContract):
    kinds = registry.names("degradations")

    def options(self, kind):
        return OPTIONS.get(kind, {})


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
