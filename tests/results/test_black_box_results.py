"""The tables of docs/black-box-results.md are what results/black-box holds, and say which cells are missing."""

import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
STORED = ROOT / "results" / "black-box"
RUNS = sorted(STORED.glob("*.json"))


@pytest.fixture
def black_box(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import black_box

    return black_box


def test_the_page_is_current(black_box: ModuleType) -> None:
    text = black_box.PAGE.read_text(encoding="utf-8")
    assert black_box.written(text) == text, "run make results"


def test_make_results_writes_it() -> None:
    _, _, target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nresults:")
    assert "docs/_ext/black_box.py" in target.partition("\n\n")[0]


def test_every_stored_accuracy_is_on_the_page(black_box: ModuleType) -> None:
    text = black_box.PAGE.read_text(encoding="utf-8")
    for path in RUNS:
        test = json.loads(path.read_text(encoding="utf-8"))["test"]
        assert f"**{test['accuracy']:.3f}**" in text and f"{test['n']:,}" in text, path.name


def test_no_cell_is_both_measured_and_missing(black_box: ModuleType) -> None:
    (line,) = re.findall(re.escape(black_box.MISSING) + ".*", black_box.PAGE.read_text(encoding="utf-8"))
    configs = [tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))["fit"] for path in RUNS]
    label = re.search(r"ResNet-20 \(CIFAR\), label: ([^;.]*)", line)
    lacking = "" if label is None else label[1]
    for config in configs:
        if "resnet20" in config["host"] and "access='label'" in config["host"] and config["task"] == "digits":
            assert f"digits {config['queries']:,}" not in lacking
    assert len(configs) >= 4


def test_stored_runs_name_no_place_of_the_machine_that_made_them() -> None:
    for path in STORED.iterdir():
        assert not re.search(r"[\"' ]/(work|tmp|home|root)/", path.read_text(encoding="utf-8")), path.name
