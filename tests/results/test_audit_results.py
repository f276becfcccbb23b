"""The page of the audits: current, and every number on it is one of a stored audit."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = sorted((ROOT / "results" / "audit-standard").glob("*.json"))


@pytest.fixture
def audits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's generator."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import audits

    return audits


def test_the_page_is_current(audits: ModuleType) -> None:
    text = audits.PAGE.read_text(encoding="utf-8")
    assert audits.written(text) == text, "run make results"


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_each_task_of_a_host_has_a_line(audits: ModuleType, path: Path) -> None:
    """The gain of each rung is the accuracy less the largest term, computed here anew from the cells."""
    audit = json.loads(path.read_text(encoding="utf-8"))
    page = audits.PAGE.read_text(encoding="utf-8")
    for task in (task["name"] for task in audit["grid"]["tasks"]):
        line = re.search(rf"^\| {re.escape(audits._called(path.stem))} \| {task} \| (\**[+-].*)$", page, re.M)
        assert line is not None
        shown = [float(value) for value in re.findall(r"([+-]\d\.\d\d) \(", line.group(1))]
        for rung, gain in zip(audits.RUNGS, shown, strict=True):
            cells = [
                cell for cell in audit["cells"] if (cell["rung"], cell["task"], cell["budget"]) == (rung, task, 3000)
            ]
            terms = {name: sum(cell["terms"][name] for cell in cells) / len(cells) for name in cells[0]["terms"]}
            accuracy = sum(cell["accuracy"] for cell in cells) / len(cells)
            assert gain == pytest.approx(accuracy - max(terms.values()), abs=0.00501)
