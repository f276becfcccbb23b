"""Nets trained directly: once for the images of each task, which hosts may get in sizes of their own."""

from types import SimpleNamespace

import pytest

from helpers_runs import made_up_result
from reprogram.paper.experiments import baselines
from reprogram.paper.store import ResultStore, Row

CORRECT = {"a": 90, "b": 20}
"""Of 100 test images, by the host whose images were learned from."""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Runs of two hosts on one task in two sizes, with a store, and the trainings so far."""
    rows = [
        Row(
            host=host,
            task="t",
            seed=0,
            axis={},
            folder=tmp_path,
            result=made_up_result(50, 100) | {"images_seen": 64, "task_fingerprint": host * 64},
        )
        for host in CORRECT
    ]
    trained = []

    def train(run, net, images):
        trained.append((run.host, net, images))
        return {"n": 100, "correct": CORRECT[run.host]}

    monkeypatch.setattr(baselines, "_train_directly", train)
    monkeypatch.setattr(ResultStore, "rows", lambda store, name: rows)
    made = baselines.Baselines()
    monkeypatch.setattr(made, "finished", lambda plan, store: [(r, SimpleNamespace(host=r.host)) for r in rows])
    return made, ResultStore(tmp_path), trained


def shown(experiment, store):
    """The accuracies of the four trainings, by host."""
    (table,) = experiment.show(store)
    return {row[0]: [float(cell.split()[0]) if cell != "–" else None for cell in row[-4:]] for row in table.rows}


def test_each_host_has_the_nets_of_its_own_images(experiment):
    made, store, trained = experiment
    made.measure(None, store, str)
    assert len(trained) == len(set(trained)) == 8
    made.measure(None, store, str)
    assert len(trained) == 8
    assert shown(made, store) == {"a": [0.9] * 4, "b": [0.2] * 4}


def test_what_an_earlier_version_measured_stays(experiment):
    made, store, trained = experiment
    name, fact = "t, convolutional, unlimited, seed 0", {"n": 100, "correct": 77}
    store.measurement("baselines", name, "a" * 64, lambda: fact)
    assert shown(made, store) == {"a": [None, None, None, 0.77], "b": [None] * 4}
    made.measure(None, store, str)
    assert ("b", "convolutional", None) in trained
    assert shown(made, store) == {"a": [0.9, 0.9, 0.9, 0.77], "b": [0.2] * 4}
    assert store.measured("baselines")[name] == ("a" * 64, fact)
