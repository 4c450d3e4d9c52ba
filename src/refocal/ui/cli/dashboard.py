"""The command dashboard."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import UsageError, missing_extra
from refocal.ui.cli import Panel, app


@app.command("dashboard", rich_help_panel=Panel.MICROSCOPE)
def dashboard(
    out: Annotated[Path, typer.Argument(help="Output folder of a run or a watch.")],
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="Secret that every visitor must give.", envvar="REFOCAL_TOKEN", show_envvar=True)
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File that holds the token.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another host name under which it is reached; repeat for more.")
    ] = None,
    index: Annotated[Path | None, typer.Option(help="Where to keep the index, if OUT cannot be written.")] = None,
) -> None:
    """Show a run or a watch live in the browser.

    Runs until Ctrl-C. What the operator decides goes into the log.

    For example:

        refocal dashboard restored

        refocal dashboard restored --host 0.0.0.0 --token-file token.txt
    """
    try:
        from refocal.ui.dashboard import serve
    except ImportError as error:
        raise missing_extra(error.name or "starlette", "dashboard") from error
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the token file {token_file}: {error}") from error
    with suppress(KeyboardInterrupt):
        serve(
            out, host=host, port=port, token=token, allow_hosts=allow_host or (), index=index,
            ready=lambda url: typer.echo(f"{url}  (Ctrl-C ends it)", err=True),
        )  # fmt: skip
    typer.echo("the dashboard is closed; the run that it showed continues without it", err=True)
