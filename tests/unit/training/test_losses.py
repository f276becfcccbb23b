"""Losses and penalties against NumPy, and what the paper's loss teaches."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.labelmaps.base import LabelMap
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.training.losses import loss_of, losses_of


@pytest.mark.parametrize("spec", ["first", "random(seed=3)", "many-to-one(labels_per_class=3)"])
def test_losses_are_those_of_the_paper_and_of_the_task(spec):
    """-log P over all host labels (equation 3), or over the task's scores; NumPy in float64."""
    task = random_task(separable=False)
    model = tiny_model(task, label_map=spec).double()
    images, labels = task.train.images[:10], task.train.labels[:10]
    with torch.no_grad():
        host = model.host(model.program(model.canvas(images))).numpy()
        losses = {kind: float(loss_of(model, images, labels, kind)) for kind in ("task", "host")}
    groups = np.array(model.label_map.assignment())
    task_scores = logsumexp(host[:, groups], axis=2) - np.log(groups.shape[1])
    rows = np.arange(10), labels.numpy()
    assert losses["task"] == pytest.approx(-np.log(softmax(task_scores, axis=1)[rows]).mean(), rel=1e-9)
    if groups.shape[1] == 1:
        assert losses["host"] == pytest.approx(
            -np.log(softmax(host, axis=1)[rows[0], groups[labels, 0]]).mean(), rel=1e-9
        )
    assert losses["host"] > losses["task"]


@pytest.mark.parametrize("spec", ["first", "many-to-one(labels_per_class=3)"])
def test_the_focal_loss_is_numpys(spec):
    """(1 - P)² · -log P, P the mean probability of the class's host labels among all of them; also where P is 1."""
    task = random_task(separable=False)
    model = tiny_model(task, label_map=spec).double()
    images, labels = task.train.images[:10], task.train.labels[:10]
    with torch.no_grad():
        host = model.host(model.program(model.canvas(images))).numpy()
        found = losses_of(model, images, labels, "focal").numpy()
    groups = np.array(model.label_map.assignment())[labels]
    probability = softmax(host, axis=1)[np.arange(10)[:, None], groups].mean(axis=1)
    np.testing.assert_allclose(found, (1 - probability) ** 2 * -np.log(probability), rtol=1e-9)
    reprogram.fit(tiny_model(task, label_map=spec), task, images=16, batch_size=8, validations=1, loss="focal")


@pytest.mark.parametrize("loss", ["host", "focal", "evading(loss='host')", "evading(loss='evading(loss=\"focal\")')"])
@pytest.mark.parametrize("spec", ["label-bayes", "shown-bayes", "evidence-bayes", "bayesian"])
def test_the_hosts_loss_is_refused_where_classes_have_no_host_labels_of_their_own(spec, loss, one_line):
    """The loss could fall to its least while the host says the same of all images, or is sure of nothing."""
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task, label_map=spec), task, loss=loss, images=16, validations=1)
    one_line(error, loss.split("(")[0], spec, "loss 'task'")


class Picking(LabelMap):
    """One host label for each task label, and says no more than that."""

    def run(self, scores):
        return scores[:, : self.num_task_labels]

    def assignment(self):
        return [[i] for i in range(self.num_task_labels)]

    def single_labels(self):
        return torch.arange(self.num_task_labels)


def test_an_own_map_with_one_label_for_each_class_takes_the_hosts_loss():
    task = random_task()
    model = tiny_model(task)
    model.label_map = Picking(Picking.Config(), num_host_labels=model.host.info.num_classes, num_task_labels=4)
    reprogram.fit(model, task, images=16, batch_size=8, validations=1)  # The loss "auto" is the host's here.


def test_smoothed_labels_are_numpys():
    task, model = random_task(), tiny_model()
    images, labels = task.train.images, task.train.labels
    with torch.no_grad():
        scores = model(images).numpy().astype(np.float64)
        found = losses_of(model, images, labels, "smoothed").numpy()
    logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    softened = 0.9 * np.eye(4)[labels.numpy()] + 0.1 / 4
    np.testing.assert_allclose(found, -(softened * logarithms).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "loss"),
    [
        ("first", "host"),
        ("random(seed=3)", "host"),
        ("frequency", "host"),
        ("many-to-one(labels_per_class=1)", "host"),
        ("iterative", "task"),
        ("many-to-one(labels_per_class=2)", "task"),
        ("linear", "task"),
        ("discriminant", "task"),
    ],
)
def test_by_itself_the_loss_is_the_papers_where_the_host_can_say_each_class(spec, loss):
    """It comes to the same program as the loss that it stands for."""
    task, states = random_task(), []
    for options in ({}, {"loss": loss}, {"loss": {"host": "task", "task": "smoothed"}[loss]}):
        model = tiny_model(task, label_map=spec)
        reprogram.fit(model, task, images=24, batch_size=8, validations=1, **options)
        states.append(model.learned_state()["program.weight"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_penalty_is_lambda_times_the_sum_of_squares():
    """Against finite differences of loss + penalty in float64, through the whole model; reported without it."""
    task = random_task()
    model = tiny_model(task).double()
    images, labels = task.train.images[:8], task.train.labels[:8]
    weight = model.program.weight

    def loss():
        return nn.functional.cross_entropy(model(images), labels)

    captured = []

    class Catch(Adam):
        def update(self, gradients, rate):
            captured.extend(gradients)

    built = Catch(Adam.Config(penalty=0.05))
    built.start([weight])
    before = float(loss().detach())
    assert built.step(loss, Progress(fraction=0, epoch=0)) == pytest.approx(before, rel=1e-12)
    for index in (0, 5, 300, 700):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.view(-1)[index] += sign * 1e-5
                values.append(float(loss() + 0.05 * weight.square().sum()))
                weight.view(-1)[index] -= sign * 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(captured[0].view(-1)[index]), rel=1e-5, abs=1e-9)


def test_penalty_shrinks_the_program():
    norms = []
    for penalty in (0.0, 0.1):
        model, task = tiny_model(), random_task()
        reprogram.fit(model, task, learner=f"adam(penalty={penalty})", epochs=4, batch_size=8, validations=1)
        norms.append(float(model.program.weight.detach().norm()))
    assert norms[1] < 0.8 * norms[0]


def test_the_papers_loss_teaches_the_host_to_say_it():
    """With the loss over all host labels the mapped labels' probability rises, not only their share."""
    task, model = random_task(), tiny_model(std=(0.05,) * 3, mean=(0.5,) * 3)

    def mass():
        with torch.no_grad():
            return float(model.host_scores(task.train.images).softmax(1)[:, :4].sum(1).mean())

    before = mass()
    reprogram.fit(model, task, loss="host", epochs=6, batch_size=8, validations=1)
    assert mass() > before + 0.01


def test_a_linear_host_can_not_be_reprogrammed():
    """A program shifts every sample's scores alike (paper, section 3.1): score differences between images stay."""
    task = random_task(separable=False)
    model = reprogram.Reprogrammed.build("linear:16", task)
    scores = []
    for value in (0.0, 1.5):
        model.program.weight.data.fill_(value)
        with torch.no_grad():
            scores.append(model(task.test.images))
    torch.testing.assert_close(scores[0] - scores[0][:1], scores[1] - scores[1][:1], rtol=0, atol=1e-5)
    assert (scores[0] - scores[1]).abs().max() > 0.01
