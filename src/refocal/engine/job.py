"""A job: what is run on which tiles, as one flat frozen document, and the function that runs it.

The resolved job (model hash, contrast and version included) is the first line of the log; its SHA-256 decides what a
second run may rely on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from refocal.core import registry
from refocal.core.documents import DocumentError, read_yaml
from refocal.core.errors import BadOptionError, UnsupportedError, UsageError, quoted
from refocal.core.values import CalibratedGate, Contrast, Gate, LearnedRestorer, Restorer
from refocal.core.version import __version__
from refocal.engine import backends
from refocal.engine.check import Checker
from refocal.engine.logged_run import Begun, logged_run
from refocal.engine.loop import Check, Summary, run
from refocal.engine.tiles.contrasts import Contrasts
from refocal.engine.tiles.neighbours import OriginSink, Sections
from refocal.engine.tiles.tiles import Carry, TileSink, TileSource, check_output, estimate_contrast
from refocal.eventlog.log import LOG as LOG
from refocal.eventlog.log import Event

RETAKES, REPORT = "retake.csv", "report.html"
"""Names of the files that a run leaves in its output folder, beside the log."""

Progress = Callable[[Event, int], None]
"""Called with each tile's event and the number of tiles known so far."""


class Part(BaseModel):
    """One part of a family, with its options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    options: dict[str, Any] = {}

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read `kind` or `kind:option=value,option=value`; values are YAML.

        Raises
        ------
        BadOptionError
            If it is not written so.
        """
        kind, sign, options = text.partition(":")
        try:
            found = read_yaml("{" + options.replace("=", ": ") + "}") if sign else {}
        except DocumentError as error:
            raise BadOptionError(f"{quoted(text)} is not kind:option=value,option=value ({error})") from error
        if not kind or not isinstance(found, dict) or not all(isinstance(k, str) for k in found):
            raise BadOptionError(f"{quoted(text)} is not kind:option=value,option=value")
        return cls(kind=kind, options=found)

    def make(self, family: str) -> Any:
        """Make the part."""
        return registry.make(family, self.kind, **self.options)


class Job(BaseModel):
    """What is done with each tile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "gran-em"
    """A shipped model, or the path of one; used unless `restorer` is set."""
    backend: str = "auto"
    restorer: Part | None = None
    gate: Part = Part(kind="sharpness")
    contrast: tuple[float, float] | None = None
    """Counts that mean 0 and 1 for tiles that are not uint8; None estimates one for the whole run."""
    carry: Carry = "copy"
    neighbours: int = Field(0, ge=0, le=8)
    """Sections on each side that a restorer sees beside the section itself."""
    check: bool = False
    """Check each restored tile (`refocal.engine.check`); what fails is left as it was and is to be taken again."""
    batch: int = Field(1, ge=1, le=64)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job whose every part is made and checked, before any tile is touched."""

    restorer: Restorer
    gate: Gate
    check: Check | None
    resolved: Mapping[str, Any]


def learned(job: Job) -> Restorer:
    """Return the restorer of a job: the one it names, or its model on the backend of this machine."""
    restorer: Restorer = job.restorer.make("restorers") if job.restorer else backends.learned(job.model, job.backend)
    return restorer


def prepare(job: Job, restorer: Restorer | None = None) -> Prepared:
    """Make the parts of a job and resolve what it does not say; `restorer` stands in for the job's own."""
    made = restorer or learned(job)
    resolved = {
        **job.model_dump(mode="json"),
        "refocal": __version__,
        "restored_by": type(made).__name__,
        "model_sha256": made.model_sha256 if isinstance(made, LearnedRestorer) else None,
    }
    gate = job.gate.make("gates")
    if isinstance(gate, CalibratedGate):
        resolved["calibration_sha256"] = gate.sha256  # another calibration under the same name is another job
    return Prepared(made, gate, Checker(gate) if job.check else None, resolved)


def run_job(
    inputs: Sequence[Path],
    out: Path,
    job: Job,
    *,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    restorer: Restorer | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Run a job over files and folders into `out`; what an earlier run of the same job settled is not done again.

    Parameters
    ----------
    inputs
        Image files and folders; opened read-only.
    out
        Receives the same relative names, `log.jsonl` and `retake.csv`.
    shard
        (i, n): do only each n-th file from the i-th on.
    overwrite
        Do everything again where `out` holds the work of another job, instead of refusing.
    restorer
        Stands in for the job's own.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any tile is touched.
    """
    source = TileSource(inputs, contrast=Contrast(*job.contrast) if job.contrast else None, shard=shard)
    prepared = prepare(job, restorer)
    check_output(inputs, out, job.carry)
    if source.contrast is None:
        source.contrast = estimate_contrast(source)
    refuse_pixel_size(prepared.gate, lambda: _first_pixel_size(source))
    resolved = {**prepared.resolved, "contrast": _logged(source.contrast)}

    def work(begun: Begun) -> Summary:
        sink = TileSink(out, source, carry=job.carry, done=begun.done, job_sha256=begun.job_sha256)
        return run(
            Sections(source, job.neighbours) if job.neighbours else source,
            prepared.restorer,
            OriginSink(sink, out) if job.neighbours else sink,
            gate=prepared.gate,
            check=prepared.check,
            log=begun.log,
            batch=job.batch,
            progress=None if progress is None else lambda event: progress(event, len(source)),
        )

    facts = {"shard": list(shard), "tiles": len(source)}
    summary = logged_run(out, resolved, inputs, work, overwrite=overwrite, retakes=out / RETAKES, facts=facts)
    if isinstance(source.contrast, Contrasts):
        summary.warnings.say(source.contrast.said, "")
    return summary


def _logged(contrast: Contrast | Contrasts | None) -> list[Any] | None:
    if isinstance(contrast, Contrasts):
        return contrast.logged
    return None if contrast is None else [contrast.low, contrast.high]


def refuse_pixel_size(gate: Gate, first: Callable[[], tuple[str, float | None]]) -> None:
    """Refuse a gate that was calibrated for another pixel size, before each tile fails for it.

    Parameters
    ----------
    first
        Returns the name of the first input and its pixel size; called only for a gate that was calibrated.

    Raises
    ------
    UsageError
        With both sizes.
    """
    if isinstance(gate, CalibratedGate):
        name, pixel_nm = first()
        try:
            gate.same_pixel(pixel_nm)
        except UnsupportedError as error:
            raise UsageError(f"{name}: {error}") from error


def _first_pixel_size(source: TileSource) -> tuple[str, float | None]:
    for block in source:
        if block.info:
            return block.key, block.info.pixel_nm
    return "", None
