"""What every objective promises: finite losses that reach every parameter and fall, and a state that is complete."""

from typing import Any, ClassVar

import torch
from torch import nn

from refocal.core import registry
from refocal.parts.objectives._batch import Batch
from refocal.testing._part import PartContract

__all__ = ["Batch", "ObjectiveContract"]


class ObjectiveContract(PartContract):
    """Override `net` and `batch` where the objective is not for one restored image."""

    family: ClassVar[str] = "objectives"

    def net(self, kind: str) -> nn.Module:
        """Return a small net to be trained, the same at every call."""
        torch.manual_seed(1)
        made: nn.Module = registry.make("nets", "edsr", channels=1, width=4, blocks=1)
        return made

    def batch(self, kind: str) -> Batch:
        """Return what is learnt from, the same at every call."""
        torch.manual_seed(0)
        truth = torch.rand(2, 1, 32, 32)
        return Batch(_blur(truth), truth, {"unlabelled": _blur(torch.rand(2, 1, 32, 32))})

    def distance(self, net: nn.Module, batch: Batch) -> float:
        """Return how far the net is from the truth."""
        return float((net(batch.frames).detach() - batch.truth).abs().mean())

    def test_losses_are_finite_scalars_that_reach_every_parameter(self, kind: str) -> None:
        net = self.net(kind)
        losses = self.make(kind)(net, self.batch(kind))
        assert losses
        assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())

    def test_twenty_steps_bring_the_net_closer_to_the_truth(self, kind: str) -> None:
        net, objective, batch = self.net(kind), self.make(kind), self.batch(kind)
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        before = self.distance(net, batch)
        for _ in range(20):
            optimiser.zero_grad()
            sum(objective(net, batch).values()).backward()
            optimiser.step()
        assert self.distance(net, batch) < 0.8 * before

    def test_it_leaves_the_batch_alone(self, kind: str) -> None:
        batch, before = self.batch(kind), self.batch(kind)
        self.make(kind)(self.net(kind), batch)
        assert torch.equal(before.frames, batch.frames)
        assert torch.equal(before.truth, batch.truth)
        assert all(torch.equal(before.hints[name], hint) for name, hint in batch.hints.items())

    def test_its_state_is_all_that_the_next_step_needs(self, kind: str) -> None:
        first, second = self.make(kind), self.make(kind)
        first(self.net(kind), self.batch(kind))
        second.load_state_dict(first.state_dict())
        results: list[dict[str, Any]] = []
        for objective in (first, second):
            net, batch = self.net(kind), self.batch(kind)
            torch.manual_seed(3)
            results.append(objective(net, batch))
        assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def _blur(truth: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool2d(truth, 3, 1, 1)
