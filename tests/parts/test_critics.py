"""Critics, what they are shown, and the losses of the nets that this toolkit compares."""

import numpy as np
import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.parts.objectives import _critics
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._diffaugment import EVERYTHING, augment


@pytest.mark.parametrize(
    ("channels", "layers", "padding", "parameters", "scores"),
    [
        (1, _critics.SGPN_CRITIC, 1, 2_762_689, 15),
        (3, _critics.PATCH, 2, 2_764_737, 35),
        (3, _critics.FULL, 2, 11_154_369, 11),
    ],
)
def test_critics_have_the_sizes_of_the_design(channels, layers, padding, parameters, scores) -> None:
    # Not on the meta device, whose first pass imports more than this computes.
    critic = _critics.patch_critic(channels, layers, padding)
    with torch.no_grad():
        assert critic(torch.zeros(1, channels, 256, 256)).shape == (1, 1, scores, scores)
    assert sum(p.numel() for p in critic.parameters()) == parameters


class TestAugment:
    def test_each_image_draws_its_own_change_and_passes_gradients(self) -> None:
        torch.manual_seed(0)
        for change in EVERYTHING:
            image = torch.rand(1, 1, 32, 48).expand(4, 1, 32, 48).clone().requires_grad_()
            changed = augment(image, (change,))
            assert changed.shape == image.shape
            assert any(not torch.equal(changed[0], other) for other in changed[1:]), change
            changed.sum().backward()
            assert image.grad.abs().sum() > 0

    def test_brightness_moves_by_at_most_a_half(self) -> None:
        image = torch.zeros(200, 1, 4, 4)
        moved = augment(image, ("brightness",)).mean((1, 2, 3))
        assert moved.abs().max() <= 0.5
        assert moved.min() < -0.4
        assert moved.max() > 0.4

    def test_contrast_keeps_the_mean(self) -> None:
        image = torch.rand(50, 1, 16, 16)
        changed = augment(image, ("contrast",))
        assert torch.allclose(changed.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-6)
        ratio = changed.std((1, 2, 3)) / image.std((1, 2, 3))
        assert 0.5 <= ratio.min() < 0.7
        assert 1.3 < ratio.max() <= 1.5

    def test_translation_equals_cutting_and_padding(self) -> None:
        torch.manual_seed(1)
        image = torch.rand(1, 2, 16, 24).expand(40, 2, 16, 24)
        padded = nn.functional.pad(image[:1], (3, 3, 2, 2))
        possible = [padded[0, :, y : y + 16, x : x + 24] for y in range(5) for x in range(7)]
        moved = augment(image, ("translation",))
        found = {next(i for i, p in enumerate(possible) if torch.equal(p, m)) for m in moved}
        assert len(found) > 10

    def test_cutout_blanks_at_most_a_quarter(self) -> None:
        blanked = (augment(torch.ones(100, 1, 32, 32), ("cutout",)) == 0).float().mean((1, 2, 3))
        assert blanked.max() <= 0.25
        assert blanked.max() > 0.2
        assert blanked.min() >= 1 / 16

    def test_unknown_changes_are_refused(self) -> None:
        with pytest.raises(BadOptionError, match="cutout"):
            registry.make("objectives", "least_squares_gan", augment=["mirror"])


class Identity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.gain


def test_charbonnier_and_fourier_equal_the_formula(rng: np.random.Generator) -> None:
    seen, truth = rng.random((2, 3, 1, 8, 10))
    losses = registry.make("objectives", "charbonnier_fft")(
        Identity().double(), Batch(*map(torch.from_numpy, (seen, truth)))
    )
    both = np.fft.fft2(seen) - np.fft.fft2(truth)
    # The objective computes in float32.
    assert losses["charbonnier"].item() == pytest.approx(np.sqrt((seen - truth) ** 2 + 1e-6).mean(), rel=1e-5)
    expected = 0.01 * (np.abs(both.real).mean() + np.abs(both.imag).mean()) / 2
    assert losses["fourier"].item() == pytest.approx(expected, rel=1e-4)


