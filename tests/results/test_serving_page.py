"""The numbers of docs/serving.md are those of results/serving, and what was measured there is as it should be."""

import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "results" / "serving"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator of the page's table."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import serving

    return serving


def test_the_page_is_current(serving: ModuleType) -> None:
    text = serving.PAGE.read_text(encoding="utf-8")
    assert serving.written(text) == text, "run make results"


def test_every_request_of_the_load_has_its_status() -> None:
    load = json.loads((STORED / "load.json").read_text(encoding="utf-8"))
    assert sum(load["statuses"].values()) == load["requests"] >= 100_000
    errors = sum(count for status, count in load["statuses"].items() if int(status) >= 500)
    assert errors == load["status_5xx"]


def test_ratios_are_those_of_the_rows(serving: ModuleType) -> None:
    latency = json.loads((STORED / "latency.json").read_text(encoding="utf-8"))
    ratios = sorted(row["p99_s"] / row["bare_median_s"] for row in latency["rows"])
    assert latency["p99_to_bare_median"] == pytest.approx(ratios[len(ratios) // 2])
