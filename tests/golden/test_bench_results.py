"""The page of benchmarks shows the files of results/bench/, and each of these follows the schema."""

import importlib
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results/bench").glob("*.json"))
ON_A_GPU = sorted((ROOT / "results/bench-gpu").glob("*.json"))
EXPORTED = sorted((ROOT / "results/bench-exported").glob("*.json"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    return (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


def test_stored_cases_follow_the_schema() -> None:
    schema = json.loads((ROOT / "benchmarks/step.schema.json").read_text(encoding="utf-8"))
    for path in [*RESULTS, *ON_A_GPU, *EXPORTED]:
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema)


def test_every_stored_case_is_in_the_suite(page: str) -> None:
    import benchmarks

    suite = importlib.import_module("suite")  # The page's module made it importable.
    assert benchmarks.RESULTS == suite.RESULTS
    assert {path.stem for path in RESULTS} <= set(suite.cases())


def test_the_page_shows_the_stored_cases(page: str) -> None:
    import benchmarks

    for name in benchmarks.blocks():
        assert page.count(f"<!-- {name}: written by make bench -->") == page.count(f"<!-- end of {name} -->") == 1
    assert benchmarks.page(page) == page, "run make bench"
