"""The training loop.

One step: draw examples, ask the objective for named losses, descend. Everything random is a function of (seed, step),
so a run resumed from a checkpoint equals the uninterrupted run bit for bit (on the same machine and threads).
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import BadModelError, BadOptionError, DivergedError, quoted
from refocal.core.values import Degradation, Example
from refocal.learn import checkpoints
from refocal.learn.examples.tiles import Tiles, draw_examples
from refocal.learn.export.model_header import header_of
from refocal.learn.recipe import Recipe
from refocal.models import header, torch_weights
from refocal.parts.objectives._batch import Batch

Report = Callable[[Mapping[str, Any]], None]
Validate = Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a run."""

    net: nn.Module
    """The averaged net (the trained one where averaging is off), in evaluation mode."""
    steps: int
    seconds: float
    scores: Mapping[str, float]
    """Validation scores of these very weights, where there was a validation."""
    leads: bool = True
    """False in the helping processes of a run on several devices; only the leading one writes files."""


def train(
    recipe: Recipe,
    tiles: Tiles,
    out: Path,
    *,
    validate: Validate | None = None,
    report: Report | None = None,
    devices: int | None = None,
) -> Trained:
    """Train as the recipe says; resume from `out/last.ckpt` if it is there.

    Parameters
    ----------
    tiles
        Where sharp crops come from.
    out
        Folder for checkpoints (`last.ckpt`, `best.ckpt`), `train.jsonl` and TensorBoard events.
    validate
        Scores of a net; the checkpoint with the highest first score is kept as the best.
    report
        Called with every line of `train.jsonl`.
    devices
        Processes that share the work, each with its own batch; None takes all GPUs, or one on a CPU.

    Raises
    ------
    BadModelError, BadOptionError
        If `out` holds another recipe's checkpoint; if several processes shall stop by the clock; from `header_of`.
    DivergedError
        If a loss or a weight is not finite; the last checkpoint stays as it was.
    """
    if devices is not None and devices > 1 and recipe.minutes is not None:
        raise BadOptionError("`minutes` needs one process (each has a clock of its own); give steps instead")
    fabric = Fabric(accelerator="auto", devices=devices or _devices(), precision=_precision(recipe))
    fabric.launch()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    net, optimiser, objective = _make(recipe, fabric)
    model, optimiser = fabric.setup(net, optimiser)
    torch_weights.channels_last(model)
    mean = AveragedModel(net, multi_avg_fn=_average(recipe.ema)) if recipe.ema else None
    degradation = registry.make("degradations", recipe.degradation, **recipe.degradation_options)
    state = _State(recipe, net, mean, optimiser, objective, fabric.is_global_zero)
    state.resume(out / "last.ckpt")
    with _StepLog(out, report, fabric.is_global_zero) as journal:
        while not state.finished:
            began, busy = time.perf_counter(), time.process_time()
            examples = _draw(recipe, tiles, degradation, (recipe.seed, state.step, fabric.global_rank), net)
            losses = objective(model.train(), _stack(examples, fabric))
            _finite_or_stop(losses, state, fabric, out / "last.ckpt")
            rate = _descend(recipe, state, fabric, model, losses)
            state.advance(time.perf_counter() - began, time.process_time() - busy)
            journal.step(state, losses, rate)
            due = state.step % recipe.validate_every == 0 or state.finished
            if validate is not None and due and fabric.is_global_zero:
                journal.scores(state, state.judge(validate, out / "best.ckpt"))
            if state.step % recipe.checkpoint_every == 0 or due:
                state.save(out / "last.ckpt")
    return Trained(state.result, state.step, state.seconds, state.latest, fabric.is_global_zero)


def _draw(
    recipe: Recipe, tiles: Tiles, degradation: Degradation, seed: tuple[int, int, int], net: nn.Module
) -> list[Example]:
    """Draw the examples of a step; what the net itself draws depends on the step, too."""
    torch.manual_seed(recipe.seed * 1_000_003 + seed[1])
    jitter, invert, told = recipe.contrast_jitter, recipe.invert, getattr(net, "told", ())
    return draw_examples(tiles, degradation, recipe.batch, seed, jitter, invert, recipe.frames, told)


def _finite_or_stop(losses: Mapping[str, Tensor], state: "_State", fabric: Fabric, last: Path) -> None:
    # Summed over the devices, so that all of them stop, and none waits for the others for ever.
    values = fabric.all_reduce(torch.stack([loss.detach().float() for loss in losses.values()]), reduce_op="sum")
    bad = [name for name, value in zip(losses, values.tolist(), strict=True) if not math.isfinite(value)]
    if bad:
        raise state.diverged(f"the loss {bad[0]!r} is not finite", last)


