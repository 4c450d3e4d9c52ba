"""The house keeps its plan: layers, parts, sizes, and what is not imported."""

import ast
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import grimp
import pytest

from refocal import families

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
FILES = sorted((SRC / "refocal").rglob("*.py"))
PARTS = [(family, kind) for family in families.families() for kind in families.names(family)]
TORCH_PARTS = {("restorers", "torch_model"), ("restorers", "spandrel_model")}
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


@pytest.mark.parametrize("family", families.families())
def test_parts_do_not_import_sibling_parts(graph, family):
    parts = [f"refocal.{family}.{kind}" for kind in families.names(family)]
    wrong = [
        (a, b)
        for a, b in permutations([p for p in parts if p in graph.modules], 2)
        if graph.direct_import_exists(importer=a, imported=b)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in families.FAMILIES and p.name[0] != "_"], ids=named
)
def test_part_has_one_public_name(path):
    exported = [
        ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets)
    ]
    assert [len(names) for names in exported] == [1], f"{named(path)} needs __all__ with one name, has {exported}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_are_short_and_named_after_what_they_hold(path):
    text = path.read_text()
    assert len(text.splitlines()) < 400
    assert path.stem.strip("_") not in {"utils", "util", "helpers", "common", "base", "misc"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_executes_text(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & set(modules), f"line {node.lineno}"


def test_package_is_light_to_import():
    code = "import sys, time; t = time.perf_counter(); import refocal; s = time.perf_counter() - t;"
    code += f"print(*(m for m in {HEAVY!r} if m in sys.modules)); print(s, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    print(f"import refocal: {float(done.stderr):.3f} s")  # for information: timed tests fail on busy machines


def test_plain_install_restores_without_torch():
    modules = ["refocal.engine", "refocal.log", "refocal.tiles", "refocal.values"]
    modules += [
        f"refocal.{family}.{kind}"
        for family, kind in PARTS
        if family not in TORCH_FAMILIES and (family, kind) not in TORCH_PARTS
    ]
    code = f"import sys, importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
    code += "    assert 'torch' not in sys.modules, name"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
