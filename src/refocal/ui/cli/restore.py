"""The command restore: tiles, or one volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import BadOptionError, UsageError
from refocal.engine.job import Job, Part, Progress, run_job
from refocal.engine.loop import Summary
from refocal.engine.tiles.listing import are_plain
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import (
    AsJson,
    Backend,
    Gate,
    Given,
    Limits,
    Model,
    OtherRestorer,
    Overwrite,
    Quiet,
    Shard,
    Stored,
    choice,
    limits_of,
    part_of,
    shard_of,
    storage,
)
from refocal.ui.cli._show import say_summary, say_volume, tile_page, watching


@app.command("restore", rich_help_panel=Panel.DAILY)
def restore(
    inputs: Given,
    out: Annotated[str, typer.Option("--out", "-o", help="Output folder with the same names and tree, or volume.")],
    model: Model = "gran-em",
    restorer: OtherRestorer = None,
    gate: Gate = "sharpness",
    backend: Backend = "auto",
    contrast: Limits = None,
    carry: Annotated[
        str, typer.Option(help="What to do with tiles that are not restored: copy, link (hard), symlink or skip.")
    ] = "copy",
    check: Annotated[
        bool, typer.Option("--check", help="Check each restored tile; one that fails is listed for retaking.")
    ] = False,
    shard: Shard = "0/1",
    overwrite: Overwrite = False,
    volume: Stored = None,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore soft tiles, copy good ones, list those to retake.

    Writes tiles under their names, `log.jsonl`, `retake.csv`, `report.html`. A second run continues where one stopped.

    For example:

        refocal restore section_0001 -o restored

        refocal restore tile.tif stack.tif -o out --gate always

        refocal restore wafer -o out --gate sharpness:retake_px=2.8 --shard 3/16

        refocal restore volume.zarr -o restored.zarr --gate always
    """
    job = Job(
        model=model,
        backend=backend,
        restorer=part_of(restorer),
        gate=Part.parse(gate),
        contrast=limits_of(contrast),
        carry=choice("--carry", carry, ("copy", "link", "symlink", "skip")),
        check=check,
    )
    whole_volume = volume is not None or _is_volume(inputs, out)
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        if whole_volume:
            summary = _restore_volume(inputs, out, job, volume, shard_of(shard), overwrite, progress)
        else:
            paths, part = [*map(Path, inputs)], shard_of(shard)
            summary = run_job(paths, Path(out), job, shard=part, overwrite=overwrite, progress=progress)
    if report and not whole_volume:
        tile_page(Path(out))
    if not quiet:
        say_volume(summary, out) if whole_volume else say_summary(summary, Path(out))
    raise typer.Exit(1 if summary.failed else 0)


def _is_volume(inputs: Sequence[str], out: str) -> bool:
    if are_plain(inputs, out):
        return False
    from refocal.parts.volume_formats import is_volume, names_volume

    if any(is_volume(given) or (Path(given).is_dir() and names_volume(given)) for given in inputs):
        return True
    if names_volume(out) and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise UsageError(
            f"{out} is the name of one volume or file; give one volume or stack, not several images, or name a folder"
        )
    return names_volume(out)


def _restore_volume(
    inputs: list[str],
    out: str,
    job: Job,
    options: str | None,
    shard: tuple[int, int],
    overwrite: bool,
    progress: Progress,
) -> Summary:
    """Restore one volume; errors as of `restore_volume`, and `BadOptionError` for several inputs."""
    from refocal.engine.volumes import restore_volume

    if len(inputs) != 1:
        raise BadOptionError(f"one volume at a time is restored, got {len(inputs)} inputs; run once for each")
    return restore_volume(inputs[0], out, job, storage(options), shard=shard, overwrite=overwrite, progress=progress)
