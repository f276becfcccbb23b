"""What a host has to show, against NumPy on dense scores of the whole model in float64."""

import numpy as np
import pytest
import torch

from helpers import random_task, tiny_model
from reprogram.evaluation.reading import Answers, by_top_label, host_shows, read_answers

MAPS = {
    "first": "top_label",
    "random(seed=3)": "top_label",
    "frequency": "top_label",
    "many-to-one(labels_per_class=1)": "top_label",
    "many-to-one(labels_per_class=3)": "map_labels",
    "greedy": "all_scores",
    "linear": "all_scores",
    "discriminant": "all_scores",
}


def host_scores(model, images):
    with torch.no_grad():
        return model.double().host.net((model.program(model.canvas(images)).dense() - model.host.mean) / model.host.std)


@pytest.mark.parametrize(("spec", "needed"), MAPS.items())
def test_each_accuracy_is_numpys(spec, needed):
    task = random_task(separable=False)
    model = tiny_model(task, label_map=spec)
    with torch.no_grad():  # So that the top label is the map's for some images.
        model.host.net.head.bias[model.label_map.assignment()[1][0]] += 0.05
        model.host.net.head.bias[model.label_map.assignment()[2][0]] += 0.05
    labels, answers = task.test.labels, read_answers(model, task.test, batch_size=5)
    shown = host_shows(model.label_map, answers, labels)
    found, truth = host_scores(model, task.test.images).numpy(), labels.numpy()
    assert shown["needed"] == needed
    with torch.no_grad():
        answer = model.label_map(torch.from_numpy(found)).numpy().argmax(1)
    assert shown["all_scores"]["accuracy"] == np.mean(answer == truth) and shown["all_scores"]["n"] == len(truth)
    assert ("map_labels" in shown) == (needed != "all_scores") and ("top_label" in shown) == (needed == "top_label")
    groups = model.label_map.assignment()
    if needed != "all_scores":
        only = np.full_like(found, np.nan)
        only[:, np.ravel(groups)] = found[:, np.ravel(groups)]
        with torch.no_grad():
            read = model.label_map(torch.from_numpy(only)).numpy().argmax(1)
        assert shown["map_labels"]["accuracy"] == np.mean(read == truth)
        assert shown["map_labels"]["labels"] == np.size(groups)
    if needed == "top_label":
        classes = {group[0]: label for label, group in enumerate(groups)}
        top = np.array([classes.get(label, -1) for label in found.argmax(1)])
        assert shown["top_label"]["accuracy"] == np.mean(top == truth)
        assert shown["top_label"]["outside"] == np.sum(top == -1)


def test_a_top_label_outside_the_map_is_wrong():
    top = torch.tensor([7, 3, 3, 0, 9])
    assert by_top_label(top, torch.tensor([3, 7])).tolist() == [1, 0, 0, -1, -1]
    model = tiny_model(label_map="first")
    answers = Answers(scores=torch.eye(4).repeat(2, 1), top_labels=torch.tensor([0, 1, 2, 3, 0, 1, 2, 23]))
    shown = host_shows(model.label_map, answers, torch.arange(4).repeat(2))
    assert shown["all_scores"]["accuracy"] == shown["map_labels"]["accuracy"] == 1
    assert shown["top_label"]["accuracy"] == 7 / 8 and shown["top_label"]["outside"] == 1


def test_the_answers_are_the_models_own():
    task = random_task(separable=False)
    model = tiny_model(task, label_map="random(seed=2)")
    answers = read_answers(model, task.test)
    with torch.no_grad():
        torch.testing.assert_close(answers.scores, model(task.test.images), rtol=1e-4, atol=1e-5)
    assert answers.top_labels.tolist() == host_scores(model, task.test.images).argmax(1).tolist()


def test_views_with_columns_of_their_own_have_one_top_label_of_the_host():
    """It is that of the mean of the views' probabilities, and which view is surer isn't seen by top labels alone."""
    task = random_task(separable=False)
    model = tiny_model(task, program="views(count=2, apart=True)", label_map="first")
    answers = read_answers(model, task.test, batch_size=5)
    with torch.no_grad():
        columns = model.host_scores(task.test.images).double().numpy()
    views = np.exp(columns.reshape(len(columns), 2, -1))
    mean = (views / views.sum(2, keepdims=True)).mean(1)
    assert answers.top_labels.tolist() == mean.argmax(1).tolist() and mean.shape[1] == model.host.info.num_classes
    assert "top_label" not in host_shows(model.label_map, answers, task.test.labels)
