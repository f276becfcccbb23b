"""Label maps against NumPy, and what they refuse."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

import reprogram
from helpers import random_task, tiny_model
from reprogram.registry import configure

SCORES = np.random.default_rng(0).normal(size=(5, 40)) * 3


def build(spec, host=40, task=6):
    variant, config = configure("label-maps", spec)
    return variant(config, num_host_labels=host, num_task_labels=task)


def apply(label_map, scores=SCORES):
    return label_map(torch.from_numpy(scores)).numpy()


def test_first_takes_the_first_host_labels():
    label_map = build("first")
    np.testing.assert_array_equal(apply(label_map), SCORES[:, :6])
    assert label_map.assignment() == [[i] for i in range(6)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_is_one_to_one_and_a_function_of_the_seed(seed):
    label_map, again = build(f"random(seed={seed})"), build(f"random(seed={seed})")
    chosen = [row[0] for row in label_map.assignment()]
    assert len(set(chosen)) == 6 and all(0 <= c < 40 for c in chosen)
    assert again.assignment() == label_map.assignment()
    np.testing.assert_array_equal(apply(label_map), SCORES[:, chosen])
    assert build(f"random(seed={seed + 100})").assignment() != label_map.assignment()


def test_random_reaches_every_host_label():
    seen = {row[0] for seed in range(60) for row in build(f"random(seed={seed})").assignment()}
    assert seen == set(range(40))


REDUCE = {
    "mean": lambda s: s.mean(axis=2),
    "max": lambda s: s.max(axis=2),
    "log-sum-exp": lambda s: logsumexp(s, axis=2) - np.log(s.shape[2]),
}


@pytest.mark.parametrize("m", [1, 3, 6])
@pytest.mark.parametrize("reduce", REDUCE)
def test_many_to_one_is_numpys(reduce, m):
    label_map = build(f"many-to-one(labels_per_class={m}, reduce={reduce!r}, seed=3)")
    groups = np.array(label_map.assignment())
    assert groups.shape == (6, m) and len(np.unique(groups)) == 6 * m
    np.testing.assert_allclose(apply(label_map), REDUCE[reduce](SCORES[:, groups]), rtol=1e-12)


def test_log_sum_exp_is_the_hosts_own_probability():
    label_map = build("many-to-one(labels_per_class=3)")
    groups = np.array(label_map.assignment())
    host = softmax(SCORES, axis=1)[:, groups].sum(axis=2)
    expected = host / host.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(apply(label_map), axis=1), expected, rtol=1e-10)


def test_huge_scores_stay_finite():
    assert np.isfinite(apply(build("many-to-one(labels_per_class=4)"), SCORES * 1e5)).all()


def test_gradient_reaches_only_the_labels_that_speak():
    for spec in ("first", "random", "many-to-one(labels_per_class=2)"):
        label_map = build(spec)
        scores = torch.from_numpy(SCORES).requires_grad_()
        (gradient,) = torch.autograd.grad(label_map(scores).sum(), scores)
        speaking = sorted({c for row in label_map.assignment() for c in row})
        assert torch.nonzero(gradient.abs().sum(0)).flatten().tolist() == speaking


@pytest.mark.parametrize(
    "spec,needed", [("first", 6), ("random", 6), ("many-to-one", 60), ("many-to-one(labels_per_class=2)", 12)]
)
def test_a_host_of_too_few_labels_is_refused(spec, needed, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build(spec, host=needed - 1)
    one_line(error, str(needed), str(needed - 1))
    assert build(spec, host=needed)(torch.zeros(1, needed)).shape == (1, 6)


@pytest.mark.parametrize("classes", [2, 3, 5, 6, 7])
@pytest.mark.parametrize("spec", ["first", "random", "many-to-one(labels_per_class=3)"])
def test_few_classes_work(spec, classes):
    """BLM+ takes int(classes * 0.15) labels: none below seven."""
    task = random_task(num_classes=classes)
    model = tiny_model(task, label_map=spec)
    reprogram.fit(model, task, epochs=1, batch_size=8)
    scores = model(task.test.images)
    assert scores.shape == (16, classes) and torch.isfinite(scores).all()


def test_one_class_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build("first", task=1)
    one_line(error)


@pytest.mark.parametrize("spec", ["first", "random", "many-to-one(labels_per_class=2)"])
def test_a_class_missing_from_the_data_shifts_nothing(spec):
    """ILM-VP loops over the labels it sees, so that later classes move."""
    task = random_task(num_classes=5)

    def without_class_1(split):
        return split.take(torch.nonzero(split.labels != 1).flatten())

    holed = reprogram.Task(
        name="holed",
        train=without_class_1(task.train),
        validation=without_class_1(task.validation),
        test=without_class_1(task.test),
        class_names=task.class_names,
    )
    model, reference = tiny_model(holed, label_map=spec), tiny_model(task, label_map=spec)
    assert model.label_map.assignment() == reference.label_map.assignment()
    reprogram.fit(model, holed, epochs=1, batch_size=8)
    result = reprogram.evaluate(model, holed)
    assert len(result.confusion) == 5 and sum(result.confusion[1]) == 0
    assert sum(map(sum, result.confusion)) == result.n == len(holed.test)


def test_scores_of_another_width_are_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build("first")(torch.zeros(2, 39))
    one_line(error, "40")


@pytest.mark.parametrize(
    "bad", ["labels_per_class=0", "labels_per_class=-2", "reduce='median'", "labels_per_class=1.5"]
)
def test_bad_options_are_refused(bad, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("label-maps", f"many-to-one({bad})")
    one_line(error)
