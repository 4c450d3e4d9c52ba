"""The command list."""

from typing import Annotated

import typer

from refocal.core import registry
from refocal.core.errors import MissingExtraError, UnknownPartError, nearest
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import print_rows


@app.command("list", rich_help_panel=Panel.LOOK)
def list_command(
    family: Annotated[
        str | None, typer.Argument(help="A family of parts, or models; without it, the families are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the parts of a family, or the shipped models.

    For example:

        refocal list degradations

        refocal list models
    """
    known = (*registry.families(), "models")
    if family is None:
        rows = [{"family": name, "parts": ", ".join(_names(name))} for name in known]
    elif family in known:
        rows = [{"name": name, "what": _about(family, name)} for name in _names(family)]
    else:
        raise UnknownPartError(f"no family named {family!r}.{nearest(family, known)}")
    print_rows(rows, as_json)


def _names(family: str) -> tuple[str, ...]:
    return header.shipped() if family == "models" else registry.names(family)


def _about(family: str, name: str) -> str:
    try:
        if family == "models":
            found = header.read(header.find(name))
            return f"{found.net}, {found.licence}, trained {found.training.seconds / 60:.0f} min"
        part = registry.load(family, name)
    except MissingExtraError as error:
        return str(error)
    return (part.__doc__ or "").strip().partition("\n")[0]
