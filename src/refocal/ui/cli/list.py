"""The command list."""

from itertools import takewhile
from typing import Annotated

import typer

from refocal.core import registry
from refocal.core.errors import MissingExtraError, UnknownPartError, nearest
from refocal.learn import recipe
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import print_rows

_SHIPPED = {"models": header.shipped, "recipes": recipe.shipped}


@app.command("list", rich_help_panel=Panel.LOOK)
def list_command(
    family: Annotated[
        str | None, typer.Argument(help="A family of parts, models or recipes; without it, the families are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the parts of a family, or the models and recipes that ship.

    For example:

        refocal list degradations

        refocal list models
    """
    known = (*registry.families(), *_SHIPPED)
    if family is None:
        rows = [{"family": name, "parts": ", ".join(_names(name))} for name in known]
    elif family in known:
        rows = [{"name": name, "what": _about(family, name)} for name in _names(family)]
    else:
        raise UnknownPartError(f"no family named {family!r}.{nearest(family, known)}")
    print_rows(rows, as_json)


def _names(family: str) -> tuple[str, ...]:
    return tuple(_SHIPPED[family]()) if family in _SHIPPED else registry.names(family)


def _about(family: str, name: str) -> str:
    try:
        if family == "models":
            found = header.read(header.find(name))
            return f"{found.net}, {found.licence}, trained {found.training.seconds / 60:.0f} min"
        if family == "recipes":
            lines = recipe.shipped()[name].read_text(encoding="utf-8").splitlines()
            return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
        part = registry.load(family, name)
    except MissingExtraError as error:
        return str(error)
    return (part.__doc__ or "").strip().partition("\n")[0]
