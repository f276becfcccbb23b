"""The order of the layers: a file imports lower ones and its own folder, and nothing imports in a circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import reprogram

ROOT = Path(reprogram.__file__).parent
LAYERS = """
errors types _version
utils framed
registry engine
hosts canvases programs labelmaps tasks learners augmentations losses defences detectors
adapter
programfile
model
evaluation report exporters serving trackers
training
runs
sweep
paper auditing
__init__ __main__ cli
"""
LAYER = {name: number for number, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}
FAMILIES = set(LAYERS.strip().splitlines()[3].split())
USED_BY_FAMILIES = {
    "augmentations": {"tasks"},
    "labelmaps": {"tasks"},
    "defences": {"hosts"},
    "detectors": {"hosts"},
    "losses": {"detectors"},
}


def imported(path, strings=True):
    """Every module of the project that a file imports, at any depth, and those that its strings import or name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "reprogram":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("reprogram."))
        elif strings and isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            yield from re.findall(r"(?<!`)\breprogram(?:\.[a-z_]\w*)+", node.value)


def module(name):
    """The file that a dotted name stands for, or lies in; None where it is no file of the project."""
    parts = name.split(".")[1:]
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
    return None


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_a_file_imports_lower_layers_and_its_own_folder():
    wrong = []
    for path in ROOT.rglob("*.py"):
        for name in imported(path):
            own, other = room(path), name.split(".")[1]
            if other not in LAYER or own == other or own in ("__init__", "__main__"):
                continue
            allowed = LAYER[other] < LAYER[own] or other in USED_BY_FAMILIES.get(own, ())
            variant = (
                other in FAMILIES
                and own in FAMILIES
                and module(name).stem not in ("base",)
                and module(name).stem[0] != "_"
            )
            if not allowed or variant:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_every_file_has_a_layer():
    assert {room(path) for path in ROOT.rglob("*.py")} <= set(LAYER)
    assert len(list(ROOT.glob("*.py"))) <= 9


def test_nothing_imports_in_a_circle():
    graph = {
        path: {
            file
            for name in imported(path, strings=False)
            if (file := module(name)) not in (None, path, ROOT / "__init__.py")
        }
        for path in ROOT.rglob("*.py")
    }
    TopologicalSorter(graph).prepare()  # Names the circle where there is one.


def test_no_file_and_no_function_is_too_long():
    """Docstrings aren't counted in functions."""
    wrong = []
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 300:
            wrong.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                doc = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
                if node.end_lineno - node.lineno + 1 - doc > 50:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert wrong == []
