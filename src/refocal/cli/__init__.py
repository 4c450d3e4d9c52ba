"""The command line: parse, call, show. Data go to standard output or files, words to standard error.

Exit codes: 0 done, 1 some tiles failed (each is named), 2 the request was wrong, 130 interrupted.
"""

import sys

import typer

from refocal.errors import TileError, UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    name="refocal",
    help="Grade electron-microscopy tiles, restore the soft ones, list what must be retaken, show the proof.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    from refocal.cli import look, models, tiles  # noqa: F401 (each adds its commands)

    try:
        app()
    except UsageError as error:
        _say(error, 2)
    except TileError as error:
        _say(error, 1)
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _say(error: object, code: int) -> None:
    print(f"refocal: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)
