"""Objectives for folds fall on folded triplets, and triplets carry what they need."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import ImageInfo
from refocal.learn.examples.tiles import draw_examples
from refocal.learn.examples.triplets import Triplets
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.parts.formats import create_image
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._warp import warp

NETS = {
    "l1": ("sepconv", {"channels": 1, "width": 4, "levels": 2, "taps": 5}),
    "flow": ("unfold", {"channels": 1, "width": 4, "levels": 2}),
    "fusion": ("fuse", {"channels": 1, "width": 4}),
    "inpainting": ("pconv", {"width": 4, "levels": 3}),
}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Triplets:
    rng = np.random.default_rng(0)
    pages = ndimage.gaussian_filter(rng.standard_normal((5, 250, 250)), (0.7, 3, 3))
    pages = (255 * (pages - pages.min()) / np.ptp(pages)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("stacks")
    create_image(folder / "a.tif", list(pages), like=ImageInfo(pages.shape, pages.dtype, 4.0))
    create_image(folder / "single.tif", [pages[0]], like=ImageInfo((1, 250, 250), pages.dtype, 4.0))
    return Triplets([folder], [1], 64)


@pytest.fixture(scope="module")
def batch(tiles: Triplets) -> Batch:
    fold = registry.make("degradations", "fold", dark_px=[5.0, 9.0], lost_px=[10.0, 24.0], decay=0.1)
    drawn = draw_examples(tiles, fold, 3, [0])
    frames, truth = (
        torch.from_numpy(np.stack(a)) for a in zip(*((e.frames.counts, e.truth[None]) for e in drawn), strict=True)
    )
    hints = {n: torch.from_numpy(np.stack([e.hints[n] for e in drawn])) for n in ("flow", "lost", "dark")}
    return Batch(frames, truth, hints)


def make(kind: str, **options: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    net, arguments = NETS[kind]
    options = {"frames": [0, 2]} if kind == "l1" else options
    return registry.make("nets", net, **arguments), registry.make("objectives", kind, **options)


@pytest.mark.parametrize("kind", NETS)
def test_every_objective_falls_on_a_toy(kind: str, batch: Batch) -> None:
    net, objective = make(kind)
    if kind == "l1":  # neighbours that lie two pixels aside, which a kernel can put right
        batch = Batch(batch.truth.roll(2, 3).repeat(1, 3, 1, 1), batch.truth, batch.hints)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60 if kind == "l1" else 25):
        optimiser.zero_grad()
        loss = sum(objective(net.train(), batch).values())
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_triplets_carry_the_flow_that_unfolds_them(batch: Batch) -> None:
    assert batch.frames.shape == (3, 3, 64, 64)
    assert batch.hints["flow"].shape == (3, 2, 64, 64)
    again = warp(batch.frames[:, 1:2], batch.hints["flow"])
    # Towards the border the flow may point beyond the crop.
    kept = ~batch.hints["lost"][:, None]
    kept[..., :25, :] = kept[..., -25:, :] = kept[..., :, :25] = kept[..., :, -25:] = False
    assert (again - batch.truth).abs()[kept].median() < 0.02


def test_training_samples_like_the_restorer() -> None:
    rng = np.random.default_rng(3)
    image = rng.random((40, 50), np.float32)
    # OpenCV knows 32 places between two pixels, so only those agree to rounding.
    flow = (rng.integers(-256, 256, (2, 40, 50)) / 32).astype(np.float32)
    y, x = np.indices(image.shape, np.float32)
    other = cv2.remap(image, x + flow[1], y + flow[0], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    ours = warp(torch.from_numpy(image)[None, None], torch.from_numpy(flow)[None])[0, 0].numpy()
    assert np.abs(ours - other).max() < 1e-4


class Watching(nn.Module):
    """Keeps what it was given, and answers with the unfolded section."""

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        self.given = pair
        return pair[:, :1]


def test_the_fusing_net_sees_a_covered_band_and_a_slightly_wrong_unfolding(batch: Batch) -> None:
    seen = {}
    for name, options in {"true": {"flow_error": 0.0}, "off": {}, "bare": {"flow_error": 0.0, "cover_px": 0}}.items():
        net = Watching()
        torch.manual_seed(1)
        registry.make("objectives", "fusion", **options)(net, batch)
        seen[name] = net.given[:, 0]
    shift = batch.hints["flow"].norm(dim=1)
    moved, still = (shift > 2) & ~batch.hints["lost"], shift == 0
    assert torch.equal(seen["true"][still], seen["off"][still])
    assert 0 < (seen["true"] - seen["off"])[moved].abs().mean() < (seen["true"][moved].std())
    assert (seen["true"] == 0).sum() > (seen["bare"] == 0).sum()


def test_impossible_errors_of_the_flow_are_refused() -> None:
    with pytest.raises(BadOptionError, match="flow_error"):
        registry.make("objectives", "fusion", flow_error=-1.0)


def test_trained_nets_look_on(tmp_path: Path, batch: Batch) -> None:
    paths = {}
    for kind, name in (("l1", "interpolation"), ("flow", "unfolding")):
        net, arguments = NETS[kind]
        trained = registry.make("nets", net, **arguments)
        about = header.ModelHeader(
            name=name, net=net, options=arguments, reach=onnx_graph.reach_of(trained), channels=2
        )
        torch_weights.save(trained, about, tmp_path / f"{name}.safetensors")
        paths[name] = str(tmp_path / f"{name}.safetensors")
    net, objective = make("fusion", **paths)
    assert not list(objective.parameters())
    assert not objective.state_dict()
    assert torch.isfinite(objective(net, batch)["fusion"])
    net, objective = make("flow", interpolation=paths["interpolation"])
    assert torch.isfinite(objective(net, batch)["flow"])


def test_stacks_that_are_too_small_are_refused(tmp_path: Path) -> None:
    page = np.zeros((40, 40), np.uint8)
    create_image(tmp_path / "a.tif", [page, page, page], like=ImageInfo((3, 40, 40), page.dtype))
    with pytest.raises(BadOptionError, match="at least 3 pages of 216x216"):
        Triplets([tmp_path], [1], 64)
    with pytest.raises(BadOptionError, match="odd"):
        Triplets([tmp_path], [1], 64, 2)
