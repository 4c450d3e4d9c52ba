"""The losses of DeblurGAN-v2: squared error, perceptual, and relativistic average least squares on two scales.

Each critic (one judges patches, one nearly the whole crop) scores the truth against the mean m of recent restored
images and the other way round:

    critic:  [(D(truth) - m_restored - 1)^2 + (D(restored) - m_truth + 1)^2] / 2
    net:     [(D(truth) - m_restored + 1)^2 + (D(restored) - m_truth - 1)^2] / 2

The means are over the last 50 steps, without gradient; the two critics count alike.
"""

import torch
from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._critics import FULL, PATCH, Taught, patch_critic
from refocal.parts.objectives._features import perception

__all__ = ["RelativisticGAN"]

_REMEMBERED = 50


class RelativisticGAN(nn.Module):
    """Squared error + perceptual + relativistic adversarial loss; trains its critics as it is called.

    Parameters
    ----------
    channels
        Image channels.
    vgg, model
        Where the perceptual term takes its features from: VGG-19 weights (a path or "download"), or a segmentation
        model of your own. Without either the term is off, with a warning.
    content, perceptual, adversarial
        Weights of the terms; those of the published code. The squared error counts in [-1, 1].
    width
        Channels of the critic's first layer; a narrow critic is for a short time on a CPU.
    lr, betas
        Of the critics' Adam.
    """

    def __init__(
        self,
        channels: int = 1,
        vgg: str | None = None,
        model: str | None = None,
        content: float = 0.5,
        perceptual: float = 0.006,
        adversarial: float = 0.001,
        width: int = 64,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__()
        self.content, self.perceptual, self.adversarial = content, perceptual, adversarial
        self.perception = perception(vgg, model) if perceptual else None
        critics = (patch_critic(channels, layers, 2, width) for layers in (PATCH, FULL))
        self.critics = nn.ModuleList(_Relative(Taught(critic, lr, betas)) for critic in critics)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Update the critics once, then return the net's weighted losses."""
        restored, truth = net(batch.frames).float(), batch.truth
        if torch.is_grad_enabled():
            for critic in self.critics:
                critic.learn(restored.detach(), truth)  # type: ignore[operator]
        judged = torch.stack([critic(restored, truth) for critic in self.critics]).mean()
        losses = {
            "content": self.content * (2 * (restored - truth)).square().mean(),
            "adversarial": self.adversarial * judged,
        }
        if self.perception is not None:
            losses["perceptual"] = self.perceptual * self.perception(restored, truth)
        return losses


class _Relative(nn.Module):
    """A critic and the mean scores that it gave lately."""

    recent: Tensor
    seen: Tensor

    def __init__(self, critic: Taught) -> None:
        super().__init__()
        self.critic = critic
        self.register_buffer("recent", torch.zeros(2, _REMEMBERED))  # restored, truth
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def learn(self, restored: Tensor, truth: Tensor) -> None:
        """Update the critic once."""
        fake, real = self.critic(restored), self.critic(truth)
        with torch.no_grad():
            self.recent[:, int(self.seen) % _REMEMBERED] = torch.stack((fake.mean(), real.mean()))
            self.seen += 1
        self.critic.learn(self._loss(fake, real, 1.0))

    def forward(self, restored: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of the net."""
        return self._loss(self.critic(restored), self.critic(truth), -1.0)

    def _loss(self, fake: Tensor, real: Tensor, margin: float) -> Tensor:
        fakes, reals = self.recent[:, : max(1, min(int(self.seen), _REMEMBERED))].mean(1)
        real, fake = real - fakes, fake - reals
        return ((real - margin).square().mean() + (fake + margin).square().mean()) / 2