def _descend(recipe: Recipe, state: "_State", fabric: Fabric, model: Any, losses: Mapping[str, Tensor]) -> float:
    """Take one step against the gradient of the summed losses and return the learning rate that was used."""
    rate = _rate(recipe, state)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad()
    fabric.backward(torch.stack(list(losses.values())).sum())
    if recipe.clip:
        fabric.clip_gradients(model, state.optimiser, max_norm=recipe.clip, error_if_nonfinite=False)
    state.optimiser.step()
    if state.mean is not None:
        state.mean.update_parameters(state.net)
    return rate


def _make(recipe: Recipe, fabric: Fabric) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    net: nn.Module = registry.make("nets", recipe.net, **recipe.net_options)
    about = header_of(recipe, net)
    if recipe.start is not None:
        adopt(net, _tensors(recipe.start, about.channels))
    objective: nn.Module = registry.make("objectives", recipe.objective, **recipe.objective_options)
    optimiser = torch.optim.Adam(net.parameters(), recipe.lr, recipe.betas, foreach=True)
    return net, optimiser, objective.to(fabric.device)


def adopt(net: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    """Copy the tensors that fit a net by name and shape; return how many did.

    With zero-initialised residual blocks a short trunk thus grows into a long one without changing its output.

    Raises
    ------
    BadModelError
        If none fits.
    """
    own = net.state_dict()
    fitting = {k: v.to(own[k].dtype) for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise BadModelError(f"nothing in the start model fits {type(net).__name__}; start from a model of that net")
    net.load_state_dict(fitting, strict=False)
    return len(fitting)


def _tensors(start: str, channels: int) -> Mapping[str, Tensor]:
    if start.startswith("timm:"):
        from refocal.learn.timm_weights import timm_tensors

        return timm_tensors(start.removeprefix("timm:"), channels)
    if (path := Path(start)).suffix == ".ckpt":
        loaded = checkpoints.read(path)
        found = loaded["mean"] or loaded["net"]
        return {n: t for n, t in found.items() if isinstance(t, Tensor)} if isinstance(found, dict) else {}
    return dict(torch_weights.load(header.find(start)).state_dict())


def _average(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def update(mean: list[Tensor], now: list[Tensor], seen: Tensor | int) -> None:
        # Early on the mean follows fast, or it would be the random start for the first 1 / (1 - decay) steps.
        early = (1 + int(seen)) / (10 + int(seen))
        torch._foreach_lerp_(mean, now, 1 - min(decay, early))

    return update


def _devices() -> int:
    return max(1, torch.cuda.device_count())


def _precision(recipe: Recipe) -> Any:
    if recipe.precision != "auto":
        return recipe.precision
    fast = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return "bf16-mixed" if fast else "32-true"


def _rate(recipe: Recipe, state: "_State") -> float:
    warm = min(1.0, (state.step + 1) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "halve":
        return recipe.lr * warm * 0.5 ** (state.step // recipe.halve_every)
    return recipe.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, state.progress))))


def _stack(examples: list[Example], fabric: Fabric) -> Batch:
    frames = torch.from_numpy(np.stack([e.frames.counts for e in examples]))
    truth = torch.from_numpy(np.stack([e.truth[None] for e in examples]))
    stacked = {name: torch.from_numpy(np.stack([e.hints[name] for e in examples])) for name in examples[0].hints}
    if "told" in stacked:
        told = stacked.pop("told")[:, :, None, None].expand(-1, -1, *frames.shape[2:])
        frames = torch.cat([frames, told], dim=1)
    hints = {name: fabric.to_device(target) for name, target in stacked.items()}
    return Batch(fabric.to_device(frames.contiguous(memory_format=torch.channels_last)), fabric.to_device(truth), hints)


class _State:
    """Everything that a checkpoint holds."""

    def __init__(
        self,
        recipe: Recipe,
        net: nn.Module,
        mean: AveragedModel | None,
        optimiser: torch.optim.Optimizer,
        objective: nn.Module,
        writes: bool,
    ) -> None:
        self.writes = writes
        self.recipe, self.net, self.mean, self.optimiser, self.objective = recipe, net, mean, optimiser, objective
        self.step = 0
        self.seconds = 0.0
        self.compute = 0.0
        self.scores: dict[str, float] = {}
        self.latest: dict[str, float] = {}

    @property
    def progress(self) -> float:
        if self.recipe.minutes is not None:
            return self.compute / (60 * self.recipe.minutes)
        return self.step / self.recipe.steps

    @property
    def finished(self) -> bool:
        return self.step >= self.recipe.steps or self.progress >= 1

    @property
    def result(self) -> nn.Module:
        net: nn.Module = self.net if self.mean is None else self.mean.module
        return net.eval()

    def advance(self, seconds: float, compute: float) -> None:
        self.step += 1
        self.seconds += seconds
        self.compute += compute / torch.get_num_threads()

    def judge(self, validate: Validate, best: Path) -> dict[str, float]:
        """Score the result; save the checkpoint as the best one if it is."""
        self.latest = dict(validate(self.result))
        if self.better(self.latest):
            self.save(best)
        return self.latest

    def better(self, scores: Mapping[str, float]) -> bool:
        key = next(iter(scores), None)
        if key is None or not scores[key] > self.scores.get(key, -math.inf):
            return False
        self.scores = dict(scores)
        return True

    def save(self, path: Path) -> None:
        learned = {**self.net.state_dict(), **self.objective.state_dict()}
        if any(t.is_floating_point() and not t.isfinite().all() for t in learned.values() if isinstance(t, Tensor)):
            raise self.diverged("a weight is not finite", path.with_name("last.ckpt"))
        if not self.writes:
            return
        content = {
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "compute": self.compute,
            "scores": self.scores,
            "latest": self.latest,
            "net": self.net.state_dict(),
            "mean": None if self.mean is None else self.mean.module.state_dict(),
            "averaged": None if self.mean is None else self.mean.n_averaged,
            "optimiser": self.optimiser.state_dict(),
            "objective": self.objective.state_dict(),
        }
        with writing(path) as part:
            torch.save(content, part)

    def diverged(self, what: str, last: Path) -> DivergedError:
        if not last.exists():
            good = "no checkpoint was made before; start again with a smaller lr, or with clip=1"
        else:
            step = checkpoints.read(last)["step"]
            good = f"{last} holds step {step}, the last good one; give it as start= with a smaller lr and another --out"
        return DivergedError(f"training stopped after step {self.step}: {what}; {good}")

    def resume(self, path: Path) -> None:
        if not path.exists():
            return
        content = checkpoints.read(path)
        try:
            same = json.loads(content["recipe"]) == json.loads(self.recipe.model_dump_json())
        except (TypeError, ValueError):
            same = False
        if not same:
            raise BadModelError(f"{path} was made by another recipe; give another folder or remove it")
        try:
            self._take(content)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise BadModelError(f"{path} does not fit its recipe ({quoted(str(error), 120)}); remove it") from error

    def _take(self, content: Mapping[str, Any]) -> None:
        self.step, self.seconds = int(content["step"]), float(content["seconds"])
        self.compute = content["compute"]
        self.scores, self.latest = content["scores"], content["latest"]
        self.net.load_state_dict(content["net"])
        if self.mean is not None:
            self.mean.module.load_state_dict(content["mean"])
            self.mean.n_averaged.copy_(content["averaged"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.objective.load_state_dict(content["objective"])


class _StepLog:
    """`train.jsonl` and TensorBoard, one line every few steps."""

    every = 10

    def __init__(self, out: Path, report: Report | None, writes: bool) -> None:
        self.out, self.report, self.writes = out, report, writes

    def __enter__(self) -> "_StepLog":
        if not self.writes:
            return self
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(self.out / "tensorboard"))
        self._file = (self.out / "train.jsonl").open("a")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.writes:
            return
        self._board.close()
        self._file.close()

    def step(self, state: _State, losses: Mapping[str, Tensor], rate: float) -> None:
        if not self.writes or (state.step % self.every and not state.finished):
            return
        named = {name: round(float(loss.detach()), 6) for name, loss in losses.items()}
        self._line(state, {**named, "lr": rate})

    def scores(self, state: _State, scores: Mapping[str, float]) -> None:
        self._line(state, dict(scores))

    def _line(self, state: _State, values: dict[str, float]) -> None:
        line = {"step": state.step, "steps": state.recipe.steps, "seconds": round(state.seconds, 2), **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, state.step)
        if self.report is not None:
            self.report({**line, "progress": state.progress})
