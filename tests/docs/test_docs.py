"""The documents are true: links, commands, Python blocks, names, options and tables."""

import configparser
import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import runpy
import shlex
import sys
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from refocal.core import registry
from refocal.core.values import ImageInfo
from refocal.engine.job import Job, Part, run_job
from refocal.eventlog.log import read_log
from refocal.learn.recipe import Recipe, load_recipe, shipped
from refocal.models import header
from refocal.parts.formats import create_image, open_image
from refocal.parts.gates.sharpness import Sharpness

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "refocal"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^(<!-- runs -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def named(page):
    return page.relative_to(ROOT).as_posix()


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, *languages):
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(bool(runs), body) for runs, language, body in found if language in languages]


def section(page, title):
    """Return the part of a page between a heading and the next of its kind."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text_of(page), re.MULTILINE | re.DOTALL)[1]


def first_column(text):
    """Return the names in code style in the first column of the tables of a text."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def shell_lines():
    for page in PAGES:
        for _, body in blocks(page, "sh", "console"):
            for line in body.splitlines():
                if (line := line.removeprefix("$ ")).startswith("refocal ") and not line.startswith("refocal: "):
                    yield pytest.param(line, id=f"{named(page)}: {line[:60]}")


def pythons(*, runs):
    for page in PAGES:
        for number, (marked, body) in enumerate(blocks(page, "python")):
            if marked or not runs:
                yield pytest.param(body, id=f"{named(page)}-{number}")


@pytest.fixture(scope="module")
def commands():
    cli = importlib.import_module("refocal.ui.cli")
    for module in pkgutil.iter_modules(cli.__path__):
        importlib.import_module(f"refocal.ui.cli.{module.name}")
    return typer.main.get_command(cli.app).commands


def options_of(command):
    return set(chain.from_iterable((*p.opts, *p.secondary_opts) for p in command.params)) | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page):
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [t.partition("#")[0] for t in targets if "://" not in t]
    assert [t for t in local if t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_machine(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|mnt|opt|Users)/\S*|[A-Z]:\\\\\S+|localhost\S*", text) == []


def test_every_page_is_in_the_index():
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert sorted(pages - set(re.findall(r"\]\(([\w-]+\.md)\)", text_of("docs/index.md")))) == []


@pytest.mark.parametrize("line", list(shell_lines()))
def test_command_lines_are_understood(line, commands, calibration, monkeypatch):
    monkeypatch.chdir(calibration.parent)
    words = list(takewhile_words(shlex.split(line, comments=True)))
    context = commands[words[1]].make_context(words[1], words[2:])
    given = context.params
    for name, family in (("gate", "gates"), ("degradation", "degradations")):
        if given.get(name):
            Part.parse(given[name]).make(family)
    for name in given.get("metric") or []:
        assert name in registry.names("metrics")
    restorers = given.get("restorer") or []
    for name in [restorers] if isinstance(restorers, str) else restorers:
        check_restorer(name)
    if words[1] == "list" and given["family"]:
        assert given["family"] in (*registry.families(), "models", "recipes")
    if words[1] == "train":
        load_recipe(given["recipe"], given["overrides"] or ())


def takewhile_words(words):
    for word in words:
        if word in (">", "|", "&&"):
            return
        yield word


def check_restorer(text):
    name, sign, what = text.partition("=")
    text = what if sign and ":" not in name else text
    part = Part.parse(text)
    if part.kind in registry.names("restorers"):
        assert set(part.options) <= set(inspect.signature(registry.load("restorers", part.kind)).parameters)
    else:
        oracles = importlib.import_module("refocal.learn.evaluate.scores").ORACLES
        assert text in oracles or text in header.shipped() or text.endswith(".safetensors")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_prose_exist(page, commands):
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for line in re.findall(r"`refocal ([^`]+)`", prose):
        words = line.split()
        if words[0].startswith("--"):  # an option of the program itself
            continue
        assert words[0] in commands, line
        assert set(OPTION.findall(line)) <= options_of(commands[words[0]]), line
    known = set(chain.from_iterable(options_of(c) for c in commands.values())) | {
        "--data",
        "--fit",
        "--logdir",
        "--version",
        "--install-completion",
        "--show-completion",
    }
    code = (span for span in re.findall(r"`[^`]*`", prose) if not span.startswith("`python benchmarks/"))
    assert sorted(set(OPTION.findall("".join(code))) - known - {"--strict"}) == []


def test_every_command_and_option_of_restore_is_described(commands):
    text = text_of("docs/commands.md")
    headings = set(re.findall(r"\w+", " ".join(re.findall(r"^## (.+)$", text, re.MULTILINE))))
    assert sorted(set(commands) - headings) == []
    described = set(OPTION.findall(section("docs/commands.md", "restore")))
    for param in commands["restore"].params:
        if param.opts[0].startswith("--"):
            assert described & {*param.opts, *param.secondary_opts}, param.opts


@pytest.mark.parametrize("body", list(pythons(runs=False)))
def test_python_blocks_compile(body):
    compile(body, "block", "exec")


@pytest.mark.parametrize("body", list(pythons(runs=True)))
def test_marked_python_blocks_run(body, tmp_path, monkeypatch, rng):
    tile = rng.integers(0, 255, (64, 64), np.uint8)
    for name in ("tile.tif", "restored.tif"):
        create_image(tmp_path / name, [tile], like=ImageInfo((1, 64, 64), tile.dtype, 4.0))
    monkeypatch.chdir(tmp_path)
    # Any restorer will do, and this one takes no time.
    monkeypatch.setattr("refocal.api.learned", lambda *_, **__: registry.make("restorers", "unsharp"))
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(body, "block", "exec"), {"__name__": "block"})


