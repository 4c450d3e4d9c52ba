"""Help: every command has examples, and every example would run as it stands."""

import itertools
import re
import shlex

import pytest

from refocal import families, header
from refocal.job import Part

from .conftest import Program

COMMANDS = ("restore", "grade", "degrade", "report", "demo", "train", "evaluate", "bench", "list", "info", "doctor")


def test_the_help_lists_the_commands_in_the_order_of_use(inside: Program) -> None:
    listed = re.findall(r"^\W* (\w+) {2,}\S", inside("--help").out.partition("Commands")[2], re.M)
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_parse(inside: Program, command: str) -> None:
    said = inside(command, "--help").out
    assert "For example" in said
    examples = [line.strip() for line in _docstring(command).splitlines() if line.strip().startswith("refocal ")]
    assert examples
    for example in examples:
        assert example.startswith(f"refocal {command}")
        assert example in said, "would be wrapped at 80 columns, and could not be copied"
        arguments = shlex.split(example, comments=True)[1:]
        arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
        # --help comes last, so an option that is not there, or lacks its value, is refused before it.
        for option in (a for a in arguments if a.startswith("-")):
            assert option in said
        assert "Usage" in inside(*arguments, "--help").out
        _named_parts_exist(arguments)


def _docstring(command: str) -> str:
    from refocal.cli import app

    return next(
        c.callback.__doc__ or ""
        for c in app.registered_commands
        if c.callback and command in (c.name, c.callback.__name__)
    )


def _named_parts_exist(arguments: list[str]) -> None:
    for option, given in itertools.pairwise(arguments):
        family = {"--gate": "gates", "--degradation": "degradations", "--restorer": "restorers"}.get(option)
        if family:
            Part.parse(given).make(family)
        if option == "-r" and "=" not in given and not given.startswith("oracle"):
            assert given in (*families.names("restorers"), *header.shipped())
