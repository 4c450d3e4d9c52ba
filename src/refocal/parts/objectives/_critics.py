"""Critics that judge patches, and the optimiser that each one carries along.

A critic returns a map of raw scores, one for each overlapping patch of the image; what a score means is up to the
objective. Critics see pixels in [-1, 1].
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refocal.parts.objectives._diffaugment import augment, known


def patch_critic(channels: int, layers: Sequence[tuple[int, int]], padding: int, width: int = 64) -> nn.Sequential:
    """Return 4x4 convolutions of (times `width`, stride), all but the first with instance norm, and one to the score.

    The critic of SGPN is `SGPN_CRITIC` with padding 1 (2,762,689 parameters at one channel); the two of DeblurGAN-v2
    are `PATCH` and `FULL` with padding 2 (2,764,737 and 11,154,369 at three).
    """
    stack: list[nn.Module] = []
    inputs = channels
    for times, stride in layers:
        outputs = times * width
        norm = [nn.InstanceNorm2d(outputs)] if stack else []
        stack += [nn.Conv2d(inputs, outputs, 4, stride, padding), *norm, nn.LeakyReLU(0.2)]
        inputs = outputs
    return nn.Sequential(*stack, nn.Conv2d(inputs, 1, 4, 1, padding))


SGPN_CRITIC = ((1, 2), (2, 2), (4, 2), (8, 2))
PATCH = ((1, 2), (2, 2), (4, 2), (8, 1))
FULL = ((1, 2), (2, 2), (4, 2), (8, 2), (8, 2), (8, 1))


class Taught(nn.Module):
    """A critic with its own Adam, which is part of its state: a resumed run equals the uninterrupted one.

    Parameters
    ----------
    critic
        Maps (batch, channels, y, x) in [-1, 1] to scores.
    lr, betas
        Of Adam.
    changes
        Names of the random changes of all that it sees; see `augment`.
    """

    def __init__(self, critic: nn.Module, lr: float, betas: tuple[float, float], changes: Sequence[str] = ()) -> None:
        super().__init__()
        self.critic, self.changes = critic, known(changes)
        self.optimiser = torch.optim.Adam(critic.parameters(), lr, betas)

    def forward(self, image: Tensor) -> Tensor:
        """Judge (batch, channels, y, x) in contrast units, changed at random."""
        scores: Tensor = self.critic(augment(2 * image - 1, self.changes))
        return scores

    def learn(self, loss: Tensor) -> None:
        """Take one step against the gradient of a loss."""
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the optimiser."""
        # A copy: optimisers share the tensors of a state that they load.
        return copy.deepcopy(self.optimiser.state_dict())

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the optimiser."""
        self.optimiser.load_state_dict(state)
