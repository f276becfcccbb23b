"""Tables and indexes of results show what the program is worth, and what the top label alone gives."""

import csv
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORTH = {"difference": 0.8, "interval": [0.7, 0.85], "n": 1000}
TOP = {"accuracy": 0.93, "n": 1000, "interval": [0.9, 0.95], "outside": 7}


@pytest.fixture
def ext(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import kept

    return kept


@pytest.fixture
def old() -> dict[str, Any]:
    """A result of a version that measured the label map alone, and knew nothing of pairs."""
    path = ROOT / "results/paper/runs/mnist-ResNet_18-frame-s0-39b7dac7/result.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in result.items() if key not in ("program_worth", "host_shows")}


def test_new_results_have_an_interval_and_older_ones_a_difference(ext: ModuleType, old: dict[str, Any]) -> None:
    difference = old["test"]["accuracy"] - old["baselines"]["map_alone"]["accuracy"]
    assert ext.worth(old) == f"{difference:+.3f}" and ext.top_label(old) == "–"
    assert ext.worth({**old, "baselines": {}}) == "–"
    new = {**old, "program_worth": WORTH, "host_shows": {"top_label": TOP}}
    assert ext.worth(new) == "+0.800 (+0.700 to +0.850)" and ext.top_label(new) == "0.930"


def test_the_readmes_table_shows_both(ext: ModuleType, old: dict[str, Any]) -> None:
    import results

    new = {**old, "program_worth": WORTH, "host_shows": {"top_label": TOP}}
    new["baselines"] = {**old["baselines"], "all_scores": {"accuracy": 0.99}}
    head, _, row = results.table([new]).splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["by the top label alone"] == "0.930" and cells["worth of the program"].startswith("+0.800 (")
    assert cells["all scores, no program"] == "0.990"


def test_an_index_has_columns_for_them(ext: ModuleType, old: dict[str, Any], tmp_path: Path) -> None:
    import results_index

    new = {**old, "program_worth": WORTH, "host_shows": {"top_label": TOP}}
    for name, result in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    found = {row["file"]: row for row in csv.DictReader(io.StringIO(results_index.index(tmp_path)))}
    shown = ("worth", "worth low", "worth high", "top label", "outside")
    assert [found["new.json"][name] for name in shown] == ["0.8000", "0.7000", "0.8500", "0.9300", "7"]
    difference = old["test"]["accuracy"] - old["baselines"]["map_alone"]["accuracy"]
    assert [found["old.json"][name] for name in shown] == [f"{difference:.4f}", "", "", "", ""]
