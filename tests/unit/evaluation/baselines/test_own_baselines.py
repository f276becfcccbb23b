"""A baseline of one's own can't falsify the run that it is compared with."""

import numpy as np
import pytest
import torch

from helpers import random_task, tiny_model
from reprogram.errors import ConfigError
from reprogram.evaluation.baselines._checked import checksums, measured
from reprogram.evaluation.baselines.base import Baseline, BaselineInput


def inverts(run):
    pixels = run.task.test.images.numpy()
    np.subtract(255, pixels, out=pixels)
    return {"accuracy": 0.5}


def forgets(run):
    with torch.no_grad():
        next(run.model.program.parameters()).zero_()
    return {"accuracy": 0.5}


@pytest.mark.parametrize(
    "measure,says",
    [
        (inverts, "test images or its model"),
        (forgets, "test images or its model"),
        (lambda run: {"accuracy": 3.7}, "3.7"),
        (lambda run: {"accuracy": float("nan")}, "nan"),
        (lambda run: {}, "None"),
        (lambda run: None, "None"),
    ],
)
def test_what_would_falsify_a_result_is_refused(measure, says, one_line):
    own = type("Own", (Baseline,), {"measure": lambda self, run: measure(run), "__module__": __name__})
    run = BaselineInput(model=tiny_model(random_task()), task=random_task())
    with pytest.raises(ConfigError) as error:
        measured(own(None), run, checksums(run))
    one_line(error, "Own", says, __file__)


def test_what_it_measures_is_handed_on():
    own = type("Own", (Baseline,), {"measure": lambda self, run: {"accuracy": 1, "n": 3}})
    run = BaselineInput(model=tiny_model(random_task()), task=random_task())
    assert measured(own(None), run, checksums(run)) == {"accuracy": 1, "n": 3}


def test_a_checksum_sees_every_number_of_every_type():
    run = BaselineInput(model=tiny_model(random_task()), task=random_task())
    run.model.program.register_buffer("small", torch.zeros(3, dtype=torch.bfloat16))
    run.model.program.register_buffer("flag", torch.tensor(False))
    before = checksums(run)
    assert checksums(run) == before
    for name, value in (("small", torch.tensor([0, 1, 0], dtype=torch.bfloat16)), ("flag", torch.tensor(True))):
        setattr(run.model.program, name, value)
        assert checksums(run) != before
        before = checksums(run)
