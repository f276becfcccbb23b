"""A fitted label map without a program: answers alone are enough, and no learner stands in its way."""

import unittest.mock

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from reprogram import ConfigError, Host, Reprogrammed
from reprogram.labelmaps._calibration import calibration_images

WEIGHT = torch.randn(3 * 12 * 12, 16, generator=torch.Generator().manual_seed(0))


def host_that_counts(asked, access="label"):
    def classify(images):
        asked.append(len(images))
        return images.flatten(1) @ WEIGHT

    host = Host.wrap(classify, size=12, access=access, name="counting")
    asked.clear()
    host.meter.calls = host.meter.images = 0  # Wrapping tried it out.
    return host


@pytest.mark.parametrize("label_map", ["frequency", "label-bayes", "iterative", "discriminant"])
@pytest.mark.parametrize("learner", ["adam", "spsa"])
def test_takes_no_step_and_stays_within_its_queries(label_map, learner):
    task, asked = random_task(), []
    model = Reprogrammed.build(
        host_that_counts(asked, "scores"), task, canvas="centre", program="none", label_map=label_map
    )
    learns = label_map == "discriminant" and learner == "spsa"  # Its temperature, which can be learned by asking.
    result = reprogram.fit(model, task, learner=learner, queries=60, batch_size=4, validations=2)
    assert (result.images_seen > 0) == learns
    assert sum(asked) == model.host.meter.images == result.queries <= 60


def test_the_most_frequent_labels_are_numpys():
    task, asked = random_task(), []
    model = Reprogrammed.build(host_that_counts(asked), task, canvas="centre", program="none", label_map="frequency")
    reprogram.fit(model, task)
    images = model.canvas(task.train.images).dense()
    top = (images.flatten(1) @ WEIGHT).argmax(1).numpy()
    counts = np.zeros((task.num_classes, 16))
    np.add.at(counts, (task.train.labels.numpy(), top), 1)
    label, host_label = np.unravel_index(counts.argmax(), counts.shape)
    assert model.label_map.single_labels()[label] == host_label


def test_the_learner_none_is_for_fitted_maps_alone():
    task = random_task()
    for program, label_map in (("frame", "frequency"), ("none", "first"), ("frame", "first")):
        model = Reprogrammed.build(host_that_counts([]), task, canvas="centre", program=program, label_map=label_map)
        with pytest.raises(ConfigError, match="learner none improves nothing"):
            reprogram.fit(model, task, learner="none")


@pytest.mark.parametrize("label_map", ["linear", "linear(standardize=20)", "linear(standardize=20, init='random')"])
def test_a_probe_that_nothing_can_learn_is_refused_though_its_means_are_fitted(label_map, one_line):
    task, asked = random_task(), []
    for learner, words in (("adam", "needs gradient access"), ("none", "improves nothing")):
        host = host_that_counts(asked, "scores")
        model = Reprogrammed.build(host, task, canvas="centre", program="none", label_map=label_map)
        with pytest.raises(ConfigError) as error:
            reprogram.fit(model, task, learner=learner)
        one_line(error, words)
    assert not asked


def test_a_probe_that_starts_from_the_most_frequent_labels_takes_no_step():
    task, asked = random_task(), []
    label_map = "linear(init='frequency', standardize=20)"
    model = Reprogrammed.build(
        host_that_counts(asked, "scores"), task, canvas="centre", program="none", label_map=label_map
    )
    assert reprogram.fit(model, task).images_seen == 0 and sum(asked) > 0
    assert model.label_map.assignment() != [[i] for i in range(task.num_classes)]


@pytest.mark.parametrize("label_map", ["frequency", "iterative"])
def test_averages_are_asked_for_the_same_images(label_map):
    task, fitted = random_task(), []
    for host in ("linear:16", "averaged(host='linear:16', times=4)"):
        model = Reprogrammed.build(host, task, canvas="centre", program="frame", label_map=label_map)
        with unittest.mock.patch("reprogram.training.trainer.calibration_images", wraps=calibration_images) as drawn:
            reprogram.fit(model, task, learner="spsa", images=8, batch_size=4, validations=1, queries=4000)
        fitted.append(drawn.call_args.args[2])
    assert fitted[0] == fitted[1] > 0


@pytest.mark.parametrize("learner", ["adam", "spsa"])
def test_a_run_that_ends_in_its_first_validation_does_not_fit_its_map_again(learner, tmp_path, monkeypatch):
    task, asked = random_task(), []

    def built():
        return Reprogrammed.build(
            host_that_counts(asked, "scores"), task, canvas="centre", program="none", label_map="frequency"
        )

    whole = reprogram.fit(built(), task, learner=learner, queries=60, batch_size=4, validations=2)
    monkeypatch.setattr("reprogram.training.validation.Validator.scores", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        reprogram.fit(
            built(), task, learner=learner, queries=60, batch_size=4, validations=2, checkpoint=tmp_path / "c"
        )
    monkeypatch.undo()
    asked.clear()
    again = reprogram.fit(
        built(), task, learner=learner, queries=60, batch_size=4, validations=2, checkpoint=tmp_path / "c"
    )
    assert again.validation.accuracy == whole.validation.accuracy and again.queries <= 60


def _interrupt(*args, **kwargs):
    raise KeyboardInterrupt
