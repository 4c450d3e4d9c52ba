"""The tree keeps its plan: rooms in one order, parts that do not know each other, names, sizes, and imports."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from refocal.core import registry

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PARTS_ROOM = "refocal.parts"
FILES = sorted((SRC / "refocal").rglob("*.py"))
PARTS = [(family, kind) for family in registry.families() for kind in registry.names(family)]
TORCH_FAMILIES = {"nets", "objectives", "segmenters"}
HEAVY = ("torch", "openvino", "onnxruntime", "cv2", "zarr", "scipy", "tifffile")
UNPRIVATE = {
    ("refocal.learn.export.onnx_graph", "refocal.parts.nets._merged_gran"),
    ("refocal.learn.train", "refocal.parts.objectives._batch"),
    ("refocal.testing.objectives", "refocal.parts.objectives._batch"),
}
"""Private modules that are used from outside of their folder: what a trained net and an objective's batch look like."""
VAGUE = {
    *("utils", "util", "helpers", "helper", "common", "base", "misc", "general", "stuff", "things", "tools", "manager"),
    *("work", "house", "pulse", "frugal", "blame", "sight", "quiet", "zoo", "mistakes", "spoken", "proof", "only"),
}
"""Words that say nothing about what a file holds, and images for which the field has a term of its own."""
SHARED_STEMS = {"source", "sink", "run", "plan", "tiles", "sections", "bursts", "overrides"}
"""What several rooms have, each its own: where images come from and go to, tiles, sections, bursts, verdicts."""


def named(path):
    return path.relative_to(SRC).as_posix()


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(
        "refocal", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def imports(graph, importers):
    """Return the (importer, imported) pairs of modules within refocal, of importers whose name begins so."""
    return {
        (importer, imported)
        for importer in graph.modules
        if (importer + ".").startswith(importers)
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported.startswith("refocal")
    }


def test_import_contracts():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint, "--config", ROOT / ".importlinter", "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_part_is_a_module_of_its_family(graph):
    assert {f"{PARTS_ROOM}.{family}.{kind}" for family, kind in PARTS} <= graph.modules


@pytest.mark.parametrize("family", registry.families())
def test_a_part_imports_neither_a_sibling_nor_another_family(graph, family):
    own = {f"{PARTS_ROOM}.{family}.{kind}" for kind in registry.names(family)}
    others = tuple(f"{PARTS_ROOM}.{other}." for other in registry.families() if other != family)
    wrong = {
        (a, b)
        for a, b in imports(graph, f"{PARTS_ROOM}.{family}.")
        if (a in own and b in own) or (b + ".").startswith(others)
    }
    assert wrong == set()


def test_private_modules_are_used_only_inside_of_their_folder(graph):
    reached = set()
    for importer, imported in imports(graph, "refocal."):
        folder, private, _ = imported.partition("._")
        if private and not (importer + ".").startswith(folder + "."):
            reached.add((importer, imported))
    assert reached - UNPRIVATE == set()


def test_the_top_shows_ten_rooms():
    there = [path for path in (SRC / "refocal").iterdir() if path.name not in ("__pycache__", "py.typed")]
    assert len([path for path in there if path.is_dir()]) <= 10
    assert len([path for path in there if path.is_file()]) <= 3


def test_parts_have_one_public_name():
    for path in FILES:
        if path.parent.name in registry.families() and not path.name.startswith("_"):
            exported = [
                ast.literal_eval(node.value)
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets)
            ]
            assert [len(names) for names in exported] == [1], f"{named(path)} needs one name in __all__"


def test_files_and_functions_are_short():
    long = {named(path): lines for path in FILES if (lines := len(path.read_text().splitlines())) >= 400}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                long |= {f"{named(path)}: {node.name}": lines} if lines >= 60 else {}
    assert long == {}, "expected files below 400 lines, functions below 60"


def test_files_and_folders_are_named_after_what_they_hold():
    words = {
        path: {w for part in path.relative_to(SRC).with_suffix("").parts for w in part.split("_")} for path in FILES
    }
    assert [named(path) for path in FILES if VAGUE & words[path]] == []


def test_a_name_stands_for_one_file():
    """A part is named after its kind and a command after itself: they may share the name of what they stand for."""
    seen = {}
    for path in FILES:
        room = path.relative_to(SRC / "refocal").parts
        if path.stem != "__init__" and room[0] != "parts" and room[:2] != ("ui", "cli") and "microscopes" not in room:
            seen.setdefault(path.stem, []).append(named(path))
    shared = {stem: paths for stem, paths in seen.items() if len(paths) > 1}
    assert {stem: paths for stem, paths in shared.items() if stem not in SHARED_STEMS} == {}


def test_nothing_executes_text():
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = set()
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & {"eval", "exec", "compile", "__import__"}
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                names = modules & {"pickle", "marshal", "shelve", "dill", "joblib"}
            found += [f"{named(path)}:{node.lineno} {name}" for name in names]
    assert found == []


def test_package_is_light_to_import():
    code = "import sys, time; t = time.perf_counter(); import refocal; s = time.perf_counter() - t;"
    code += f"print(*(m for m in {HEAVY!r} if m in sys.modules)); print(s, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    print(f"import refocal: {float(done.stderr):.3f} s")  # for information: timed tests fail on busy machines


def test_torch_is_imported_where_nets_live_and_where_the_file_name_says_so(graph):
    homes = ("refocal.learn.", "refocal.testing.", *(f"refocal.parts.{family}." for family in TORCH_FAMILIES))
    importers = graph.find_modules_that_directly_import("torch")
    assert {
        name for name in importers if not name.startswith(homes) and "torch" not in name.rpartition(".")[2]
    } == set()


def test_plain_install_restores_without_torch(graph):
    plain = ["refocal.engine.loop", "refocal.eventlog.log", "refocal.engine.tiles.tiles", "refocal.core.values"]
    plain += ["refocal.engine.backends", "refocal.models.runtimes", "refocal.models.runtimes.openvino"]
    plain += [
        f"{PARTS_ROOM}.{family}.{kind}"
        for family, kind in PARTS
        if family not in TORCH_FAMILIES and "torch" not in kind
    ]
    assert [name for name in plain if "torch" in graph.find_upstream_modules(name)] == []
