"""Bursts restored by nets and by baselines; adaptation, probes and the artefact meter."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import ndimage
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadModelError, BadOptionError, UnsupportedError
from refocal.core.values import UNIT, Contrast, Example, Frames
from refocal.learn import adapt
from refocal.learn.evaluate import burst_phantoms
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.parts.metrics.grid_artefact import strengths
from refocal.parts.objectives._batch import Batch

OPTIONS = {"width": 4, "growth": 2, "layers": 1, "levels": 1, "merge": "encoder", "squeeze": 2}


def net() -> nn.Module:
    torch.manual_seed(0)
    return registry.make("nets", "burst", **OPTIONS).eval()


def truth(side: int = 96) -> np.ndarray:
    drawn = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((side, side)), 2)
    return np.clip(0.5 + 0.2 * drawn / drawn.std(), 0, 1).astype(np.float32)


def burst(count: int = 5, side: int = 96, noise: float = 0.08, dtype: str = "uint8") -> Frames:
    rng = np.random.default_rng(1)
    planes = np.clip(truth(side) + noise * rng.standard_normal((count, side, side)), 0, 1).astype(np.float32)
    contrast = Contrast(0, 4000) if dtype == "uint16" else Contrast.of(dtype)
    return Frames(contrast.counts(planes, dtype), 0, contrast)


def error(got: np.ndarray, frames: Frames) -> float:
    return float(np.abs(frames.contrast.unit(got) - truth(got.shape[0])).mean())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = net()
    path = tmp_path_factory.mktemp("model") / "b.safetensors"
    about = header.ModelHeader(name="b", net="burst", options=OPTIONS, reach=onnx_graph.reach_of(made), frames=0)
    onnx_graph.publish(made, about, path)
    return path


class TestNet:
    def test_tiles_give_the_same_as_the_whole(self) -> None:
        frames = burst(3, 101, dtype="float32")
        whole = registry.make("restorers", "burst", model=net())([frames])[0].counts
        tiled = registry.make("restorers", "burst", model=net(), tile_px=32)([frames])[0].counts
        assert np.abs(whole - tiled).max() < 1e-5

    @pytest.mark.parametrize("runtime", ["openvino_model", "onnx_model", "torch_model"])
    def test_every_runtime_says_the_same(self, runtime: str, model: Path) -> None:
        frames = burst(4, dtype="float32")
        expected = registry.make("restorers", "burst", model=net())([frames])[0].counts
        got = registry.make("restorers", "burst", model=str(model), runtime=runtime)([frames])[0].counts
        assert np.abs(got - expected).max() < 0.02

    def test_one_graph_takes_any_number_of_frames_of_any_size(self, model: Path) -> None:
        session = onnxruntime.InferenceSession(model.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
        same = torch_weights.load(model)
        for count, height, width in ((1, 32, 48), (2, 16, 16), (5, 40, 24)):
            frames = torch.rand(1, count, height, width)
            with torch.no_grad():
                expected = same(frames).numpy()
            assert np.abs(session.run(["restored"], {"image": frames.numpy()})[0] - expected).max() < 1e-5

    def test_order_of_the_frames_and_hopeless_ones_change_nothing(self) -> None:
        frames = burst(4, dtype="uint16")
        restorer = registry.make("restorers", "burst", model=net())
        expected = restorer([frames])[0].counts
        assert expected.dtype == np.uint16
        black, white = np.zeros_like(frames.image), np.full_like(frames.image, 65535)
        worse = np.stack([black, *frames.counts[[2, 0, 3, 1]], white])
        got = restorer([Frames(worse, 2, frames.contrast)])[0].counts
        assert np.abs(got.astype(int) - expected).max() <= 1
        valid = np.ones((5, 96, 96), np.bool_)
        valid[4] = False
        noise = np.random.default_rng(3).integers(0, 4000, (1, 96, 96)).astype(np.uint16)
        got = restorer([Frames(np.concatenate((frames.counts, noise)), 0, frames.contrast, valid)])[0].counts
        assert np.array_equal(got, expected)

    def test_one_frame_is_a_burst_and_none_is_not(self) -> None:
        restorer = registry.make("restorers", "burst", model=net())
        assert restorer([burst(1)])[0].counts.shape == (96, 96)
        nothing = np.zeros((5, 96, 96), np.bool_)
        frames = burst()
        with pytest.raises(UnsupportedError, match="none of the 5 frames"):
            restorer([Frames(frames.counts, 0, frames.contrast, nothing)])
        holes = np.full((2, 32, 32), np.nan, np.float32)
        holes[:, 0] = 1
        with pytest.raises(UnsupportedError, match="not finite"):
            restorer([Frames(holes, contrast=UNIT)])

    def test_a_net_of_three_frames_takes_three_in_windows(self) -> None:
        three = registry.make("nets", "deblurgan_v2", backbone="mobilenet_v2", window=128, frames=3).eval()
        restorer = registry.make("restorers", "burst", model=three)
        for count in (2, 5):
            frames = burst(count, 150)
            assert np.array_equal(restorer([frames])[0].counts, frames.image)

    def test_a_model_of_single_images_is_refused(self) -> None:
        for single in ("gran-em", registry.make("nets", "edsr", channels=1, width=4, blocks=1)):
            with pytest.raises(BadModelError, match="single images"):
                registry.make("restorers", "burst", model=single)


class TestBaselines:
    @pytest.mark.parametrize("by", ["mean", "median", "shift_and_add"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_five_frames_are_better_than_one(self, by: str, dtype: str) -> None:
        frames = burst(dtype=dtype)
        got = registry.make("restorers", "merge", by=by)([frames])[0].counts
        assert got.dtype == frames.counts.dtype
        assert error(got, frames) < 0.6 * error(frames.image, frames)

    def test_the_best_frame_is_the_sharpest(self) -> None:
        frames = burst(noise=0.01, dtype="float32")
        blurred = np.stack([ndimage.gaussian_filter(f, s) for f, s in zip(frames.counts, (3, 2, 0, 2, 4), strict=True)])
        got = registry.make("restorers", "merge", by="best")([Frames(blurred, contrast=UNIT)])[0].counts
        assert np.array_equal(got, blurred[2])

    def test_shift_and_add_moves_frames_by_parts_of_a_pixel(self) -> None:
        sharp = ndimage.gaussian_filter(truth(128), 1.0)
        shifts = [(0, 0), (0.4, -0.7), (-0.8, 0.3), (0.6, 0.6)]
        planes = np.stack([ndimage.shift(sharp, s, order=5, mode="mirror") for s in shifts]).astype(np.float32)
        frames = Frames(planes, contrast=UNIT)
        inner = np.s_[8:-8, 8:-8]
        errors = {
            by: np.abs(registry.make("restorers", "merge", by=by)([frames])[0].counts - sharp)[inner].mean()
            for by in ("mean", "shift_and_add")
        }
        assert errors["shift_and_add"] < 0.3 * errors["mean"]

    def test_what_restores_single_images_may_come_after(self) -> None:
        frames = burst(noise=0.03)
        soft = np.stack([ndimage.gaussian_filter(f.astype(float), 1.5) for f in frames.counts]).round().astype(np.uint8)
        seen = Frames(soft, 0, frames.contrast)
        mean = registry.make("restorers", "merge")([seen])[0].counts
        for then, options in (("wiener", {"noise": 0.01}), ("richardson_lucy", {"iterations": 10})):
            got = registry.make("restorers", "merge", then=then, options={"sigma_px": 1.5, **options})([seen])[0].counts
            assert error(got, frames) < error(mean, frames)
        with pytest.raises(BadOptionError, match="by must be"):
            registry.make("restorers", "merge", by="magic")


class TestObjectives:
    def test_ssim_is_that_of_the_metric(self) -> None:
        metric, objective = registry.load("metrics", "ssim"), registry.make("objectives", "ssim", pixel=0.0)
        frames = burst(1, dtype="float32")
        batch = Batch(*(torch.from_numpy(a)[None] for a in (frames.counts, truth()[None])))
        loss = objective(nn.Identity(), batch)["structure"]
        assert 1 - float(loss) == pytest.approx(metric(frames.counts[0], truth()), abs=1e-4)

    def test_slopes_are_those_of_the_difference(self) -> None:
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
        batch = Batch((3 * x + 2 * y)[None, None], torch.zeros(1, 1, 16, 12))
        for kernel, normalise, expected in (
            ("forward", False, 2.5), ("prewitt", False, 15.0), ("prewitt", True, 2.5)
        ):  # fmt: skip
            made = registry.make("objectives", "gradient", kernel=kernel, normalise=normalise, slope=1.0)
            assert float(made(nn.Identity(), batch)["slope"]) == pytest.approx(expected)
        with pytest.raises(BadOptionError, match="kernel"):
            registry.make("objectives", "gradient", kernel="sobel")


class TestAdaptation:
    def bursts(self, count: int) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [(3 + 2 * rng.standard_normal((2, 64, 64))).astype(np.float32) for _ in range(count)]

    def moments(self, one: nn.Module) -> dict[str, torch.Tensor]:
        return {n: b.clone() for n, b in one.named_buffers() if "running" in n}

    def test_the_cumulative_form_forgets_and_the_literal_one_keeps_an_eighth(self) -> None:
        norm = nn.BatchNorm2d(1, affine=False)
        for momentum, left in ((0.1, 0.9**20), (None, 0.0)):
            norm.reset_running_stats()
            one = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), norm)
            nn.init.constant_(one[0].weight, 0.5)
            assert adapt.adapt(one, self.bursts(20), momentum) == 20
            assert float(norm.running_mean) == pytest.approx(3 * (1 - left), abs=0.02)
            assert norm.momentum == 0.1

    def test_only_statistics_change_and_dropout_stays_off(self) -> None:
        torch.manual_seed(0)
        one = registry.make("nets", "burst", width=4, growth=2, layers=1, levels=1, dropout=0.9).eval()
        parameters = {n: p.clone() for n, p in one.named_parameters()}
        before = self.moments(one)
        adapt.adapt(one, self.bursts(3))
        first = self.moments(one)
        assert all(torch.equal(p, parameters[n]) and p.requires_grad for n, p in one.named_parameters())
        assert any(not torch.equal(first[n], b) for n, b in before.items())
        assert not any(module.training for module in one.modules())
        again = registry.make("nets", "burst", width=4, growth=2, layers=1, levels=1, dropout=0.9).eval()
        again.load_state_dict({**parameters, **before}, strict=False)
        adapt.adapt(again, self.bursts(3))
        assert all(torch.equal(first[n], b) for n, b in self.moments(again).items())

    def test_what_cannot_be_adapted_is_refused(self) -> None:
        with pytest.raises(BadModelError, match="no batch norm"):
            adapt.adapt(registry.make("nets", "edsr", channels=1, width=4, blocks=1), self.bursts(1))
        with pytest.raises(BadOptionError, match="momentum"):
            adapt.adapt(net(), self.bursts(1), 0.0)
        with pytest.raises(BadOptionError, match="no burst"):
            adapt.adapt(net(), [])

    def test_crops_fit_the_model(self, model: Path) -> None:
        about = header.read(model)
        cut = list(adapt.crops([*self.bursts(2), np.zeros((2, 8, 8), np.float32)], about, 5, 50))
        assert [c.shape for c in cut] == [(2, 48, 48)] * 5
        single = about.model_copy(update={"frames": 1})
        assert [c.shape for c in adapt.crops(self.bursts(1), single, 2, 32)] == [(1, 32, 32)] * 2
        assert list(adapt.crops([], about, 5, 50)) == []


class TestMeters:
    @pytest.mark.parametrize("period", [2, 4, 8, 16])
    def test_a_faint_grid_is_found_at_its_period(self, period: int) -> None:
        rng = np.random.default_rng(0)
        ground = 0.02 * rng.standard_normal((256, 272))
        grid = np.tile(rng.standard_normal((period, period)), (256 // period, 272 // period))
        clean, spoilt = strengths(ground), strengths(ground + 0.01 * grid)
        assert max(clean.values()) < 3
        assert spoilt[period] > 8
        assert all(spoilt[longer] < 3 for longer in spoilt if longer > period)

    def test_tissue_shading_and_flat_ground_have_no_grid(self) -> None:
        shade = np.add.outer(np.linspace(0, 1, 200), np.linspace(0, 2, 300))
        for image in (truth(256), shade, np.full((128, 128), 0.3)):
            assert max(strengths(image).values()) < 3
        with pytest.raises(BadOptionError, match="at least 128"):
            strengths(truth(100))

    def test_transposed_convolutions_show_and_nearest_neighbours_do_not_so_much(self) -> None:
        ground = torch.from_numpy(0.5 + 0.01 * np.random.default_rng(0).standard_normal((1, 2, 192, 192))).float()
        found = {}
        for up in ("transposed", "nearest"):
            torch.manual_seed(0)
            one = registry.make("nets", "burst", base="unet", up=up, width=4, weight_norm=False).eval()
            with torch.no_grad():
                found[up] = max(strengths(one(ground)[0, 0].numpy()[32:-32, 32:-32]).values())
        assert found["transposed"] > 3 * found["nearest"]

    def test_probes_follow_from_their_seed(self) -> None:
        for kind in burst_phantoms.KINDS:
            first, again = (burst_phantoms.draw(kind, 1, side=256) for _ in range(2))
            assert np.array_equal(first.frames.counts, again.frames.counts)
            assert first.frames.counts.shape == (5, 256, 256)
            assert not np.array_equal(first.frames.counts, burst_phantoms.draw(kind, 2, side=256).frames.counts)
        with pytest.raises(BadOptionError, match="probes are"):
            burst_phantoms.draw("circles")

    def test_wobble_is_the_distance_from_straight_lines(self) -> None:
        straight = burst_phantoms.draw("lines", side=384).truth
        assert burst_phantoms.wobble(straight) < 0.03
        y, x = np.indices(straight.shape).astype(np.float64)
        turn = np.deg2rad(burst_phantoms.ANGLE_DEG)
        for amplitude in (0.5, 1.5):
            push = amplitude * np.sin((x * np.cos(turn) + y * np.sin(turn)) / 8)
            bent = ndimage.map_coordinates(straight, (y + push * np.cos(turn), x - push * np.sin(turn)), mode="nearest")
            assert burst_phantoms.wobble(bent) == pytest.approx(amplitude / 2**0.5, rel=0.2)

    def test_a_restorer_is_judged_by_numbers(self) -> None:
        found = {
            by: burst_phantoms.judge(registry.make("restorers", "merge", by=by), side=256) for by in ("mean", "best")
        }
        assert found["mean"]["shapes_db"] > found["best"]["shapes_db"]
        assert found["mean"]["wobble_px"] < found["best"]["wobble_px"]
        assert {"grid_2", "grid_16", "crossed_db", "lines_db"} <= found["mean"].keys()


def test_training_examples_of_a_burst_reach_the_loss() -> None:
    """Noisy, moved copies of a sharp crop, as the simulator of streams makes them."""
    sharp = truth()
    example = Example(Frames(np.repeat(sharp[None], 5, 0), contrast=UNIT), sharp)
    seen = registry.make("degradations", "motion", length_px=(3.0, 6.0))(example, np.random.default_rng(0))
    batch = Batch(*(torch.from_numpy(np.ascontiguousarray(a))[None] for a in (seen.frames.counts, sharp[None])))
    one = net().train()
    losses = registry.make("objectives", "gradient")(one, batch)
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in one.parameters())
