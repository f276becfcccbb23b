"""Invariant 8: importing is cheap and doesn't load torch; help is quick."""

import json
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

HEAVY = (
    "torch",
    "numpy",
    "timm",
    "torchvision",
    "sklearn",
    "PIL",
    "matplotlib",
    "pydantic",
    "rich",
    "cyclopts",
    "sqlite3",
)


STANDARD = "import asyncio, http.client, sqlite3, unittest.mock, xml.etree.ElementTree"
"""Fixed work that processor time is held against: some 55 ms on a core of 2025."""


def run(*arguments):
    """The processor seconds that a process of Python takes, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result.stdout


def seconds(*arguments):
    """What a process takes beyond an empty one: the least of some, for other processes only ever add."""
    return min(run(*arguments)[0] for _ in range(7)) - min(run("-c", "pass")[0] for _ in range(7))


def test_import_loads_nothing_heavy():
    code = f"import sys, json, reprogram; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert json.loads(run("-c", code)[1]) == []


def test_names_and_dir_work_without_torch():
    code = "assert 'fit' in dir(reprogram); reprogram.ConfigError; assert 'torch' not in sys.modules"
    run("-c", "import sys, reprogram; " + code)


def test_listing_does_not_load_torch():
    code = "import sys; from reprogram.cli import main; main(['list', 'programs']); assert 'torch' not in sys.modules"
    assert "frame" in run("-c", code)[1]


def test_a_host_of_another_library_needs_no_timm_and_no_torchvision():
    """They take as long as PyTorch itself."""
    code = (
        "import sys, reprogram.runs.execute; from reprogram import load_host; load_host('two-layer:12').prepared; "
        "print([m for m in ('timm', 'torchvision', 'torch._dynamo') if m in sys.modules])"
    )
    assert run("-c", code)[1].strip() == "[]"


def test_learning_needs_no_compiler(tmp_path):
    """torch._dynamo takes as long as PyTorch itself, and the classes of torch.optim import it."""
    fit = ["fit", "--host", "linear:12", "--task", "squares(train=20, validation=10, test=10)", "--epochs", "1"]
    fit += ["--baselines", "none", "--quiet", "--out", str(tmp_path / "run")]
    code = f"import sys; from reprogram.cli import main; main({fit!r}); print('torch._dynamo' in sys.modules)"
    assert run("-c", code)[1].split()[-1] == "False"


def test_import_takes_less_than_some_modules_of_the_standard_library():
    assert seconds("-c", "import reprogram") < seconds("-c", STANDARD)


def test_help_takes_a_few_times_as_much():
    assert seconds("-m", "reprogram", "--help") < 6 * seconds("-c", STANDARD)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"]])
def test_help_does_not_load_torch(arguments):
    code = f"import sys; from reprogram.cli import main; main({arguments!r}); assert 'torch' not in sys.modules"
    assert run("-c", code)[1].strip()
