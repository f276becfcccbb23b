"""The pages that the documentation writes from results/ can be written from what is stored, without Sphinx."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))


@pytest.mark.parametrize(
    "name", ["ablation", "compared", "defences", "few_shot", "learning", "reached", "time_to_accuracy"]
)
def test_page_has_a_title_and_a_table(name):
    text = importlib.import_module(name).page()
    assert text.startswith("# ")
    assert re.search(r"^\|(---\|)+$", text, re.MULTILINE), text[:300]


def test_pages_of_the_papers_experiments_have_titles():
    paper = importlib.import_module("paper")
    assert paper.INTRO and all(paper.page(name).startswith("# ") for name in paper.INTRO)


def test_every_stored_run_of_learning_is_on_its_page():
    stored = list((ROOT / "results/learning").glob("*.json"))
    text = importlib.import_module("learning").page()
    seeds = [int(line.split("|")[-3]) for line in text.splitlines() if line.startswith(("| stratified", "| shuffled"))]
    assert sum(seeds) == len(stored)


def test_host_without_a_shorter_name_is_called_by_its_own(monkeypatch):
    learning = importlib.import_module("learning")
    monkeypatch.setattr(learning, "NAMES", {})
    assert "## efficientnet-lite0, `mnist`" in learning.page()
