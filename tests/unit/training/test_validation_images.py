"""How many images validations look at, and which: a stratified sample that is the same whenever the run goes on."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.tasks._split import stratified
from reprogram.training import validation
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.options import FitOptions
from reprogram.training.validation import num_validation_images


@pytest.mark.parametrize(
    ("options", "learned", "available", "expected"),
    [
        ({}, 1600, 5000, 250),  # 160 between two validations: the least counts.
        ({}, 40_000, 5000, 4000),
        ({}, 400_000, 5000, 5000),
        ({"validations": 4}, 1600, 5000, 400),
        ({"validations": 1}, 1600, 500, 500),
        ({}, 16, 100, 100),
        ({"validation_images": "all"}, 16, 5000, 5000),
        ({"validation_images": 7}, 10**6, 5000, 7),
        ({"validation_images": 7000}, 16, 5000, 5000),
    ],
)
def test_the_number_follows_the_budget_or_is_given(options, learned, available, expected):
    assert num_validation_images(FitOptions(**options), learned=learned, available=available) == expected


def asked_for(task, **options):
    """The images that the host was asked for beside those of the steps, and the result."""
    model = tiny_model(task)
    model.host.meter.images = 0
    fitted = reprogram.fit(model, task, batch_size=8, **options)
    return model.host.meter.images - fitted.images_seen, fitted, model


def test_the_host_is_asked_for_the_sample_alone():
    task = random_task(n=(40, 60, 16))
    asked, fitted, model = asked_for(task, epochs=2, validations=5, validation_images=20, seed=3)
    assert asked == 5 * 20 and fitted.validation.n == 20
    sample = task.validation.take(stratified(task.validation.labels, 20, 3))
    assert np.bincount(sample.labels).tolist() == [5] * 4
    assert reprogram.evaluate(model, sample).correct == fitted.validation.correct
    asked, fitted, _ = asked_for(task, epochs=2, validations=5, validation_images="all")
    assert asked == 5 * 60 and fitted.validation.n == 60


def test_a_budget_of_images_decides_before_the_first_step(monkeypatch):
    monkeypatch.setattr(validation, "LEAST_IMAGES", 4)
    task = random_task(n=(40, 60, 16))
    asked, fitted, _ = asked_for(task, images=80, validations=5)
    assert fitted.validation.n == 80 // 5 and asked == 80


def test_a_budget_of_seconds_decides_by_its_first_part(monkeypatch):
    monkeypatch.setattr(validation, "LEAST_IMAGES", 4)
    task = random_task(n=(40, 4000, 16))
    first = []
    model = tiny_model(task)
    fitted = reprogram.fit(model, task, batch_size=8, seconds=1.0, validations=4, on_progress=first.append)
    before = next(report for report in first if report.validation)
    # A quarter of the time was spent, and so about a quarter of the images; a validation has as many.
    assert fitted.validation.n == pytest.approx(before.images, rel=0.2) or fitted.validation.n == 4000


class StopError(Exception):
    pass


def interrupted(task, path, **options):
    def stop(report):
        if len(report.history) == 2:
            raise StopError

    with pytest.raises(StopError):
        reprogram.fit(tiny_model(task), task, checkpoint=path, on_progress=stop, **options)


OPTIONS = {"epochs": 3, "batch_size": 8, "validations": 6, "seed": 2}


def test_a_resumed_run_looks_at_the_same_images(tmp_path):
    task, options = random_task(n=(40, 60, 16)), {**OPTIONS, "validation_images": 13}
    whole = reprogram.fit(tiny_model(task), task, **options)
    interrupted(task, tmp_path / "c", **options)
    again = reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **options)
    rows = [
        [(row["validation_accuracy"], row["validation_loss"]) for row in fitted.history] for fitted in (whole, again)
    ]
    assert rows[0] == rows[1] and again.validation == whole.validation and whole.validation.n == 13


def test_a_run_that_an_earlier_version_began_goes_on_with_all_images(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "LEAST_IMAGES", 4)
    task = random_task(n=(40, 60, 16))
    whole = reprogram.fit(tiny_model(task), task, **OPTIONS, validation_images="all")
    assert reprogram.fit(tiny_model(task), task, **OPTIONS).validation.n == 20
    interrupted(task, tmp_path / "c", **OPTIONS, validation_images="all")
    checkpoint = Checkpoint(tmp_path / "c")
    tensors, record = checkpoint.load()
    del record["state"]["validation_images"], record["made_from"]["validation images"]  # As these didn't say it.
    checkpoint.save(tensors, record)
    again = reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **OPTIONS)
    assert again.validation == whole.validation and again.validation.n == 60


def test_another_number_is_another_run(tmp_path, one_line):
    task = random_task()
    interrupted(task, tmp_path / "c", **OPTIONS)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **OPTIONS, validation_images=5)
    one_line(error, "validation images")


@pytest.mark.parametrize("value", [0, -3, "many", 2.5, "all of them"])
def test_what_is_no_number_of_images_is_one_line(value, one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, validation_images=value)
    one_line(error, "validation_images=", str(value), "expected", "'all'")


def test_scores_that_are_not_finite_name_the_image_of_the_split(monkeypatch):
    task = random_task(n=(40, 60, 16))
    model = tiny_model(task)
    at = int(stratified(task.validation.labels, 12, 0)[5])
    bad, forward = task.validation.images[at], type(model).forward

    def spoilt(self, images):
        scores = forward(self, images)
        scores[(images == bad).flatten(1).all(dim=1)] = torch.nan
        return scores

    monkeypatch.setattr(type(model), "forward", spoilt)
    with pytest.raises(reprogram.DataError, match=rf"validation images \[{at}\]"):
        reprogram.fit(model, task, epochs=1, batch_size=8, validation_images=12)
