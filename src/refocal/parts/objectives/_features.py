"""What perceptual losses compare: frozen features of VGG-19, or of a model that learned electron micrographs."""

from torch import Tensor, nn
from torch.nn import functional

from refocal.core.errors import BadModelError, BadOptionError
from refocal.models import header, torch_weights
from refocal.parts.objectives._vgg import vgg19

CONV3_3 = 15
"""Modules of VGG-19 up to conv3_3, before its ReLU."""


class Perception(nn.Module):
    """The mean squared difference of two images in the features of a frozen extractor.

    Parameters
    ----------
    extractor
        Maps (batch, channels, y, x) in contrast units to features.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor.eval().requires_grad_(False)

    def forward(self, got: Tensor, want: Tensor) -> Tensor:
        """Compare two images; gradients flow to the first one."""
        return functional.mse_loss(self.extractor(got), self.extractor(want.detach()))


def perception(vgg: str | None, model: str | None) -> Perception | None:
    """Return what compares images, or None (with a warning) if neither kind of features is given.

    Parameters
    ----------
    vgg
        Path of VGG-19 weights, or "download".
    model
        Name or path of a model whose net has an `encoder`, such as `contour`: features of the domain, no download.

    Raises
    ------
    BadOptionError
        If both are given.
    BadModelError
        If the model has no features to offer.
    """
    if model is None:
        extractor = vgg19(vgg, CONV3_3)
        return None if extractor is None else Perception(extractor)
    if vgg is not None:
        raise BadOptionError("give vgg or model, not both")
    net = torch_weights.load(header.find(model))
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, nn.Sequential):
        raise BadModelError(f"{model} is a {type(net).__name__}, which has no features; give a contour model")
    return Perception(encoder)
