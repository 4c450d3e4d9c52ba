"""The command verify."""

from typing import Annotated, Any

import typer

from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import Quiet, Shard, shard_of


@app.command("verify", rich_help_panel=Panel.VOLUMES)
def verify(
    out: Annotated[str, typer.Argument(help="Output volume of restore or cluster: a path or a URL.")],
    shard: Shard = "0/1",
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget blocks that differ, so that another run restores them.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compare a restored volume with its recorded hashes.

    Names each block that differs from its record, and each that is not done. Exit code 1 if any is named.

    For example:

        refocal verify restored.zarr

        refocal verify restored.zarr --forget
    """
    from refocal.engine.volumes import verify_volume

    errors: list[str] = []

    def show(event: Any, total: int) -> None:
        if event["error"]:
            errors.append(event["error"])

    summary = verify_volume(out, shard=shard_of(shard), forget=forget, progress=show)
    for error in errors:
        print(error)
    if not quiet:
        same = sum(summary.counts.values()) - len(errors)
        of = same + len(errors)
        typer.echo(f"{same} of {of} blocks are as recorded, read in {summary.seconds:.1f} s", err=True)
        if errors and forget:
            typer.echo("blocks that differ are forgotten; run the restoration again to replace them", err=True)
        elif errors:
            typer.echo("to replace blocks that differ: verify with --forget, then run the restoration again", err=True)
    raise typer.Exit(1 if summary.failed else 0)
