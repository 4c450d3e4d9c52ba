"""Commands about volumes: verify, and what restore does with a volume."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from refocal.core.errors import BadOptionError
from refocal.engine.job import Job
from refocal.engine.loop import Summary
from refocal.ui.cli import app

Triple = tuple[int, int, int]


@app.command()
def verify(
    out: Annotated[str, typer.Argument(help="output volume of refocal restore or refocal cluster: a path or a URL")],
    shard: Annotated[str, typer.Option(help="I/N: look at each N-th block only, from the I-th on")] = "0/1",
    forget: Annotated[bool, typer.Option(help="forget what differs, so that restoring again does it")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no summary")] = False,
) -> None:
    """Read a restored volume again, compare each block with its recorded hash, and name what differs.

    Blocks that are not done are named too. Exit code 1 if any is named.

    For example:

        refocal verify restored.zarr

        refocal verify restored.zarr --forget
    """
    from refocal.engine.volumes import verify_volume
    from refocal.ui.cli.restore import _shard

    errors: list[str] = []

    def show(event: Any, total: int) -> None:
        if event["error"]:
            errors.append(event["error"])

    summary = verify_volume(out, shard=_shard(shard), forget=forget, progress=show)
    for error in errors:
        print(error)
    if not quiet:
        same = sum(summary.counts.values()) - len(errors)
        of = same + len(errors)
        typer.echo(f"{same} of {of} blocks are as recorded, looked at in {summary.seconds:.1f} s", err=True)
        if errors and forget:
            typer.echo("what differs is forgotten; restore again to make it anew", err=True)
        elif errors:
            typer.echo("to make anew what differs: verify with --forget, then restore again", err=True)
    raise typer.Exit(1 if summary.failed else 0)


def restore_volume(
    inputs: list[str], out: str, job: Job, options: str | None, shard: tuple[int, int], overwrite: bool, show: Any
) -> Summary:
    """Restore one volume; errors as of `restore_volume`, and `BadOptionError` for several inputs."""
    from refocal.engine import volumes

    if len(inputs) != 1:
        raise BadOptionError(f"one volume at a time is restored, got {len(inputs)} inputs; run once for each")
    return volumes.restore_volume(
        inputs[0], out, job, storage(options), shard=shard, overwrite=overwrite, progress=show
    )


def storage(text: str | None) -> Any:
    """Read `chunk=16x512x512,shard=...,block=...,version=0.5,levels=3,section_nm=40` into a `Storage`.

    Raises
    ------
    BadOptionError
        If it is not written so.
    """
    from refocal.engine.volumes import Storage

    found = Storage()
    for part in filter(None, (text or "").split(",")):
        name, _, value = part.partition("=")
        try:
            if name in ("chunk", "shard", "block"):
                z, y, x = (int(n) for n in value.split("x"))
                given: Any = (z, y, x)
            elif (
                (name == "version" and value in ("0.4", "0.5"))
                or (name == "levels" and int(value) > 0)
                or (name == "section_nm" and float(value) > 0)
            ):
                given = {"version": str, "levels": int, "section_nm": float}[name](value)
            else:
                raise ValueError(part)
            found = replace(found, **{name: given})
        except ValueError as error:
            raise BadOptionError(
                f"--volume is chunk=ZxYxX, shard=ZxYxX, block=ZxYxX, version=0.4 or 0.5, levels=N, section_nm=NM, "
                f"separated by commas; got {part!r}"
            ) from error
    return found


def say(summary: Summary, out: str) -> None:
    """Print what was done."""
    words = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    what = f"{words}, each a section of a block," if words else "nothing to do"
    typer.echo(f"{what} in {summary.seconds:.1f} s", err=True)
    typer.echo(f"{out}  {out.rstrip('/')}.refocal", err=True)
