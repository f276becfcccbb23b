"""The check of the docstrings finds what is missing, and no more."""

import importlib.util

import pytest

from helpers import ROOT

FILE = '''"""A made-up module."""

from somewhere import Base


def described(a: int, *, b: int = 0) -> int:
    """Add.

    Args:
        a: first number,
            on two lines.
        b: second number.
    """
    return a + b


def half_described(a: int, *rest: int, b: int = 0) -> int:
    """Add.

    Args:
        a: first number.
        *rest: the others.

    Returns:
        b: isn't described here.
    """
    return a + b


def without_arguments() -> None:
    """Nothing."""


def _private(a: int) -> None:
    """Nobody's business."""


class Parent:
    """A class."""

    def method(self, a: int) -> int:
        """Return it."""
        return a


class Child(Parent):
    """Another."""

    def method(self, a: int) -> int:
        """Left to the parent."""
        return a
'''


@pytest.fixture(scope="module")
def undocumented():
    spec = importlib.util.spec_from_file_location("check_docstrings", ROOT / "tools" / "check_docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.undocumented


def test_a_missing_entry_is_named(undocumented, tmp_path):
    folder = tmp_path / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "made_up.py").write_text(FILE)
    lines = FILE.splitlines()
    messages = list(undocumented(tmp_path / "src"))
    assert [message.partition(": ")[2] for message in messages] == [
        "half_described: no Args entry for b",
        "method: no Args entry for a",
    ]
    numbers = [int(message.split(":")[1]) for message in messages]
    assert [lines[number - 1].split("(")[0].split()[-1] for number in numbers] == ["half_described", "method"]
    assert numbers[1] < FILE[: FILE.index("class Child")].count("\n")
    assert all(message.startswith("src/package/made_up.py:") for message in messages)
