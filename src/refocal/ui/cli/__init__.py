"""The command line: parse, call, show. Data go to standard output or files, words to standard error.

Exit codes: 0 done, 1 some tiles failed (each is named), 2 the request was wrong, 130 interrupted. What is meant to be
ended by Ctrl-C, a watch and the dashboard, then exits with 0.
"""

import importlib
import pkgutil
import sys
from typing import Annotated, NoReturn

import typer

from refocal.core.errors import RefocalError, UsageError
from refocal.core.version import __version__

__all__ = ["app", "load", "main"]

app = typer.Typer(
    name="refocal",
    help="Grade electron-microscopy tiles, restore the soft ones, list what must be retaken, show the proof.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
_INTERRUPTED = 130
_FIRST = ("restore", "grade", "watch", "dashboard", "calibrate", "handoff")
"""Modules whose commands come first in the help."""


def _version(asked: bool) -> None:
    if asked:
        print(f"refocal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and stop", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every error is one line."""
    try:
        load(sys.argv[1] if len(sys.argv) > 1 else "")
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        _say(error, 2)
    except (RefocalError, OSError) as error:
        _say(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        # The parser's errors: typer brings its own copy of click's classes, or uses click's, as its version goes.
        if not hasattr(error, "format_message"):
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "refocal")
        _say(f"{error.format_message().rstrip('.')}; see {command} --help", 2)
    if code == _INTERRUPTED:
        _say("interrupted; run the same command again to go on", _INTERRUPTED)
    sys.exit(code)


def load(command: str = "") -> None:
    """Import the modules of this package, which register their commands; daily work comes first in the help.

    The module named after a command is enough for it, and the others would take longer than a tile.
    """
    found = {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}
    if command in found:
        importlib.import_module(f"refocal.ui.cli.{command}")
        return
    for commands in (*_FIRST, *sorted(found.difference(_FIRST))):
        importlib.import_module(f"refocal.ui.cli.{commands}")


def _say(error: object, code: int) -> NoReturn:
    print(f"refocal: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)
