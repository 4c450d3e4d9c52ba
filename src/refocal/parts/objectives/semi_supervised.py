"""The losses of SGPN: few pairs teach the truth, and many restored tiles without a truth must look as good.

    net:     content |x - z| + adversarial (D(T z) - 1)^2 + unsupervised (D(T z) - D(T u))^2 + perceptual
    critic:  (D(T x) - 1)^2 / 2 + D(T z)^2 / 2                                                          (eq. 9)

with truth x, its restored tile z, a restored tile u without truth, and random changes T (DiffAugment). The unsupervised
term pulls restored unlabelled tiles to the score of restored labelled ones, not to that of sharp tiles. They show
different places, so the mean scores of images are compared, not their maps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refocal.core.errors import BadOptionError
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._critics import SGPN_CRITIC, Taught, patch_critic
from refocal.parts.objectives._diffaugment import EVERYTHING
from refocal.parts.objectives._features import perception

__all__ = ["SemiSupervised"]


class SemiSupervised(nn.Module):
    """Content + adversarial + unsupervised + perceptual loss; trains its critic as it is called. Patches from 32 px.

    Parameters
    ----------
    channels
        Image channels.
    vgg, model
        Where the perceptual term takes its features from: VGG-19 weights (a path or "download"), or a segmentation
        model of your own. Without either the term is off, with a warning.
    adversarial, unsupervised, perceptual
        Weights of the terms beside the content's 1; those of the paper. With `unsupervised=0` tiles without truth are
        neither needed nor looked at: the supervised rival.
    augment
        Random changes of all that the critic sees, from brightness, contrast, translation, cutout.
    hold
        Keep the score of the labelled tiles as it is in the unsupervised term (the paper does not say; it is off).
    width
        Channels of the critic's first layer; a narrow critic is for a short time on a CPU.
    lr, betas
        Of the critic's Adam.
    """

    def __init__(
        self,
        channels: int = 1,
        vgg: str | None = None,
        model: str | None = None,
        adversarial: float = 0.1,
        unsupervised: float = 0.01,
        perceptual: float = 0.02,
        augment: Sequence[str] = EVERYTHING,
        hold: bool = False,
        width: int = 64,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        super().__init__()
        self.adversarial, self.unsupervised, self.perceptual = adversarial, unsupervised, perceptual
        self.hold = hold
        self.perception = perception(vgg, model) if perceptual else None
        self.critic = Taught(patch_critic(channels, SGPN_CRITIC, 1, width), lr, betas, augment)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Update the critic once, then return the net's weighted losses.

        Raises
        ------
        BadOptionError
            If the batch has no tiles without truth and the term that needs them has a weight.
        """
        restored = net(batch.frames).float()
        if torch.is_grad_enabled():
            real, fake = self.critic(batch.truth), self.critic(restored.detach())
            self.critic.learn(((real - 1).square().mean() + fake.square().mean()) / 2)
        scores = self.critic(restored)
        losses = {
            "content": (restored - batch.truth).abs().mean(),
            "adversarial": self.adversarial * (scores - 1).square().mean(),
        }
        if self.unsupervised:
            losses["unsupervised"] = self.unsupervised * self._unlike(scores, net, batch)
        if self.perception is not None:
            losses["perceptual"] = self.perceptual * self.perception(restored, batch.truth)
        return losses

    def _unlike(self, scores: Tensor, net: nn.Module, batch: Batch) -> Tensor:
        if "unlabelled" not in batch.hints:
            raise BadOptionError(
                "objective 'semi_supervised' needs tiles without truth: give them with --unlabelled FOLDER"
            )
        others = self.critic(net(batch.hints["unlabelled"]).float())
        labelled = scores.detach() if self.hold else scores
        unlike: Tensor = labelled.mean((1, 2, 3)) - others.mean((1, 2, 3))
        return unlike.square().mean()
