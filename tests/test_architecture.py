"""The house keeps its plan: layers, parts, sizes, and what is not imported."""

import ast
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import grimp
import pytest

from refocal.core import registry

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
FILES = sorted((SRC / "refocal").rglob("*.py"))
PARTS = [(family, kind) for family in registry.families() for kind in registry.names(family)]
TORCH_FAMILIES = {"nets", "objectives", "segmenters"}
HEAVY = ("torch", "openvino", "onnxruntime", "cv2", "zarr", "scipy", "tifffile")


def named(path):
    return path.relative_to(SRC).as_posix()


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("refocal", include_external_packages=True, exclude_type_checking_imports=True)


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


@pytest.mark.parametrize("family", registry.families())
def test_parts_do_not_import_sibling_parts(graph, family):
    parts = [f"refocal.{family}.{kind}" for kind in registry.names(family)]
    wrong = [
        (a, b)
        for a, b in permutations([p for p in parts if p in graph.modules], 2)
        if graph.direct_import_exists(importer=a, imported=b)
    ]
    assert wrong == []


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


def test_files_are_named_after_what_they_hold():
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    names = {path: path.relative_to(SRC).with_suffix("").parts for path in FILES}
    assert [named(path) for path in FILES if vague & {part.strip("_") for part in names[path]}] == []


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
    homes = ("refocal.learn.", *(f"refocal.parts.{family}." for family in TORCH_FAMILIES))
    importers = graph.find_modules_that_directly_import("torch")
    assert {
        name for name in importers if not name.startswith(homes) and "torch" not in name.rpartition(".")[2]
    } == set()


def test_plain_install_restores_without_torch(graph):
    plain = ["refocal.engine.loop", "refocal.eventlog.log", "refocal.engine.tiles.tiles", "refocal.core.values"]
    plain += ["refocal.engine.backends", "refocal.models.runtimes", "refocal.models.runtimes.openvino"]
    plain += [
        f"refocal.parts.{family}.{kind}"
        for family, kind in PARTS
        if family not in TORCH_FAMILIES and "torch" not in kind
    ]
    assert [name for name in plain if "torch" in graph.find_upstream_modules(name)] == []
