"""What the documents show on a console is what the program says: `<!-- runs -->` before the block, numbers about so."""

import glob
import re
import shlex
import sys
from pathlib import Path

import pytest

from refocal.core import registry
from refocal.core.values import ImageInfo
from refocal.engine.job import learned
from refocal.imaging.phantom import demo_tiles
from refocal.parts.formats import create_image
from refocal.ui import cli

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/commands.md")
BLOCK = re.compile(r"^<!-- runs -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = re.compile(r"[\d.]+ s\b|(?<=\"seconds\": )[\d.e-]+")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)")


def shown(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page and what it says that they print."""
    blocks = "".join(BLOCK.findall((ROOT / page).read_text(encoding="utf-8")))
    commands = blocks.split("$ ")[1:]
    return [(command.partition("\n")[0], command.partition("\n")[2]) for command in commands]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the documents work: `demo/raw`, as `make demo` draws it."""
    lab = tmp_path_factory.mktemp("lab")
    for tile in demo_tiles(0):
        stage = {"stage_x_nm": tile.stage_x_nm, "stage_y_nm": tile.stage_y_nm}
        path = lab / "demo" / "raw" / tile.name
        path.parent.mkdir(parents=True, exist_ok=True)
        create_image(path, [tile.counts], ImageInfo((1, *tile.counts.shape), tile.counts.dtype, tile.pixel_nm, stage))
    return lab


@pytest.mark.parametrize("page", PAGES)
def test_consoles_show_what_the_program_says(
    page: str, lab: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lab)
    monkeypatch.setenv("COLUMNS", "160")
    if not (lab / "restored").exists():
        said("refocal restore demo/raw -o restored -q", monkeypatch, capfd)
    commands = shown(page)
    assert commands
    for command, expected in commands:
        got = said(command, monkeypatch, capfd)
        assert words(got) == words(expected), command
        assert numbers(got) == pytest.approx(numbers(expected), rel=0.1, abs=0.03), command


def said(command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command line of the program, or `ls` or `cat`, and return all that it prints."""
    program, *given = shlex.split(command)
    if program == "ls":
        return "  ".join(sorted(path.name for path in Path(given[0]).iterdir() if not path.name.startswith(".")))
    if program == "cat":
        return Path(given[0]).read_text()
    arguments = [path for word in given for path in (sorted(glob.glob(word)) or [word])]
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    if "--model" not in arguments:  # any restorer will do, and this one takes no time
        monkeypatch.setattr("refocal.engine.job.learned", lambda _: registry.make("restorers", "unsharp"))
    with pytest.raises(SystemExit):
        cli.main()
    monkeypatch.setattr("refocal.engine.job.learned", learned)
    return "".join(capfd.readouterr())


def words(text: str) -> list[str]:
    """Return the lines without numbers and without the width of the columns."""
    return [re.sub(r" +", " ", NUMBER.sub("#", SECONDS.sub("T", line))).strip() for line in text.strip().splitlines()]


def numbers(text: str) -> list[float]:
    """Return the numbers but for seconds."""
    return [float(number) for number in NUMBER.findall(SECONDS.sub("T", text))]
