"""The encoder of MobileNetV2 (Sandler et al. 2018) up to stride 32, as five maps.

Layers have the names of timm's `mobilenetv2_100`, so its ImageNet weights fit. As in DeblurGAN-v2 the maps end
before the third block of 160 channels.
"""

from torch import Tensor, nn
from torch.nn import functional

# Channels, blocks and stride of each stage.
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 2, 2))


class MobileNetV2(nn.Module):
    """(batch, channels, y, x) to maps at strides 2, 4, 8, 16, 32 with the channels of `widths`. Multiples of 32."""

    widths = (16, 24, 32, 64, 160)
    pads = ((0, 0, 0, 0),) * 5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(channels, 32, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.blocks = nn.Sequential()
        inputs = 32
        for outputs, count, stride in _STAGES:
            first = (
                _Separable(inputs, outputs) if inputs == 32 and outputs == 16 else _Inverted(inputs, outputs, stride)
            )
            self.blocks.append(nn.Sequential(first, *(_Inverted(outputs, outputs, 1) for _ in range(count - 1))))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five maps, fine to coarse."""
        maps = [functional.relu6(self.bn1(self.conv_stem(image)))]
        for stage in self.blocks:
            maps.append(stage(maps[-1]))
        # The stage of 96 channels has the stride of the one before; only its successor looks at it.
        return [maps[1], maps[2], maps[3], maps[4], maps[6]]


class _Separable(nn.Module):
    """Depthwise 3x3, then pointwise."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        restored: Tensor = self.bn2(self.conv_pw(functional.relu6(self.bn1(self.conv_dw(features)))))
        return restored


class _Inverted(nn.Module):
    """Widen six times, depthwise 3x3, narrow; plus identity where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 6 * inputs
        self.conv_pw, self.bn1 = nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv_dw = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv_pwl, self.bn3 = nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.same = inputs == outputs and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        wide = functional.relu6(self.bn1(self.conv_pw(features)))
        narrow: Tensor = self.bn3(self.conv_pwl(functional.relu6(self.bn2(self.conv_dw(wide)))))
        return features + narrow if self.same else narrow
