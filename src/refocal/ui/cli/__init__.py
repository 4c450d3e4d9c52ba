"""The command line: parse, call, show. Data go to standard output or files, words to standard error.

One file a command: `restore.py` holds `refocal restore`. No command imports another; what they share is in
`_options.py` (options and how they are read) and `_show.py` (what is printed). A command names its panel of the help
where it is declared.

Exit codes: 0 done, 1 some tiles failed (each is named), 2 the request was wrong, 130 interrupted. What is meant to be
ended by Ctrl-C, a watch and the dashboard, then exits with 0. 141: whoever read standard output closed it.
"""

import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from refocal.core.errors import RefocalError, UsageError
from refocal.core.version import __version__
from refocal.eventlog.fields import printed

__all__ = ["Panel", "app", "load", "main"]


class Panel(StrEnum):
    """The panels of `refocal --help`, in their order."""

    DAILY = "Every day"
    MICROSCOPE = "Beside the microscope"
    VOLUMES = "Volumes and clusters"
    STREAMS = "Folds and streams"
    MODELS = "Models"
    LOOK = "Look"


app = typer.Typer(
    name="refocal",
    help="Grade electron-microscopy tiles, restore the soft ones, list what must be retaken, show the proof.",
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
_INTERRUPTED, _CLOSED = 130, 141


def _version(asked: bool) -> None:
    if asked:
        print(f"refocal {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every error is one line."""
    given = sys.argv[1:]
    # A program that was started with a closed output has none at all.
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_warn, warnings.showwarning)
            load(given[0] if given else None)
            code = app(given or ["--help"], standalone_mode=False)
    except UsageError as error:
        _say(error, 2)
    except BrokenPipeError:
        # Whoever read standard output has seen enough; the interpreter must not complain when it flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _CLOSED
    except MemoryError:
        _say("out of memory; give smaller images, a smaller --batch, or a machine with more", 1)
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
        _say("interrupted; run the same command again to continue", _INTERRUPTED)
    sys.exit(code)


def load(command: str | None = None) -> None:
    """Import the command of this name, which registers it; all commands if there is none of this name."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    for name in [command] if command in found else found:
        importlib.import_module(f"refocal.ui.cli.{name}")
    order = (*Panel,)  # `list` is a command of this package by now
    app.registered_commands.sort(key=lambda one: (order.index(one.rich_help_panel), one.name or ""))


def _warn(others: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Show a warning of our own as one line."""
    if category.__module__.partition(".")[0] == "refocal":
        print(f"refocal: warning: {' '.join(str(message).split())}", file=sys.stderr)
    else:
        others(message, category, *where)


def _say(error: object, code: int) -> NoReturn:
    print(f"refocal: {printed(' '.join(str(error).split()))}", file=sys.stderr)
    sys.exit(code)
