"""Help: every command has examples, and every example would run as it stands."""

import itertools
import re
import shlex

import pytest

from program import Program
from refocal.core import registry
from refocal.engine.job import Part
from refocal.models import header
from refocal.ui import cli

cli.load()
COMMANDS = sorted(c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback)


def test_the_help_lists_every_command_and_begins_with_the_main_one(inside: Program) -> None:
    listed = re.findall(r"^\W* (\w+) {2,}\S", inside("--help").out.partition("Commands")[2], re.M)
    assert sorted(listed) == COMMANDS
    assert listed[0] == "restore"


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
    return next(
        c.callback.__doc__ or ""
        for c in cli.app.registered_commands
        if c.callback and command in (c.name, c.callback.__name__)
    )


def _named_parts_exist(arguments: list[str]) -> None:
    for option, given in itertools.pairwise(arguments):
        family = {"--gate": "gates", "--degradation": "degradations", "--restorer": "restorers"}.get(option)
        if family:
            Part.parse(given).make(family)
        if option == "-r" and "=" not in given and not given.startswith("oracle"):
            assert given in (*registry.names("restorers"), *header.shipped())
