"""Content and least-squares adversarial loss with the patch critic of SGPN (Mao et al. 2017).

critic:  (D(truth) - 1)^2 / 2 + D(restored)^2 / 2        net:  content |restored - truth| + adversarial (D - 1)^2
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._critics import SGPN_CRITIC, Taught, patch_critic
from refocal.parts.objectives._diffaugment import EVERYTHING

__all__ = ["LeastSquaresGAN"]


class LeastSquaresGAN(nn.Module):
    """L1 + weighted least-squares adversarial loss; trains its critic as it is called. Patches of at least 32 px.

    Parameters
    ----------
    channels
        Image channels.
    adversarial
        Weight of the adversarial term.
    augment
        Random changes of all that the critic sees, from brightness, contrast, translation, cutout.
    width
        Channels of the critic's first layer; a narrow critic is for a short time on a CPU.
    lr, betas
        Of the critic's Adam.
    """

    def __init__(
        self,
        channels: int = 1,
        adversarial: float = 0.1,
        augment: Sequence[str] = EVERYTHING,
        width: int = 64,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__()
        self.adversarial = adversarial
        self.critic = Taught(patch_critic(channels, SGPN_CRITIC, 1, width), lr, betas, augment)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Update the critic once, then return the net's weighted losses."""
        restored = net(batch.frames).float()
        if torch.is_grad_enabled():
            real, fake = self.critic(batch.truth), self.critic(restored.detach())
            self.critic.learn(((real - 1).square().mean() + fake.square().mean()) / 2)
        return {
            "content": (restored - batch.truth).abs().mean(),
            "adversarial": self.adversarial * (self.critic(restored) - 1).square().mean(),
        }
