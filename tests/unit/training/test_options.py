"""What scripts may give to `fit`: numbers of NumPy, other types, names that don't exist; each mistake is one line."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.registry import configure
from reprogram.runs.config import from_values
from reprogram.training.options import FitOptions, with_changes


def component(family, spec):
    variant, config = configure(family, spec)
    return variant(config)


def test_numbers_of_numpy_are_numbers():
    task = random_task()
    results = []
    for kinds in ((int, float), (np.int64, np.float32)):
        model, (whole, real) = tiny_model(task), kinds
        reprogram.fit(model, task, epochs=real(1.0), batch_size=whole(8), seed=whole(3), checkpoint_every=whole(5))
        results.append({name: value.tolist() for name, value in model.learned_state().items()})
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"imagess": 1}, ("imagess", "did you mean 'images'")),
        ({"prts": 1}, ("prts",)),
        ({"images": "a"}, ("fit: images='a'", "whole number")),
        ({"images": 32.5}, ("fit: images=", "32.5")),
        ({"epochs": "many"}, ("fit: epochs='many'", "number")),
        ({"learner": 3}, ("fit: learner=3",)),
        ({"learner": None}, ("fit: learner=None",)),
        ({"loss": "tasks"}, ("loss", "tasks")),
        ({"learner": component("augmentations", "flip")}, ("flip", "Learner")),
        ({"augmentation": component("learners", "adam")}, ("adam", "Augmentation")),
        ({"options": {"epochs": 1}}, ("options=", "FitOptions")),
    ],
)
def test_what_fit_does_not_take_is_one_line(options, parts, one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, **options)
    one_line(error, *parts)


def test_options_are_one_value():
    task, models = random_task(), []
    for arguments in ((reprogram.FitOptions(epochs=1, seed=4),), ()):
        models.append(tiny_model(task))
        reprogram.fit(models[-1], task, *arguments, **({} if arguments else {"epochs": 1, "seed": 4}))
    states = [{name: value.tolist() for name, value in model.learned_state().items()} for model in models]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"baselines": ["linear-prob"]}, ("linear-prob", "did you mean 'linear-probe'")),
        ({"baselines": ["map-alone", "none"]}, ("'none'", "alone")),
        ({"prats": 2}, ("prats", "did you mean 'parts'")),
    ],
)
def test_a_misspelt_name_in_a_configuration_is_one_line_with_advice(values, parts, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        from_values(values)
    one_line(error, *parts)


@pytest.mark.parametrize("several", [np.array([1, 2]), torch.tensor([1, 2]), [1, 2]], ids=["numpy", "torch", "list"])
def test_several_numbers_are_no_number(several, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        with_changes(FitOptions(), {"batch_size": several})
    one_line(error, "batch_size=", "a whole number")
    assert with_changes(FitOptions(), {"batch_size": np.int64(8)}).batch_size == 8
