"""Every public function with arguments says in `Args` what each is; run by `make lint`.

A method that overrides one of a class of this project may leave it to that one's docstring, and so may the `forward`
and `backward` of an autograd function, which PyTorch calls.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(
    body: list[ast.stmt], owner: ast.ClassDef | None = None
) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """The functions and methods of a module whose names, and whose classes' names, have no leading underscore.

    Args:
        body: of the module or class.
        owner: the class whose body it is.

    Yields:
        The class, None for a function, and the definition.
    """
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield owner, node


def arguments(function: Function) -> list[str]:
    """The names of a function's arguments but `self` and `cls`.

    Args:
        function: its definition.
    """
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls") and argument.arg[0] != "_"]


def base_names(owner: ast.ClassDef | None) -> list[str]:
    """The last parts of the names of a class's bases.

    Args:
        owner: its definition; None has no bases.
    """
    return [ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in (owner.bases if owner else ())]


def undocumented(source: Path) -> Iterator[str]:
    """A line for each argument that no docstring describes.

    Args:
        source: folder of the packages.
    """
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))}
    methods: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods.setdefault(node.name, set()).update(f.name for f in node.body if isinstance(f, Function))
                bases.setdefault(node.name, []).extend(base_names(node))

    def inherited(names: list[str], method: str) -> bool:
        return any(method in methods.get(name, ()) or inherited(bases.get(name, []), method) for name in names)

    for path, tree in trees.items():
        for owner, function in public_functions(tree.body):
            names = base_names(owner)
            if inherited(names, function.name) or ("Function" in names and function.name in ("forward", "backward")):
                continue
            if any(ast.unparse(d).endswith((".setter", "overload")) for d in function.decorator_list):
                continue
            section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", ast.get_docstring(function) or "", re.M)
            described = set(re.findall(r"^ {4}\*{0,2}(\w+): ", section[1] if section else "", re.M))
            where = f"{path.relative_to(source.parent)}:{function.lineno}: {function.name}"
            for name in arguments(function):
                if name not in described:
                    yield f"{where}: no Args entry for {name}"


if __name__ == "__main__":
    lines = list(undocumented(SOURCE))
    print("\n".join(lines) or "Every public argument is described.")
    sys.exit(1 if lines else 0)
