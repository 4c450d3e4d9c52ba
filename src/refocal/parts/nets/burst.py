"""Burst: many registered frames of one field, blurred and noisy, to one image, whatever their number and order.

Every frame passes through the same weights, and frames interact only through global max pooling (Aittala & Durand 2018,
Wieslander et al. 2021; see `_burst_features`). A permutation of the frames thus changes nothing.
"""

from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm as with_weight_norm

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3
from refocal.parts.nets._burst_dense import BurstDense
from refocal.parts.nets._burst_features import Tracks, halo
from refocal.parts.nets._burst_unet import LEVELS, BurstUNet

__all__ = ["Burst"]


class Burst(nn.Module):
    """Frames of a burst, (batch, frame, y, x) in [0, 1] to (batch, 1, y, x).

    The paper's nets: BU is `base="unet", up="transposed"` (16,227,426 parameters), BDU+T is `up="transposed"` and
    BDU+UC the default (4,668,241 both). Compact, made here: `width=32, levels=2, dropout=0, merge="encoder", squeeze=4,
    image_residual=True` (932,784). Sizes must be multiples of 16 with the plain U-Net, of `squeeze * 2**levels` else.

    Parameters
    ----------
    channels
        Image channels of a frame; those of all frames lie behind each other.
    base
        Dense U-Net or plain U-Net.
    up
        How the decoder doubles the size: nearest neighbours and a convolution, or a transposed convolution, which
        leaves a grid.
    merge
        Where the frames become one: after the decoder as in the papers, or after the encoder, which is cheaper.
    width
        Channels of the first convolution; 64 (unet) or 48 (dense) where it is not given.
    growth, layers, levels, dropout
        Of the dense base: channels a layer adds, layers of a block, halvings, share of values lost in training.
    weight_norm
        Of the plain U-Net: whether convolutions have weight norm.
    squeeze
        Fold squares of this many pixels into channels at the input, and unfold them at the output.
    image_residual
        Learn what to add to the mean of the frames, which is then an input along with every frame.
    """

    frames = 0
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "growth": 3, "layers": 1, "levels": 2}

    def __init__(
        self,
        channels: int = 1,
        base: Literal["dense", "unet"] = "dense",
        up: Literal["nearest", "transposed"] = "nearest",
        merge: Literal["decoder", "encoder"] = "decoder",
        width: int | None = None,
        growth: int = 16,
        layers: int = 4,
        levels: int = 4,
        dropout: float = 0.2,
        weight_norm: bool = True,
        squeeze: int = 1,
        image_residual: bool = False,
    ) -> None:
        super().__init__()
        _check(base, up, merge, squeeze)
        self.inputs = self.outputs = channels
        self.squeeze, self.image_residual = squeeze, image_residual
        planes = channels * squeeze**2
        given, turned, early = planes * (2 if image_residual else 1), up == "transposed", merge == "encoder"
        if base == "unet":
            levels = LEVELS
            self.base: BurstUNet | BurstDense = BurstUNet(given, width or 64, turned, early, weight_norm)
        else:
            self.base = BurstDense(given, width or 48, growth, layers, levels, turned, early, dropout)
        self.last = conv3(self.base.outputs, planes)
        if base == "unet" and weight_norm:
            with_weight_norm(self.last)
        elif image_residual:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        multiple = squeeze * 2**levels
        folded = squeeze.bit_length() - 1
        steps = (*folded * ("halve",), *self.base.steps, "conv3", *folded * ("double",))
        self.reach = Reach(halo=halo(steps, multiple), multiple=multiple)

    def forward(self, frames: Tensor) -> Tensor:
        """Restore (batch, frame * channels, y, x) in [0, 1]."""
        batch, planes, height, width = frames.shape
        count = planes // self.inputs
        tracks = frames.reshape(batch * count, self.inputs, height, width)
        mean = frames.reshape(batch, count, self.inputs, height, width).mean(1)
        shared = self._folded(mean) if self.image_residual else None
        restored: Tensor = self.last(self.base(Tracks(self._folded(tracks), shared, count)))
        if self.squeeze > 1:
            restored = functional.pixel_shuffle(restored, self.squeeze)
        return restored + mean if self.image_residual else restored

    def _folded(self, image: Tensor) -> Tensor:
        return functional.pixel_unshuffle(image, self.squeeze) if self.squeeze > 1 else image


def _check(base: str, up: str, merge: str, squeeze: int) -> None:
    for name, value, known in (
        ("base", base, ("dense", "unet")),
        ("up", up, ("nearest", "transposed")),
        ("merge", merge, ("decoder", "encoder")),
        ("squeeze", squeeze, (1, 2, 4)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
