"""What experiments measure, against NumPy and counting."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import random_task
from helpers_runs import finished_result, tiny_plan
from reprogram.paper import tables
from reprogram.paper.experiments import base, confidence, programs, transfer
from reprogram.paper.loading import some
from reprogram.paper.store import ResultStore


def test_a_waves_power_lies_in_its_ring():
    _, x = np.mgrid[0:64, 0:64]
    for cycles in (4, 12, 20):
        wave = torch.from_numpy(np.sin(2 * np.pi * cycles * x / 64))[None]
        found = programs.spectrum(wave)
        assert int(np.argmax(found)) == int(cycles / 64 / 0.5 * programs.BINS)
        turned = programs.spectrum(wave.transpose(1, 2))
        assert turned == pytest.approx(found)


def test_the_area_under_the_curve_counts_pairs():
    positive, negative = [0.9, 0.5, 0.7], [0.1, 0.5]
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert confidence._area(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


def test_statistics_of_scores_are_those_of_numpy():
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    found = confidence._statistics([scores[:2], scores[2:]])
    raw = scores.double().numpy()
    p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert found["entropy"] == pytest.approx((-(p * np.log(p)).sum(axis=1)).tolist(), abs=1e-5)
    assert found["maximum"] == pytest.approx(p.max(axis=1).tolist(), abs=1e-5)
    assert found["energy"] == pytest.approx((-np.log(np.exp(raw).sum(axis=1))).tolist(), abs=1e-5)


@pytest.mark.parametrize("kind", ["fully connected", "convolutional"])
def test_direct_training_learns_and_is_a_function_of_its_seed(kind):
    from reprogram.evaluation.from_scratch import train

    task = random_task(n=(200, 40, 60))
    first, again = (train(task, kind, 12000, seed=3) for _ in range(2))
    assert first == again and first.accuracy > 0.9


def test_direct_training_sees_as_many_images_as_it_is_given(monkeypatch):
    from reprogram.evaluation import from_scratch
    from reprogram.tasks._split import Split

    task, seen = random_task(n=(121, 20, 20)), []
    take = Split.take
    monkeypatch.setattr(Split, "take", lambda split, chosen: seen.append(len(chosen)) or take(split, chosen))
    for images, expected in ((306, 306), (1210, 1210), (121, 121)):
        seen.clear()
        from_scratch.train(task, "fully connected", images, seed=0)
        assert sum(seen) == expected


def test_transfer_to_other_hosts_adds_up_over_calls(tmp_path):
    store = ResultStore(tmp_path)
    (run,) = base.find("transfer").runs(tiny_plan())
    store.write_plan("transfer", [run])
    (store.runs / run.name).mkdir(parents=True)
    (store.runs / run.name / "result.json").write_text(json.dumps(finished_result()))
    store.measurement("transfer", run.name, 1, lambda: {"n": 10, "ways": {transfer.AS_IS: 8, "JPEG 95": 6}})
    for host, right in (("b", 7), ("c d", None)):
        store.measurement("transfer", run.name + transfer.ON + host, 1, lambda right=right: {"right": right})
    ways, hosts = base.find("transfer").show(store)
    assert ways.head[-2:] == [transfer.AS_IS, "JPEG 95"] and ways.rows[0][4:] == [
        "10",
        *(tables.accuracy(k, 10, 0.1) for k in (8, 6)),
    ]
    assert hosts.head[5:] == [f"on {run.host}", "on b", "on c d"]
    assert hosts.rows[0][5:] == [tables.accuracy(8, 10, 0.1), tables.accuracy(7, 10, 0.1), "–"]


def test_test_images_are_drawn_from_all_classes():
    split = random_task(n=(8, 8, 400)).test
    sorted_split = split.take(split.labels.argsort())
    drawn = some(sorted_split, 100, seed=1)
    assert len(drawn) == 100 and len(drawn.labels.unique()) == len(split.labels.unique())
    assert torch.equal(drawn.images, some(sorted_split, 100, seed=1).images)
    assert not torch.equal(drawn.images, some(sorted_split, 100, seed=2).images)
    assert len(some(split, 1000, seed=0)) == 400


def test_another_photograph_of_the_same_name_and_size_is_another_input(tmp_path):
    """A bitmap's size doesn't tell what it shows."""
    listed = []
    for value in (0, 255, 0):
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / "photo.bmp")
        listed.append(confidence._listed(tmp_path))
    assert listed[0] == listed[2] != listed[1] and [name for name, _ in listed[0]] == ["photo.bmp"]
