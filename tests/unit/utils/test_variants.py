"""A variant's file with a mistake of its own is one line that names the file."""

import sys

import pytest

import reprogram.programs
from helpers_runs import cli

GOOD = """from dataclasses import dataclass

import torch
from torch import nn

from reprogram.programs.base import Program
from reprogram.registry import EmptyConfig


class Odd(Program):
    Config = 3

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        value: float = 0.5

    def __init__(self, config, *, geometry):
        super().__init__(config, geometry=geometry)
        self.shade = nn.Parameter(torch.zeros(1))

    def run(self, framed):
        return framed
"""
MISTAKES = {
    "syntax": ("def run(self, framed):", "def run(self, framed)"),
    "unknown name at import": ("value: float = 0.5", "value: float = nothing"),
    "unknown import": ("import EmptyConfig", "import Nothing"),
    "false attribute of a module": ("class Odd(Program)", "class Odd(reprogram.Nothing)"),
    "a Config of another base": ("class Config(Program.Config)", "class Config(EmptyConfig)"),
    "a Config that is no dataclass": ("class Config(Program.Config):", "class Unused:"),
    "a Config that isn't frozen": ("@dataclass(frozen=True, kw_only=True)", "@dataclass(kw_only=True)"),
    "no class": ("class Odd(Program)", "class Odd"),
    "a false attribute of itself": ("return framed", "return self.nothing"),
    "a false attribute of the images": ("return framed", "return framed.nothing"),
    "a name that isn't there": ("return framed", "return nothing"),
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes the program `odd` into a folder that is searched, too."""
    monkeypatch.setattr(reprogram.programs, "__path__", [*reprogram.programs.__path__, str(tmp_path)])
    monkeypatch.setattr("reprogram.registry._files", searched(tmp_path))
    yield lambda text: (tmp_path / "odd.py").write_text(text, encoding="utf-8")
    sys.modules.pop("reprogram.programs.odd", None)


def searched(folder):
    """The registry's function that lists files, with a file in a folder that is none of its own."""
    from reprogram.registry import _files

    return lambda family: _files(family) | ({"odd": folder / "odd.py"} if family == "programs" else {})


def fit(tmp_path):
    task = "squares(train=160, validation=40, test=60)"
    options = ("--images", "16", "--baselines", "none", "--quiet", "--out", tmp_path / "run")
    return cli("fit", "--host", "linear:40", "--task", task, "--program", "odd", *options)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_the_files_name(written, tmp_path, name):
    before, after = MISTAKES[name]
    assert before in GOOD
    written(GOOD.replace(before, after))
    code, out, err = fit(tmp_path)
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert "Traceback" not in err and "odd.py" in err
    code, out, err = cli("list", "programs")
    assert code == 0 and "frame" in out and err == ""
