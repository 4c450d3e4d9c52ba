"""The encoder of Inception-ResNet-v2 (Szegedy et al. 2016) up to its last grid reduction, as five maps.

Layers have the names of timm's `inception_resnet_v2`, so its ImageNet weights fit. What follows there (block8, the last
convolution and the classifier) never reaches a pixel of a restored image and is left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class InceptionResNetV2(nn.Module):
    """(batch, channels, y, x) to maps at strides 2, 4, 8, 16, 32 with the channels of `widths`.

    Convolutions without padding make the maps smaller than the stride says; `pads` (left, right, top, bottom) mends it.
    Sizes must be multiples of 32, at least 128.
    """

    widths = (32, 64, 192, 1088, 2080)
    pads = ((0, 1, 0, 1), (1, 1, 1, 1), (1, 2, 1, 2), (1, 1, 1, 1), (1, 1, 1, 1))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv2d_1a = _Conv(channels, 32, 3, 2)
        self.conv2d_2a, self.conv2d_2b = _Conv(32, 32, 3), _Conv(32, 64, 3, padding=1)
        self.conv2d_3b, self.conv2d_4a = _Conv(64, 80, 1), _Conv(80, 192, 3)
        self.mixed_5b = _mixed_5b()
        self.repeat = nn.Sequential(*(_block35() for _ in range(10)))
        self.mixed_6a = _Parallel(
            _Conv(320, 384, 3, 2),
            nn.Sequential(_Conv(320, 256, 1), _same(256, 256, 3), _Conv(256, 384, 3, 2)),
            pool=True,
        )
        self.repeat_1 = nn.Sequential(*(_block17() for _ in range(20)))
        self.mixed_7a = _Parallel(
            nn.Sequential(_Conv(1088, 256, 1), _Conv(256, 384, 3, 2)),
            nn.Sequential(_Conv(1088, 256, 1), _Conv(256, 288, 3, 2)),
            nn.Sequential(_Conv(1088, 256, 1), _same(256, 288, 3), _Conv(288, 320, 3, 2)),
            pool=True,
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five maps, fine to coarse."""
        first = self.conv2d_1a(image)
        second = _pool(self.conv2d_2b(self.conv2d_2a(first)))
        third = _pool(self.conv2d_4a(self.conv2d_3b(second)))
        fourth = self.mixed_6a(self.repeat(self.mixed_5b(third)))
        return [first, second, third, fourth, self.mixed_7a(self.repeat_1(fourth))]


class _Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(features)))


class _Parallel(nn.Module):
    """Branches side by side.

    With `pool` the halved input stands behind them. With `onto` (channels of the branches, channels, scale) they are
    fused by a 1x1 convolution, scaled and added to the input, and ReLU follows.
    """

    def __init__(self, *branches: nn.Module, pool: bool = False, onto: tuple[int, int, float] | None = None) -> None:
        super().__init__()
        self.count, self.pool, self.scale = len(branches), pool, onto[2] if onto else 0.0
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.conv2d = nn.Conv2d(onto[0], onto[1], 1) if onto else None

    def forward(self, features: Tensor) -> Tensor:
        found = [self.get_submodule(f"branch{i}")(features) for i in range(self.count)]
        joined = torch.cat([*found, _pool(features)] if self.pool else found, 1)
        return joined if self.conv2d is None else torch.relu(features + self.scale * self.conv2d(joined))


def _mixed_5b() -> _Parallel:
    return _Parallel(
        _Conv(192, 96, 1),
        nn.Sequential(_Conv(192, 48, 1), _same(48, 64, 5)),
        nn.Sequential(_Conv(192, 64, 1), _same(64, 96, 3), _same(96, 96, 3)),
        nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), _Conv(192, 64, 1)),
    )


def _block35() -> _Parallel:
    return _Parallel(
        _Conv(320, 32, 1),
        nn.Sequential(_Conv(320, 32, 1), _same(32, 32, 3)),
        nn.Sequential(_Conv(320, 32, 1), _same(32, 48, 3), _same(48, 64, 3)),
        onto=(128, 320, 0.17),
    )


def _block17() -> _Parallel:
    across, down = _Conv(128, 160, (1, 7), padding=(0, 3)), _Conv(160, 192, (7, 1), padding=(3, 0))
    return _Parallel(_Conv(1088, 192, 1), nn.Sequential(_Conv(1088, 128, 1), across, down), onto=(384, 1088, 0.10))


def _same(inputs: int, outputs: int, size: int) -> _Conv:
    return _Conv(inputs, outputs, size, padding=size // 2)


def _pool(features: Tensor) -> Tensor:
    return functional.max_pool2d(features, 3, 2)
