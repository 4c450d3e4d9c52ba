"""Help: every command has examples, and every example would run as it stands."""

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path

import grimp
import pytest
import typer

from program import PROGRAM, Program
from refocal.core import registry
from refocal.engine.job import Part
from refocal.models import header
from refocal.ui import cli

cli.load()
COMMANDS = sorted(one.name or "" for one in cli.app.registered_commands)


def test_each_command_is_the_file_of_its_name() -> None:
    files = sorted(path.stem for path in Path(cli.__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    assert files == COMMANDS
    for one in cli.app.registered_commands:
        assert one.callback is not None
        assert one.callback.__module__ == f"refocal.ui.cli.{one.name}"


def test_no_command_imports_another() -> None:
    graph = grimp.build_graph("refocal")
    modules = {f"refocal.ui.cli.{name}" for name in COMMANDS}
    assert {m: found for m in modules if (found := graph.find_modules_directly_imported_by(m) & modules)} == {}
    sources = {name: (Path(cli.__file__).parent / f"{name}.py").read_text() for name in COMMANDS}
    assert [name for name, source in sources.items() if "import_module" in source] == []


def test_the_help_has_a_line_for_each_command_in_the_panel_that_it_declares(inside: Program) -> None:
    shown = re.split(r"^╭─ ([^─]+?) ─+╮$", inside("--help").out, flags=re.M)[1:]
    panels = dict(zip(shown[::2], shown[1::2], strict=True))
    assert panels.pop("Options")
    assert [*panels] == [panel.value for panel in cli.Panel]
    for panel, text in panels.items():
        declared = sorted(one.name or "" for one in cli.app.registered_commands if one.rich_help_panel == panel)
        # A second line of a command would have no name, or another first word.
        assert re.findall(r"^│ (\S*)", text, re.M) == declared


def test_options_say_what_they_mean() -> None:
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        for option in command.params:
            help_ = getattr(option, "help", None)
            assert help_, f"{name} {option.name} has no help"
            assert help_.endswith((".", "...")), f"{name} {option.name}: {help_}"


@pytest.mark.parametrize("words", ["refocal re", "refocal restore --con"])
def test_the_shell_completes_commands_and_options(words: str) -> None:
    asked = {"_REFOCAL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([PROGRAM], capture_output=True, text=True, env={**os.environ, **asked}, check=False)
    start = words.rpartition(" ")[2]
    known = COMMANDS if words.count(" ") == 1 else ["--contrast"]
    assert sorted(done.stdout.split()) == [name for name in known if name.startswith(start)], done.stderr


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
    (found,) = (one.callback for one in cli.app.registered_commands if one.name == command)
    return (found and found.__doc__) or ""


def _named_parts_exist(arguments: list[str]) -> None:
    for option, given in itertools.pairwise(arguments):
        family = {"--gate": "gates", "--degradation": "degradations", "--restorer": "restorers"}.get(option)
        if family:
            Part.parse(given).make(family)
        if option == "-r" and "=" not in given and not given.startswith("oracle"):
            assert given in (*registry.names("restorers"), *header.shipped())
