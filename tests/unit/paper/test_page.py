"""The page and its tables."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from helpers import ROOT
from helpers_runs import finished_result, made_up_result, tiny_plan
from reprogram.evaluation.paired import Paired, tango_interval
from reprogram.paper import published, tables
from reprogram.paper.experiments import base
from reprogram.paper.page import ORDER, circumstances, markdown, write_page
from reprogram.paper.plan import with_choices
from reprogram.paper.preset import read_preset
from reprogram.paper.store import ResultStore, Row


def test_every_experiment_has_its_place_and_shows_an_empty_store(tmp_path):
    assert set(ORDER) == set(base.names())
    for name in base.names():
        experiment = base.find(name)
        assert experiment.title and experiment.question.strip()[-1] in ".?"
        for block in experiment.show(ResultStore(tmp_path)):
            assert isinstance(block, base.Table | base.Picture | base.Strip | str)
    assert "No run is finished yet" in write_page(ResultStore(tmp_path)).read_text()


def test_the_page_names_the_runs_that_are_missing(tmp_path):
    store = ResultStore(tmp_path)
    there, missing = base.find("transfer").runs(tiny_plan(seeds=[0, 1]))
    store.write_plan("transfer", [there, missing])
    stored = ROOT / "results" / "paper" / "runs" / "squares-MobileNet_V2-frame-s0-be529038"
    shutil.copytree(stored, store.runs / there.name)
    assert store.unfinished("transfer") == [missing.name]
    text = write_page(store).read_text()
    assert f"Not finished, so not shown: {missing.name}." in text and text.count(missing.name) == 1


def test_what_strangers_name_stays_text(tmp_path):
    block = base.Table(head=["a|b", "c"], rows=[["<script>", "\x1b[31mred"]], caption="x")
    text = markdown(block)
    assert "a\\|b" in text and "\x1b" not in text


def test_the_page_says_on_what_and_in_which_precision_was_learned():
    machine = {"machine": {"processor": "A", "cores": 2}, "device": "cpu", "threads": 1, "versions": {"torch": "2"}}
    runs = {"a": machine, "b": machine | {"precision": "float32"}, "c": machine | {"precision": "bfloat16"}}
    assert circumstances(runs) == [
        "2 runs: A, cpu, 1 thread(s); learned in float32; torch 2",
        "1 runs: A, cpu, 1 thread(s); learned in bfloat16; torch 2",
    ]


def test_accuracies_of_seeds_are_pooled():
    def row(accuracy, n):
        return Row(
            host="h",
            task="t",
            seed=0,
            axis={},
            folder=None,
            result={**made_up_result(round(accuracy * n), n), "baselines": {}},
        )

    assert tables.pooled([]) == "–"
    assert tables.pooled([row(0.5, 100)]) == tables.accuracy(50, 100) + ", n=100"
    text = tables.pooled([row(0.5, 100), row(0.7, 100)])
    assert text.startswith(tables.accuracy(120, 200)) and "2 seeds" in text
    assert f"sd {np.std([0.5, 0.7], ddof=1):.4f}" in text


def test_published_numbers_are_marked():
    marked = [
        e
        for e in base.names()
        if published.MARK in json.dumps([getattr(b, "caption", "") for b in base.find(e).show(_EMPTY)])
    ]
    assert marked == ["shuffled", "table1"]


class _Nothing:
    def rows(self, _):
        return []

    def facts(self, _):
        return {}

    measured = facts


_EMPTY = _Nothing()


def test_table_1_says_whose_weights_are_random():
    specs = {
        "a": "timm:test_resnet(pretrained=False, size=48)",
        "b": "untrained:timm:test_resnet?seed=1",
        "c": "two-layer(size=32)",
        "d": "efficientnet-lite0",
    }
    experiment_plan = with_choices(
        read_preset("cpu"), hosts=[f"{name}={spec}" for name, spec in specs.items()], tasks=["digits"]
    )
    states = {host: [] for host in specs}
    for run in base.find("table1").runs(experiment_plan):
        states[run.host].append(run.axis["state"])
    twins = ["untrained", "untrained, BatchNorm conditioned"]
    assert states == {
        "a": ["random weights", *twins],
        "b": ["random weights"],
        "c": ["random weights", "untrained"],  # It has no BatchNorm.
        "d": ["as given", *twins],
    }


def test_untrained_hosts_may_have_a_budget_of_their_own_and_have_the_map_alone_beside():
    plan = with_choices(read_preset("cpu"), hosts=["a=timm:test_resnet(pretrained=False, size=48)"], tasks=["digits"])
    usual, own = (
        {run.axis["state"]: run.config for run in base.find("table1").runs(replace(plan, options={"table1": options}))}
        for options in ({}, {"untrained_images": 48})
    )
    assert {config.images for config in usual.values()} == {usual["random weights"].images} != {48}
    assert {state: config.images for state, config in own.items()} == {
        "random weights": usual["random weights"].images,
        "untrained": 48,
        "untrained, BatchNorm conditioned": 48,
    }
    assert all("map-alone" in config.baselines for config in own.values())


def test_what_can_not_be_told_from_guessing_is_marked():
    def row(correct, n, **baselines):
        return Row(host="h", task="t", seed=0, axis={}, folder=None, result=made_up_result(correct, n, **baselines))

    assert tables.pooled([row(11, 100)]).endswith("n=100 (at chance)")
    assert "chance" not in tables.pooled([row(30, 100)])
    assert tables.pooled([row(0, 1000)]).endswith("n=1000 (below chance)")
    assert tables.pooled([row(11, 100), row(12, 100)]).endswith(" (at chance)")
    assert tables.pooled([row(13, 100)] * 9).endswith(" (at chance)"), "seeds share their test images"
    largest = {"majority": {"accuracy": 0.45, "n": 100}}
    assert tables.pooled([row(45, 100, **largest)]).endswith("n=100 (at chance)"), "as by saying the largest class"
    assert "chance" not in tables.pooled([row(60, 100, **largest)])
    alone = {"map_alone": {"accuracy": 0.1, "n": 100}, "linear_probe": {"accuracy": 0.9, "n": 100}}
    rows = [row(50, 100, **alone)]
    shown = [tables.baseline(rows, name) for name in ("map_alone", "linear_probe", "chance", "none")]
    assert shown == [tables.accuracy(10, 100, 0.1), tables.accuracy(90, 100), "0.1000", "–"]
    assert shown[0].endswith(" (at chance)") and shown[1].endswith(")") and "chance" not in shown[1]
    assert tables.baseline([row(50, 100, map_alone={"accuracy": 0.13, "n": 100})] * 9, "map_alone").endswith(
        "(at chance)"
    )


def test_an_accuracy_says_what_the_program_is_worth():
    def row(correct, **more):
        result = made_up_result(correct, 100, map_alone={"accuracy": 0.1, "n": 100}) | more
        return Row(host="h", task="t", seed=0, axis={}, folder=None, result=result)

    def pairs(both, only_program, only_map, neither):
        return Paired(both=both, only_program=only_program, only_map=only_map, neither=neither).to_json()

    rows = [row(60, program_worth=pairs(5, 55, 5, 35)), row(70, program_worth=pairs(10, 60, 0, 30))]
    low, high = tango_interval(55, 5, 100)
    assert tables.pooled(rows[:1]).endswith(f", n=100, worth +0.5000 ({low:+.4f} to {high:+.4f})")
    low, high = tango_interval(115, 5, 200)
    assert tables.worth(rows) == f"+0.5500 ({low:+.4f} to {high:+.4f})"
    assert tables.worth([rows[0], row(70)]) == "+0.5500", "an older result has no pairs, so there is no interval"
    assert tables.worth([Row(host="h", task="t", seed=0, axis={}, folder=None, result=made_up_result(5, 10))]) == ""
    assert tables.top_label([row(60)]) == tables.top_label([]) == "–"
    shown = {"host_shows": {"top_label": {"accuracy": 0.55, "n": 100}}}
    assert tables.top_label([row(60, **shown)] * 2) == tables.accuracy(110, 200)


def test_the_papers_numbers_stand_in_our_columns():
    def row(host, task):
        axis = {"state": "as given"}
        return Row(host=host, task=task, seed=0, axis=axis, folder=Path(host + task), result=made_up_result(50, 100))

    class Ours(_Nothing):
        def rows(self, _):
            return [row(host, task) for task in ("cifar10-jpeg", "digits") for host in ("mine", "Inception V4")]

    tables = [block for block in base.find("table1").show(Ours()) if isinstance(block, base.Table)]
    table = tables[0]
    head = ["from", "host", "weights", "cifar10-jpeg (the paper's: cifar10)", "digits", "squares", "mnist"]
    assert list(table.head) == head and published.MARK in table.caption
    assert all(len(cells) == len(head) for cells in table.rows)
    assert [cells[1] for cells in table.rows[:4]] == ["mine", "Inception V4", "Inception V4", "Inception V4"]
    v4 = published.TABLE1["Inception V4"]
    assert table.rows[2] == [published.THEIRS, "Inception V4", "trained", "0.6683", "–", f"{v4['squares']}", "0.9646"]
    assert table.rows[3] == [published.THEIRS, "Inception V4", "untrained", "–", "–", "–", "0.1861"]
    assert sum(cells[0] == published.THEIRS for cells in table.rows) == 7 + 6


def test_the_paper_stands_beside_its_own_tasks_alone():
    """A table of a stranger's task has no rows and columns of the paper's."""
    rows = [
        Row(
            host="h",
            task="letters",
            seed=0,
            axis={"state": "as given", "pixels": "shuffled"},
            folder=Path("x"),
            result=finished_result(),
        )
    ]
    store = SimpleNamespace(rows=lambda name: rows, facts=lambda name: {})
    for name in ("table1", "shuffled"):
        for block in base.find(name).show(store):
            if isinstance(block, base.Table):
                assert not any(published.THEIRS in cells for cells in block.rows)
                assert not {"squares", "mnist", "cifar10"} & set(block.head)
