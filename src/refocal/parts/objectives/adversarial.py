"""GRAN_GAN: pixel, perceptual and adversarial terms with the critic of SRGAN.

The paper prints no weights and a critic-form equation 4 without a constraint; the presets are the ones that its code
family and its successor use.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._vgg import vgg19

__all__ = ["Adversarial"]

Preset = Literal["edsr_gan", "srgan", "basicsr", "schalek", "eq4"]


@dataclass(frozen=True, slots=True)
class _Weights:
    pixel: float
    perceptual: float
    adversarial: float
    distance: Literal["l1", "l2"] = "l2"
    penalty: float = 0.0
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)


PRESETS: dict[str, _Weights] = {
    "edsr_gan": _Weights(0.0, 5.0, 0.15, lr=5e-5),
    "srgan": _Weights(0.0, 1 / 12.75**2, 1e-3),
    "basicsr": _Weights(1e-2, 1.0, 5e-3, distance="l1"),
    "schalek": _Weights(1.0, 0.0, 5e-3),
    "eq4": _Weights(0.0, 0.0, 1.0, penalty=10.0, lr=1e-5, betas=(0.0, 0.9)),
}


class Critic(nn.Module):
    """The discriminator of SRGAN (Ledig et al. 2017) for patches of a fixed size; returns logits (batch, 1)."""

    def __init__(self, channels: int = 1, patch: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 64, 3, padding=1), nn.LeakyReLU(0.2)]
        inputs = 64
        for width, stride in ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2)):
            layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
            inputs = width
        self.features = nn.Sequential(*layers)
        # Four halvings of the size, each rounded up.
        self.judge = nn.Sequential(
            nn.Flatten(), nn.Linear(512 * (-(-patch // 16)) ** 2, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Judge (batch, channels, patch, patch)."""
        logits: Tensor = self.judge(self.features(image))
        return logits


class Adversarial(nn.Module):
    """Pixel L1 + perceptual VGG-19 + adversarial loss, weighted by a preset; trains its critic as it is called.

    Parameters
    ----------
    preset
        `edsr_gan` (the code family of GRAN), `srgan`, `basicsr`, `schalek` (L1 + adversarial) or `eq4` (the printed
        equation with a gradient penalty).
    patch
        The training patch, px; the critic takes this size only.
    channels
        Image channels.
    vgg
        Path of VGG-19 weights, "download", or None: then the perceptual term is off and, where the preset has no
        pixel term, L1 with weight 1 stands in for it.
    """

    def __init__(self, preset: Preset = "edsr_gan", patch: int = 96, channels: int = 1, vgg: str | None = None) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        self.weights = PRESETS[preset]
        self.extractor = vgg19(vgg) if self.weights.perceptual else None
        self.pixel = self.weights.pixel or float(self.extractor is None and bool(self.weights.perceptual))
        self.critic = Critic(channels, patch)
        self.optimiser = torch.optim.Adam(self.critic.parameters(), self.weights.lr, self.weights.betas)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Update the critic once, then return the net's weighted losses."""
        restored = net(batch.frames).float()
        if torch.is_grad_enabled():
            self._teach(restored.detach(), batch.truth)
        losses = {"adversarial": self.weights.adversarial * self._fool(self.critic(restored))}
        if self.pixel:
            losses["pixel"] = self.pixel * (restored - batch.truth).abs().mean()
        if self.extractor is not None:
            got, want = self.extractor(restored), self.extractor(batch.truth)
            measure = functional.l1_loss if self.weights.distance == "l1" else functional.mse_loss
            losses["perceptual"] = self.weights.perceptual * measure(got, want)
        return losses

    def _fool(self, fake: Tensor) -> Tensor:
        if self.weights.penalty:
            return -fake.mean()
        return functional.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))

    def _teach(self, fake: Tensor, real: Tensor) -> None:
        judged, true = self.critic(fake), self.critic(real)
        if self.weights.penalty:
            loss = judged.mean() - true.mean() + self.weights.penalty * self._gradient_penalty(fake, real)
        else:
            cross = functional.binary_cross_entropy_with_logits
            loss = cross(true, torch.ones_like(true)) + cross(judged, torch.zeros_like(judged))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def _gradient_penalty(self, fake: Tensor, real: Tensor) -> Tensor:
        mix = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        excess: Tensor = slope.flatten(1).norm(dim=1) - 1
        return excess.square().mean()

    def get_extra_state(self) -> dict[str, Any]:
        """Return the critic's optimiser, so that a resumed run equals the uninterrupted one."""
        # A copy: optimisers share the tensors of a state that they load.
        return copy.deepcopy(self.optimiser.state_dict())

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the critic's optimiser."""
        self.optimiser.load_state_dict(state)
