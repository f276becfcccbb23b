"""Sections that judge programs say how good each is, and judge none that does nothing of use."""

import json

import pytest

from helpers_runs import made_up_result, tiny_plan
from reprogram.evaluation.paired import Paired
from reprogram.paper import tables
from reprogram.paper.experiments import base, transfer
from reprogram.paper.store import ResultStore

ALONE = {"accuracy": 0.1, "n": 100}
GOOD, CHANCE, MAP = 0, 1, 2
"""Seeds of three runs: one that is worth something, one at chance, one whose label map does as well alone."""
REASONS = {CHANCE: "at what guessing gets", MAP: "the label map alone may do as well"}


def results():
    good = {"program_worth": Paired(both=5, only_program=75, only_map=0, neither=20).to_json()}
    alike = {"program_worth": Paired(both=75, only_program=5, only_map=5, neither=15).to_json()}
    return {
        GOOD: made_up_result(80, 100, map_alone=ALONE) | good,
        CHANCE: made_up_result(11, 100),
        MAP: made_up_result(80, 100, map_alone={"accuracy": 0.8, "n": 100}) | alike,
    }


def statistics(shift):
    numbers = [shift + i / 100 for i in range(50)]
    return {"entropy": numbers, "maximum": numbers, "energy": numbers}


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path)
    for name in ("confidence", "transfer"):
        runs = base.find(name).runs(tiny_plan(seeds=[GOOD, CHANCE, MAP]))
        store.write_plan(name, runs)
        for run in runs:
            folder = store.runs / run.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps({**results()[run.seed], "images_seen": 320}))
            if name == "confidence":
                fact = {"reprogrammed": statistics(9), "uniform noise": statistics(0)}
            else:
                fact = {"n": 100, "ways": {transfer.AS_IS: 80}}
            store.measurement(name, run.name, 1, lambda fact=fact: fact)
    return store


@pytest.mark.parametrize("name", ["confidence", "transfer"])
def test_only_what_is_worth_something_is_judged(store, name):
    shown = [block for block in base.find(name).show(store) if isinstance(block, base.Table)]
    (others,) = (table for table in shown if table.caption.startswith("Not judged."))
    assert {int(row[2]): row[4] for row in others.rows}.keys() == REASONS.keys()
    for row in others.rows:
        assert REASONS[int(row[2])] in row[4] and "n=100" in row[3]
    judging = [table for table in shown if table is not others and "Medians" not in table.caption]
    assert judging and all({int(row[2]) for row in table.rows} == {GOOD} for table in judging)
    good = store.rows(name)[0]
    for table in shown:
        column = table.head.index("test accuracy")
        assert all(row[column] == tables.pooled([good]) for row in table.rows if int(row[2]) == GOOD)


def test_the_figure_is_of_a_program_that_is_worth_something(store):
    pictures = [block for block in base.find("confidence").show(store) if isinstance(block, base.Picture)]
    assert len(pictures) == 1
    for run in store.rows("confidence"):
        if run.seed == GOOD:
            (run.folder / "result.json").unlink()
    shown = base.find("confidence").show(store)
    assert not any(isinstance(block, base.Picture) for block in shown)
    areas = next(block for block in shown if isinstance(block, base.Table) and block.caption.startswith("Area"))
    assert areas.rows == []
