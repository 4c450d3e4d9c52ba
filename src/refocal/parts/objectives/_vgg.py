"""VGG-19 features, from weights that the user gives or downloads.

The weights are those of torchvision (`vgg19-dcbb9e9d.pth`; the digits are the start of their SHA-256). They carry
their own terms and do not ship with refocal.
"""

import hashlib
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from refocal.core.atomic import replacing
from refocal.core.errors import BadModelError

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
SHA256_START = "dcbb9e9d"
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512)
# ImageNet statistics, red, green and blue.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG19(nn.Module):
    """The first `depth` modules of VGG-19 as a frozen feature extractor of grey or colour images in [0, 1].

    35 ends before the ReLU of the fourth convolution of block 5 (VGG54), 15 before that of conv3_3.
    """

    def __init__(self, weights: Path, depth: int = 35) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            if width:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:depth])
        tensors = _load(weights)
        wanted = self.state_dict().keys()
        if not wanted <= tensors.keys():
            raise BadModelError(f"{weights} does not hold VGG-19 weights (features.0.weight ...); see {URL}")
        self.load_state_dict({k: tensors[k] for k in wanted})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of (batch, 1 or 3, y, x)."""
        features: Tensor = self.features((image - self.get_buffer("mean")) / self.get_buffer("std"))
        return features


def vgg19(weights: str | None, depth: int = 35) -> VGG19 | None:
    """Return the extractor for a path, for "download" (into torch's cache, checked), or None with a warning."""
    if weights is None:
        warnings.warn(
            "no VGG-19 weights given: the perceptual term is off; pass vgg=PATH or vgg=download", stacklevel=3
        )
        return None
    return VGG19(_download() if weights == "download" else Path(weights), depth)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadModelError(f"cannot read VGG-19 weights from {path}: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(tensors, dict):
        raise BadModelError(f"{path} holds no named tensors; give torchvision's vgg19-dcbb9e9d.pth")
    return tensors


def _download(url: str = URL, folders: Sequence[str] = ("checkpoints",)) -> Path:
    path = Path(torch.hub.get_dir(), *folders, url.rsplit("/", 1)[1])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(path) as part:
                urllib.request.urlretrieve(url, part)  # noqa: S310 (a constant https address)
        except OSError as error:
            raise BadModelError(f"cannot download {url}: {error}; pass vgg=PATH instead") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(SHA256_START):
        raise BadModelError(f"{path} has SHA-256 {digest[:8]}..., expected {SHA256_START}...; remove it and try again")
    return path