def test_extras_are_those_of_the_package():
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    assert sorted(first_column(section("README.md", "Install"))) == sorted(extras)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named_ones = ",".join(re.findall(r"refocal\[([\w,]+)\]", text)).split(",")
        assert set(filter(None, named_ones)) <= extras.keys(), page
        assert set(re.findall(r"'\.\[\w+\]'", text)) <= {"'.[dev]'"}, page


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    folders = (SRC, *(ROOT / name for name in ("benchmarks", "examples", "tests")))
    there = [p.relative_to(ROOT).as_posix() for folder in folders for p in folder.rglob("*.*")]
    names = {n for n in re.findall(r"[\w/.-]*\w\.(?:py|yaml)\b", text) if "mine" not in n}
    unknown = {n for n in names if not any(f"/{path}".endswith(f"/{n}") for path in there)}
    shown = set(re.findall(r"^# (\S+\.yaml)$", text, re.MULTILINE))  # a file that the page itself prints
    # The decisions may name what is not there any more.
    assert unknown <= shown | ({"report.py", "cli.py"} if "decisions" in named(page) else set())


def drawn_paths(tree):
    """Return the paths of a drawn tree, relative to its root, in the order of the lines."""
    above, paths = {}, []
    for spaces, name in re.findall(r"^( {2,})([\w.]+/?) ", tree, re.MULTILINE):
        above = {depth: folder for depth, folder in above.items() if depth < len(spaces)}
        paths.append("".join(above.values()) + name)
        above[len(spaces)] = name
    return paths


def test_layout_draws_the_tree_as_it_is():
    paths = drawn_paths(section("docs/architecture.md", "Layout"))
    assert [p for p in paths if not ((SRC / p).is_dir() if p.endswith("/") else (SRC / p).is_file())] == []
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    rooms = [p.removesuffix("/").removesuffix(".py") for p in paths if "/" not in p.removesuffix("/")]
    assert rooms == contracts["importlinter:contract:house"]["layers"].split()
    assert sorted(re.findall(r"^parts/(\w+)/$", "\n".join(paths), re.MULTILINE)) == sorted(registry.families())


def test_parts_that_are_named_exist():
    page = "docs/degradations.md"
    table = section(page, "The order of things")
    parts = [name for line in table.splitlines() if line.startswith("| ") for name in
             re.findall(r"`(\w+)`", line.split("|")[2])]  # fmt: skip
    parts += re.findall(r"^- `(\w+)`", section(page, "Ready-made and composed"), re.MULTILINE)
    assert len(parts) > 10
    assert sorted(set(parts) - set(registry.names("degradations"))) == []


def test_degradations_in_yaml_are_understood():
    for page in PAGES:
        for _, body in blocks(page, "yaml"):
            recipe = yaml.safe_load(body)
            if "scheduler" in recipe:
                continue
            registry.make("degradations", recipe["degradation"], **recipe["degradation_options"])


def test_recipe_keys_are_described():
    assert sorted(first_column(section("docs/training.md", "Recipe keys"))) == sorted(Recipe.model_fields)


def test_recipes_that_are_named_are_all_recipes():
    kinds = "|".join({name.partition("/")[0] for name in shipped()})
    assert set(re.findall(rf"`((?:{kinds})/\w+)`", text_of("docs/training.md"))) == set(shipped())


def test_header_fields_are_described():
    assert sorted(first_column(section("docs/models.md", "The header"))) == sorted(header.ModelHeader.model_fields)


def test_gate_options_and_defaults_are_described():
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section("docs/grading.md", "Verdicts"), re.MULTILINE)
    defaults = {name: p.default for name, p in inspect.signature(Sharpness).parameters.items()}
    assert {name: float(value) for name, value in rows} == defaults


def test_log_fields_are_described(tmp_path, rng):
    raw = tmp_path / "raw"
    raw.mkdir()
    tile = rng.integers(0, 255, (64, 64), np.uint8)
    create_image(raw / "tile.tif", [tile], like=ImageInfo((1, 64, 64), tile.dtype, 4.0))
    job = Job(restorer=Part(kind="unsharp"), gate=Part(kind="always"))
    run_job([raw], tmp_path / "out", job)
    (event,) = (e for e in read_log(tmp_path / "out" / "log.jsonl") if e["event"] == "tile")
    fields = re.search(r"^\| field of a tile .*?\n\n", text_of("docs/commands.md"), re.MULTILINE | re.DOTALL)[0]
    assert sorted(first_column(fields)) == sorted(event.keys() - {"event"})
    head = (tmp_path / "out" / "retake.csv").read_text().splitlines()[0]
    about = re.search(r"\*\*`retake.csv`\*\*.*?\n\n", text_of("docs/commands.md"), re.DOTALL)[0]
    assert re.findall(r"`(\w+)`", about) == head.split(",")


def test_example_draws_its_picture(tmp_path, monkeypatch, rng):
    tile = rng.integers(0, 255, (400, 400), np.uint8)
    for folder in ("raw", "restored", "truth"):
        (tmp_path / folder).mkdir()
        create_image(tmp_path / folder / "tile.tif", [tile], like=ImageInfo((1, 400, 400), tile.dtype))
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", ["picture.py", str(tmp_path), str(picture), "tile.tif", "7", "9"])
    runpy.run_path(str(ROOT / "examples" / "picture.py"), run_name="__main__")
    with open_image(picture) as image:
        drawn = image.read()
    assert (drawn[:, :320] == tile[7:327, 9:329]).all()
    assert (drawn[:, :320] == drawn[:, -320:]).all()