def test_relativistic_losses_equal_the_formula() -> None:
    torch.manual_seed(0)
    objective = registry.make("objectives", "relativistic_gan", width=8, perceptual=0.0)
    truth = torch.rand(2, 1, 32, 32)
    batch, net = Batch(truth.roll(3, 3), truth), Identity()
    objective(net, batch)  # one step: the means are those of this step, the critics have learned since
    with torch.no_grad():
        parts = []
        for relative in objective.critics:
            fake, real = relative.critic(batch.frames), relative.critic(truth)
            (fakes, reals) = relative.recent[:, 0]
            parts.append((((real - fakes + 1) ** 2).mean() + ((fake - reals - 1) ** 2).mean()) / 2)
        losses = objective(net, batch)
    assert losses["adversarial"].item() == pytest.approx(0.001 * torch.stack(parts).mean().item(), rel=1e-5)
    assert losses["content"].item() == pytest.approx(2 * (batch.frames - truth).square().mean().item(), rel=1e-5)


def test_means_of_the_relativistic_loss_forget() -> None:
    objective = registry.make("objectives", "relativistic_gan", width=8, perceptual=0.0)
    relative = objective.critics[0]
    relative.seen += 57
    relative.learn(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32))
    assert int(relative.seen) == 58
    assert relative.recent[:, 7].abs().sum() > 0


class TestSemiSupervised:
    def test_unsupervised_term_is_zero_between_equals(self) -> None:
        objective = registry.make("objectives", "semi_supervised", width=8, perceptual=0.0, augment=[])
        truth = torch.rand(2, 1, 32, 32)
        losses = objective(Identity(), Batch(truth, truth, {"unlabelled": truth}))
        assert losses["unsupervised"].item() == pytest.approx(0, abs=1e-10)
        assert losses["content"].item() == 0

    def test_it_needs_tiles_without_truth_unless_the_term_is_off(self) -> None:
        truth = torch.rand(1, 1, 32, 32)
        with pytest.raises(BadOptionError, match="unlabelled"):
            registry.make("objectives", "semi_supervised", width=8, perceptual=0.0)(Identity(), Batch(truth, truth))
        losses = registry.make("objectives", "semi_supervised", width=8, perceptual=0.0, unsupervised=0.0)(
            Identity(), Batch(truth, truth)
        )
        assert set(losses) == {"content", "adversarial"}

    def test_features_come_from_one_place(self) -> None:
        with pytest.raises(BadOptionError, match="not both"):
            registry.make("objectives", "semi_supervised", vgg="a", model="b")
        with pytest.warns(UserWarning, match="perceptual term is off"):
            registry.make("objectives", "semi_supervised")
        with pytest.raises(BadOptionError, match="give vgg"):
            registry.make("objectives", "perceptual")


@pytest.mark.parametrize(("kind", "distance"), [("deepdeblur", "l1"), ("srn", "l2")])
def test_every_scale_is_compared_with_the_truth_of_its_size(kind: str, distance: str) -> None:
    torch.manual_seed(0)
    small = {"deepdeblur": {"width": 4, "blocks": 1}, "srn": {"widths": [3, 4, 6], "blocks": 1}}
    net = registry.make("nets", kind, channels=1, **small[kind])
    truth = torch.rand(1, 1, 32, 48)
    losses = registry.make("objectives", "multi_scale", distance=distance)(net, Batch(truth, truth))
    assert list(losses) == ["1/4", "1/2", "1/1"]
    assert [t.shape[2:] for t in net.levels(truth)] == [(8, 12), (16, 24), (32, 48)]
    assert all(torch.allclose(level, torch.full_like(level, 0.3)) for level in net.levels(truth * 0 + 0.3))


def test_multi_scale_refuses_nets_with_one_scale() -> None:
    with pytest.raises(BadOptionError, match="got Identity"):
        registry.make("objectives", "multi_scale")(Identity(), Batch(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)))
