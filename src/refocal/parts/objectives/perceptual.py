"""Content and perceptual loss: pixels for the counts, features for the texture (Johnson et al. 2016)."""

from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._features import perception

__all__ = ["Perceptual"]


class Perceptual(nn.Module):
    """L1 + `weight` times the mean squared difference of features.

    Parameters
    ----------
    vgg
        Path of VGG-19 weights or "download": features up to conv3_3.
    model
        Name or path of a segmentation model of your own in place of VGG-19: features of electron micrographs.
    weight
        Of the perceptual term; 0.02 in the SGPN paper.
    """

    def __init__(self, vgg: str | None = None, model: str | None = None, weight: float = 0.02) -> None:
        super().__init__()
        if vgg is None and model is None:
            raise ValueError("it needs features: give vgg=PATH, vgg=download or model=PATH")
        self.perception, self.weight = perception(vgg, model), weight

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"content": L1, "perceptual": weighted difference of features}."""
        restored = net(batch.frames).float()
        losses = {"content": (restored - batch.truth).abs().mean()}
        if self.perception is not None:
            losses["perceptual"] = self.weight * self.perception(restored, batch.truth)
        return losses
