"""Functions that answer with labels: what hosts make of their answers."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from reprogram import Host, Reprogrammed

NAMES = ("cat", "dog", "bird", "fish")


def wrap(answer, outputs="top-k", names=NAMES):
    """A host that gives every image the same answer."""
    return Host.wrap(lambda images: [answer] * len(images), size=8, class_names=names, outputs=outputs)


def scores(answer, outputs="top-k"):
    return wrap(answer, outputs)(torch.rand(1, 3, 8, 8))[0].double().numpy()


@pytest.mark.parametrize(
    "answer",
    [
        [("dog", 0.7), ("cat", 0.2)],
        {"dog": 0.7, "cat": 0.2},
        [(1, 70.0), (0, 20.0)],
        [["dog", np.float32(70)], ["cat", 20]],
    ],
)
def test_probabilities_and_percent_share_the_rest(answer):
    np.testing.assert_allclose(np.exp(scores(answer)), [0.2, 0.7, 0.05, 0.05], rtol=1e-4)


def test_independent_numbers_do_not():
    found = np.exp(scores([("dog", 0.9), ("cat", 0.8)]))
    np.testing.assert_allclose(found, [0.8, 0.9, 0.2, 0.2], rtol=1e-4)


def test_an_unknown_name_is_no_evidence():
    np.testing.assert_allclose(
        np.exp(scores([("unicorn", 0.6), ("dog", 0.3)])), [0.7 / 3, 0.3, 0.7 / 3, 0.7 / 3], rtol=1e-4
    )
    assert np.ptp(scores([("unicorn", 0.9)])) == 0 and np.ptp(scores([])) == 0


@pytest.mark.parametrize("label", ["bird", 2, np.int64(2)])
def test_labels_alone(label):
    found = np.exp(scores(label, "labels"))
    np.testing.assert_allclose(found, [1 / 6, 1 / 6, 1 / 2, 1 / 6], rtol=1e-5)
    assert wrap(label, "labels").info.access == "label"


@pytest.mark.parametrize("make", [np.array, torch.tensor, list, tuple])
def test_labels_as_an_array(make):
    host = Host.wrap(lambda images: make([3] * len(images)), size=8, class_names=NAMES, outputs="labels")
    assert host(torch.rand(5, 3, 8, 8)).argmax(1).tolist() == [3] * 5


@pytest.mark.parametrize(
    "answer, outputs, words",
    [
        ([("dog", float("nan"))], "top-k", "dog has nan"),
        ([("dog", 250.0)], "top-k", "dog has 250"),
        ([("dog", -0.5)], "top-k", "dog has -0.5"),
        ("dog", "top-k", "pairs are expected"),
        (["dog", "cat"], "top-k", "pairs are expected"),
        ([(4, 0.5)], "top-k", "index from 0 to 3"),
        (1.5, "labels", "index from 0 to 3"),
        (True, "labels", "index from 0 to 3"),
        (None, "labels", "index from 0 to 3"),
    ],
)
def test_answers_that_make_no_sense(answer, outputs, words):
    with pytest.raises(reprogram.ConfigError, match=words):
        wrap(answer, outputs)


def test_one_answer_for_each_image():
    with pytest.raises(reprogram.ConfigError, match="one answer for each of 1 images is expected, not 2 of them"):
        Host.wrap(lambda images: ["cat", "cat"], size=8, class_names=NAMES, outputs="labels")
    with pytest.raises(reprogram.ConfigError, match="not str"):
        Host.wrap(lambda images: "cat", size=8, class_names=NAMES, outputs="labels")


def test_class_names_are_needed():
    with pytest.raises(reprogram.ConfigError, match="needs class_names"):
        wrap("cat", "labels", names=None)


@pytest.mark.parametrize("label_map", ["frequency", "iterative", "bayesian"])
def test_a_program_is_learned_and_a_map_fitted_from_labels_alone(label_map):
    task = random_task()
    names = tuple(f"label {i}" for i in range(16))
    weight = torch.randn(3 * 12 * 12, 16, generator=torch.Generator().manual_seed(0))
    host = Host.wrap(
        lambda images: [names[i] for i in (images.flatten(1) @ weight).argmax(1)],
        size=12,
        class_names=names,
        outputs="labels",
    )
    model = Reprogrammed.build(host, task, canvas="centre", program="frame", label_map=label_map)
    result = reprogram.fit(model, task, learner="nes(pairs=2)", queries=600, batch_size=8, validations=2)
    assert result.queries <= 600 and 0 <= reprogram.evaluate(model, task).accuracy <= 1
